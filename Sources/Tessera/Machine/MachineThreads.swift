extension Machine {
  /// Threads that a pool has when nobody says otherwise: one per allowed core, and no more than the CPU quota keeps busy.
  public var defaultThreadCount: Int {
    guard let cpuQuota else { return cores.count }
    return max(1, min(cores.count, Int(cpuQuota.rounded(.up))))
  }

  /// The CPU to pin each of `count` threads to, or nil when threads are better left alone: with more threads than
  /// allowed CPUs two would share one, and under a quota below the allowed CPUs the scheduler needs room to move them.
  ///
  /// Every core gets a thread before any gets a second one; fast cores come before slow ones; among equal cores the
  /// threads are spread over the last-level caches, since one such domain cannot draw the full memory bandwidth.
  /// Threads on one NUMA node are neighbours in the result, so that neighbouring panels of weights share a node.
  public func cpusForThreads(_ count: Int) -> [Int]? {
    guard count >= 1, count <= allowedCPUs.count else { return nil }
    if let cpuQuota, cpuQuota < Double(allowedCPUs.count) { return nil }
    let order = coresSpreadOverCaches
    var chosen: [Int] = []
    for sibling in 0..<threadsPerCore where chosen.count < count {
      let round = order.filter { $0.cpus.count > sibling }.prefix(count - chosen.count)
      let nodes = Set(round.map(\.node)).sorted()
      for node in nodes {
        chosen += round.filter { $0.node == node }.map { $0.cpus[sibling] }
      }
    }
    return chosen
  }

  /// The cores, fast kinds first, each kind taking one core of every last-level cache in turn; caches of different
  /// nodes alternate.
  private var coresSpreadOverCaches: [Core] {
    struct Place {
      var core: Core
      var kind: Int
      var turn: Int
      var domainInNode: Int
    }
    var domainsOfNode: [Int: [Int]] = [:]
    var taken: [[Int]: Int] = [:]
    let places = cores.map { core in
      var domains = domainsOfNode[core.node] ?? []
      if !domains.contains(core.cacheDomain) { domains.append(core.cacheDomain) }
      domainsOfNode[core.node] = domains
      let turn = taken[[core.kind, core.node, core.cacheDomain], default: 0]
      taken[[core.kind, core.node, core.cacheDomain]] = turn + 1
      return Place(
        core: core, kind: core.kind, turn: turn, domainInNode: domains.firstIndex(of: core.cacheDomain) ?? 0)
    }
    let sorted = places.sorted { a, b in
      (-a.kind, a.turn, a.domainInNode, a.core.node, a.core.cpus[0])
        < (-b.kind, b.turn, b.domainInNode, b.core.node, b.core.cpus[0])
    }
    return sorted.map(\.core)
  }
}
