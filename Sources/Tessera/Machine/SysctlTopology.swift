#if canImport(Darwin)
  internal import Darwin

  /// The topology by sysctl. Darwin numbers no CPUs for its users, so the numbers here only count them.
  enum SysctlTopology {
    static func read() -> Topology {
      var topology = Topology(source: .sysctl)
      let levels = max(1, integer("hw.nperflevels") ?? 1)
      var next = 0
      // Performance level 0 is the fastest kind.
      for level in (0..<levels).reversed() {
        let prefix = levels > 1 ? "hw.perflevel\(level)" : "hw"
        let physical = max(1, integer("\(prefix).physicalcpu") ?? 1)
        let threads = max(1, (integer("\(prefix).logicalcpu") ?? physical) / physical)
        let first = next
        for _ in 0..<physical {
          topology.cores.append(Topology.Core(cpus: Array(next..<next + threads), package: 0, kind: levels - 1 - level))
          next += threads
        }
        topology.caches += caches(prefix: prefix, cpus: first..<next, threads: threads)
      }
      if let bytes = integer("hw.l3cachesize"), bytes > 0 {
        topology.caches.append(Topology.CacheInstance(level: 3, bytes: bytes, lineBytes: line, cpus: Array(0..<next)))
      }
      topology.nodes = [Machine.Node(number: 0, cpus: Array(0..<next), memoryBytes: integer("hw.memsize") ?? 0)]
      return topology
    }

    /// One first-level cache per core, and second-level caches shared by `cpusperl2` CPUs.
    private static func caches(prefix: String, cpus: Range<Int>, threads: Int) -> [Topology.CacheInstance] {
      let kinds = [
        (level: 1, bytes: integer("\(prefix).l1dcachesize"), sharedBy: threads),
        (level: 2, bytes: integer("\(prefix).l2cachesize"), sharedBy: integer("\(prefix).cpusperl2") ?? threads),
      ]
      var caches: [Topology.CacheInstance] = []
      for kind in kinds {
        guard let bytes = kind.bytes, bytes > 0 else { continue }
        for first in stride(from: cpus.lowerBound, to: cpus.upperBound, by: max(1, kind.sharedBy)) {
          let shared = Array(first..<min(first + max(1, kind.sharedBy), cpus.upperBound))
          caches.append(Topology.CacheInstance(level: kind.level, bytes: bytes, lineBytes: line, cpus: shared))
        }
      }
      return caches
    }

    private static var line: Int { integer("hw.cachelinesize") ?? 64 }

    static func integer(_ name: String) -> Int? {
      var value: Int64 = 0
      var size = MemoryLayout<Int64>.size
      guard sysctlbyname(name, &value, &size, nil, 0) == 0 else { return nil }
      // Some values have 32 bits; the upper half then stays zero on these little-endian machines.
      return Int(value)
    }

    static func text(_ name: String) -> String? {
      var size = 0
      guard sysctlbyname(name, nil, &size, nil, 0) == 0, size > 1 else { return nil }
      var bytes = [UInt8](repeating: 0, count: size)
      guard sysctlbyname(name, &bytes, &size, nil, 0) == 0 else { return nil }
      return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  }
#endif
