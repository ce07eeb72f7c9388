/// Cores, caches and NUMA nodes as one of the readers found them, before `Machine` completes them.
struct Topology: Equatable {
  struct Core: Equatable {
    var cpus: [Int]
    var package: Int
    /// Rank among the machine's kinds of core, 0 the slowest.
    var kind: Int
  }

  struct CacheInstance: Equatable {
    var level: Int
    var bytes: Int
    var lineBytes: Int
    var cpus: [Int]
  }

  var source: Machine.Source
  var cores: [Core] = []
  var caches: [CacheInstance] = []
  var nodes: [Machine.Node] = []

  /// What this process may use of it. Cores and caches without an allowed CPU go; a node keeps its memory. An allowed
  /// CPU that the reader did not see becomes a core of its own.
  func restricted(to allowed: [Int]) -> Topology {
    let set = Set(allowed)
    var result = Topology(source: source)
    result.cores = cores.compactMap { core in
      let cpus = core.cpus.filter(set.contains)
      return cpus.isEmpty ? nil : Core(cpus: cpus, package: core.package, kind: core.kind)
    }
    let seen = Set(result.cores.flatMap(\.cpus))
    result.cores += allowed.filter { !seen.contains($0) }.map { Core(cpus: [$0], package: 0, kind: 0) }
    result.cores.sort { $0.cpus[0] < $1.cpus[0] }
    result.caches = caches.compactMap { cache in
      var cache = cache
      cache.cpus.removeAll { !set.contains($0) }
      return cache.cpus.isEmpty || cache.bytes <= 0 ? nil : cache
    }
    result.caches.sort { ($0.level, $0.cpus[0]) < ($1.level, $1.cpus[0]) }
    result.nodes = nodes.map { node in
      Machine.Node(number: node.number, cpus: node.cpus.filter(set.contains), memoryBytes: node.memoryBytes)
    }
    result.nodes.sort { $0.number < $1.number }
    return result
  }

  /// The cores in the form that `Machine` shows: with their node and the cores that share their last-level cache.
  ///
  /// Where no level-3 cache is known, the cores of a package count as one such domain.
  func machineCores() -> [Machine.Core] {
    let lastLevel = caches.map(\.level).max() ?? 0
    var domainOfCPU: [Int: Int] = [:]
    if lastLevel >= 3 {
      for (domain, cache) in caches.filter({ $0.level == lastLevel }).enumerated() {
        for cpu in cache.cpus { domainOfCPU[cpu] = domain }
      }
    }
    // Packages without such a cache get the numbers after those of the caches.
    let firstFree = (domainOfCPU.values.max() ?? -1) + 1
    let packages = Set(cores.map(\.package)).sorted()
    let kinds = Set(cores.map(\.kind)).sorted()
    return cores.map { core in
      let package = packages.firstIndex(of: core.package) ?? 0
      return Machine.Core(
        cpus: core.cpus, package: core.package,
        node: nodes.first { $0.cpus.contains(core.cpus[0]) }?.number ?? 0,
        cacheDomain: domainOfCPU[core.cpus[0]] ?? firstFree + package,
        kind: kinds.firstIndex(of: core.kind) ?? 0)
    }
  }

  /// The caches, equal ones counted together.
  func machineCaches() -> [Machine.Cache] {
    var counted: [Machine.Cache] = []
    for cache in caches {
      let kind = Machine.Cache(
        level: cache.level, bytes: cache.bytes, lineBytes: cache.lineBytes, sharedBy: cache.cpus.count, instances: 1)
      if let index = counted.firstIndex(where: { $0.isSameKind(as: kind) }) {
        counted[index].instances += 1
      } else {
        counted.append(kind)
      }
    }
    return counted
  }
}
