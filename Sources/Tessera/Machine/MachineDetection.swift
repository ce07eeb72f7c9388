internal import CKernels

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

extension Machine {
  static func detect() -> Machine {
    let files = SystemFiles()
    return Machine(completing: readTopology(files), allowedCPUs: readAllowedCPUs(files), files: files)
  }

  /// A machine that may use `allowedCPUs` of `topology`, with what the topology lacks filled in from CPUID or by guess.
  /// Instruction sets and names are those of the running CPU.
  init(completing topology: Topology, allowedCPUs: [Int], files: SystemFiles) {
    precondition(!allowedCPUs.isEmpty, "a process runs on at least one CPU")
    var known = topology.restricted(to: allowedCPUs)
    topologySource = topology.cores.isEmpty ? .assumed : topology.source
    cacheSource = known.completeCaches(for: allowedCPUs)
    known.completeNodes(for: allowedCPUs, totalMemory: SysfsTopology.totalMemory(files))
    cores = known.machineCores()
    caches = known.machineCaches()
    nodes = known.nodes

    (vendor, model) = Self.readName()
    architecture = Self.architectureName
    instructionSets = InstructionSet.detect()
    switch ck_amx_request() {
    case .CK_AMX_GRANTED: amxPermission = .granted
    case .CK_AMX_REFUSED: amxPermission = .refused
    default: amxPermission = .absent
    }

    self.allowedCPUs = allowedCPUs
    onlineCPUCount = max(allowedCPUs.count, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    cpuQuota = CPUQuota.read(files)
    pageSizes = Self.readPageSizes(files)
    transparentHugePages = Self.readTransparentHugePages(files)
  }

  private static func readTopology(_ files: SystemFiles) -> Topology {
    #if Hwloc
      if let topology = HwlocTopology.read() { return topology }
    #endif
    #if canImport(Darwin)
      return SysctlTopology.read()
    #else
      return SysfsTopology.read(files)
    #endif
  }

  private static func readAllowedCPUs(_ files: SystemFiles) -> [Int] {
    var cpus = [Int32](repeating: 0, count: ck_cpu_allowed(nil, 0))
    let count = ck_cpu_allowed(&cpus, cpus.count)
    if !cpus.isEmpty && count > 0 { return cpus.prefix(count).map { Int($0) } }
    let online = files.cpus("/sys/devices/system/cpu/online")
    return online.isEmpty ? Array(0..<max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))) : online
  }

  private static func readName() -> (vendor: String, model: String) {
    #if canImport(Darwin)
      if let brand = SysctlTopology.text("machdep.cpu.brand_string") {
        return (SysctlTopology.text("machdep.cpu.vendor") ?? "Apple", brand)
      }
    #endif
    return (readCString(capacity: 13, ck_cpu_vendor), readCString(capacity: 49, ck_cpu_brand))
  }

  private static func readCString(capacity: Int, _ fill: (UnsafeMutablePointer<CChar>) -> Void) -> String {
    let bytes = [CChar](unsafeUninitializedCapacity: capacity) { buffer, count in
      buffer.initialize(repeating: 0)
      if let base = buffer.baseAddress { fill(base) }
      count = capacity
    }
    let text = String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return String(Substring(text).trimmed)
  }

  private static var architectureName: String {
    #if arch(x86_64)
      "x86_64"
    #elseif arch(arm64)
      "arm64"
    #else
      "other"
    #endif
  }

  /// The normal page size, then those of the huge pages: `hugepages-2048kB` and the like.
  private static func readPageSizes(_ files: SystemFiles) -> [Int] {
    let normal = max(4096, Int(sysconf(Int32(_SC_PAGESIZE))))
    let huge = files.names(in: "/sys/kernel/mm/hugepages").compactMap { name -> Int? in
      guard name.hasPrefix("hugepages-"), name.hasSuffix("kB") else { return nil }
      return Int(name.dropFirst("hugepages-".count).dropLast(2)).map { $0 << 10 }
    }
    return [normal] + huge.filter { $0 > normal }.sorted()
  }

  /// The mode stands in brackets: `always [madvise] never`.
  private static func readTransparentHugePages(_ files: SystemFiles) -> TransparentHugePages {
    let words = files.text("/sys/kernel/mm/transparent_hugepage/enabled")?.split(separator: " ") ?? []
    let chosen = words.first { $0.hasPrefix("[") && $0.hasSuffix("]") }
    return chosen.flatMap { TransparentHugePages(rawValue: String($0.dropFirst().dropLast())) } ?? .unknown
  }
}

extension Topology {
  /// Fills in the caches when no reader saw any; returns who told them.
  mutating func completeCaches(for cpus: [Int]) -> Machine.Source {
    if !caches.isEmpty { return source }
    var found = [ck_cpu_cache](repeating: ck_cpu_cache(), count: ck_cpu_caches(nil, 0))
    let count = ck_cpu_caches(&found, found.count)
    for cache in found.prefix(count) {
      addCaches(
        level: Int(cache.level), bytes: Int(clamping: cache.bytes), lineBytes: Int(cache.line_bytes), of: cpus,
        sharedBy: Int(cache.shared_by))
    }
    if !caches.isEmpty { return .cpuid }
    addCaches(level: 1, bytes: 32 << 10, lineBytes: 64, of: cpus, sharedBy: 1)
    addCaches(level: 2, bytes: 1 << 20, lineBytes: 64, of: cpus, sharedBy: 1)
    addCaches(level: 3, bytes: 16 << 20, lineBytes: 64, of: cpus, sharedBy: cpus.count)
    return .assumed
  }

  private mutating func addCaches(level: Int, bytes: Int, lineBytes: Int, of cpus: [Int], sharedBy: Int) {
    for first in stride(from: 0, to: cpus.count, by: sharedBy) {
      let shared = Array(cpus[first..<min(first + sharedBy, cpus.count)])
      caches.append(CacheInstance(level: level, bytes: bytes, lineBytes: lineBytes, cpus: shared))
    }
  }

  /// A machine has at least one node. A single node has all the memory: guests whose memory grew after boot report
  /// the node's old size in its own file.
  mutating func completeNodes(for cpus: [Int], totalMemory: Int?) {
    if nodes.isEmpty { nodes = [Machine.Node(number: 0, cpus: cpus, memoryBytes: 0)] }
    if nodes.count == 1, let totalMemory { nodes[0].memoryBytes = totalMemory }
  }
}
