/// What Tessera knows about the machine it runs on: the instruction sets, and the CPUs, caches and memory that this
/// process may use.
///
/// Kernels are chosen by `instructionSets`, threads are placed by `cores`, and benchmarks size their memory by `caches`; the
/// names are for people. CPUs and NUMA nodes carry the operating system's numbers.
public struct Machine: Sendable, Hashable, Codable {
  /// This machine, as it was when it was first asked for.
  ///
  /// Reading it asks the operating system for AMX, which must happen before threads start. Where /sys is masked, the
  /// first use moves the calling thread over all allowed CPUs and back.
  public static let current = Machine.detect()

  /// Who told the topology or the caches.
  public enum Source: String, Sendable, Hashable, Codable {
    /// libhwloc, with the trait `Hwloc`.
    case hwloc
    /// /sys, on Linux.
    case sysfs
    /// sysctl, on Darwin.
    case sysctl
    /// CPUID, for caches that nobody else told.
    case cpuid
    /// Nobody: cautious guesses.
    case assumed
  }

  /// Whether this process may use AMX tiles.
  public enum AMXPermission: String, Sendable, Hashable, Codable {
    /// The CPU or its hypervisor has no AMX, or the kernel does not know it.
    case absent
    /// AMX is there, but the kernel does not let this process use it.
    case refused
    /// The kernel saves the tiles of this process, so kernels may use them.
    case granted
  }

  /// Whether anonymous memory gets huge pages.
  public enum TransparentHugePages: String, Sendable, Hashable, Codable {
    /// Without being asked.
    case always
    /// Only where a program asks, as Tessera does.
    case madvise
    /// Not even when asked.
    case never
    /// The system does not say.
    case unknown
  }

  /// A physical core.
  public struct Core: Sendable, Hashable, Codable {
    /// Its logical CPUs that this process may use, ascending; at least one.
    public var cpus: [Int]
    /// The number of its package (socket).
    public var package: Int
    /// The number of its NUMA node.
    public var node: Int
    /// Cores with the same number share a last-level cache.
    public var cacheDomain: Int
    /// Rank of its kind on a hybrid CPU: 0 is the slowest, and the only kind of most machines.
    public var kind: Int
  }

  /// A NUMA node: memory, and the CPUs that are close to it.
  public struct Node: Sendable, Hashable, Codable {
    /// The operating system's number.
    public var number: Int
    /// Its CPUs that this process may use; none for a node of memory only.
    public var cpus: [Int]
    /// All of its memory; 0 when unknown.
    public var memoryBytes: Int
  }

  /// Data or unified caches of one kind.
  public struct Cache: Sendable, Hashable, Codable {
    /// 1 for the first level.
    public var level: Int
    /// Size of one instance. A virtual machine may show more than its share.
    public var bytes: Int
    /// Bytes of a cache line.
    public var lineBytes: Int
    /// Allowed logical CPUs per instance.
    public var sharedBy: Int
    /// How many of them the allowed CPUs have.
    public var instances: Int

    func isSameKind(as other: Cache) -> Bool {
      (level, bytes, lineBytes, sharedBy) == (other.level, other.bytes, other.lineBytes, other.sharedBy)
    }
  }

  /// Such as `GenuineIntel`; empty when unknown. For logs only.
  public var vendor: String
  /// The CPU's own name; empty when unknown. For logs only.
  public var model: String
  /// `x86_64`, `arm64` or `other`.
  public var architecture: String
  /// What the CPU, the operating system and the hypervisor allow.
  public var instructionSets: InstructionSet
  /// Why AMX is or is not among the instruction sets.
  public var amxPermission: AMXPermission

  /// Who told cores and nodes.
  public var topologySource: Source
  /// Allowed cores in the order of their first CPU; never empty.
  public var cores: [Core]
  /// By number; never empty.
  public var nodes: [Node]
  /// Who told the caches.
  public var cacheSource: Source
  /// From the first level up; never empty.
  public var caches: [Cache]

  /// Logical CPUs that this process may use by affinity mask and control group, ascending; never empty.
  public var allowedCPUs: [Int]
  /// Logical CPUs that are online.
  public var onlineCPUCount: Int
  /// CPU time per time that the control groups grant, in CPUs; nil without a limit.
  public var cpuQuota: Double?

  /// The page sizes in bytes, the normal one first.
  public var pageSizes: [Int]
  /// What `/sys/kernel/mm/transparent_hugepage/enabled` says.
  public var transparentHugePages: TransparentHugePages
}

extension Machine {
  /// Packages (sockets) with at least one allowed core.
  public var packageCount: Int { Set(cores.map(\.package)).count }

  /// The most allowed logical CPUs that a core has; above 1 with SMT.
  public var threadsPerCore: Int { cores.map(\.cpus.count).max() ?? 1 }

  /// Size in bytes of the smallest cache of a level; nil where the machine has none.
  public func cacheBytes(level: Int) -> Int? {
    caches.filter { $0.level == level }.map(\.bytes).min()
  }

  /// Bytes of all caches of the last level together: what a benchmark has to exceed to measure memory.
  public var lastLevelCacheBytes: Int {
    let last = caches.map(\.level).max() ?? 0
    return caches.filter { $0.level == last }.reduce(0) { $0 + $1.bytes * $1.instances }
  }
}
