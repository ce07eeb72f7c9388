/// The topology as Linux shows it below /sys/devices/system.
enum SysfsTopology {
  private static let cpuRoot = "/sys/devices/system/cpu"
  private static let nodeRoot = "/sys/devices/system/node"

  /// Everything that is online, whether this process may use it or not. Masked or missing files leave their part empty.
  static func read(_ files: SystemFiles) -> Topology {
    let present = files.numbers(in: cpuRoot, prefix: "cpu")
    let listed = files.cpus("\(cpuRoot)/online")
    let online = listed.isEmpty ? present : listed
    return Topology(
      source: .sysfs, cores: cores(files, online), caches: caches(files, online), nodes: nodes(files))
  }

  private static func cores(_ files: SystemFiles, _ online: [Int]) -> [Topology.Core] {
    let kinds = kindOfCPU(files, online)
    var cores: [Topology.Core] = []
    var seen = Set<Int>()
    for cpu in online where !seen.contains(cpu) {
      let topology = "\(cpuRoot)/cpu\(cpu)/topology"
      guard let siblings = files.text("\(topology)/core_cpus_list") ?? files.text("\(topology)/thread_siblings_list") else {
        continue
      }
      let cpus = CPUList.parse(siblings)
      guard cpus.contains(cpu) else { continue }
      seen.formUnion(cpus)
      // Virtual machines on arm64 write -1 for an unknown package.
      let package = max(0, files.integer("\(topology)/physical_package_id") ?? 0)
      cores.append(Topology.Core(cpus: cpus, package: package, kind: kinds[cpu] ?? 0))
    }
    return cores
  }

  /// Hybrid Intel CPUs name their kinds, others give every CPU a capacity; either way 0 is the slowest kind.
  private static func kindOfCPU(_ files: SystemFiles, _ online: [Int]) -> [Int: Int] {
    let named = ["cpu_lowpower", "cpu_atom", "cpu_core"].map { files.cpus("/sys/devices/\($0)/cpus") }.filter { !$0.isEmpty }
    var kinds: [Int: Int] = [:]
    if named.count > 1 {
      for (kind, cpus) in named.enumerated() {
        for cpu in cpus { kinds[cpu] = kind }
      }
      return kinds
    }
    let capacities = online.map { files.integer("\(cpuRoot)/cpu\($0)/cpu_capacity") ?? 0 }
    let ranks = Set(capacities).sorted()
    for (cpu, capacity) in zip(online, capacities) { kinds[cpu] = ranks.firstIndex(of: capacity) }
    return kinds
  }

  private static func caches(_ files: SystemFiles, _ online: [Int]) -> [Topology.CacheInstance] {
    struct Identity: Hashable {
      var level: Int
      var firstCPU: Int
    }
    var seen = Set<Identity>()
    var caches: [Topology.CacheInstance] = []
    for cpu in online {
      let folder = "\(cpuRoot)/cpu\(cpu)/cache"
      for index in files.numbers(in: folder, prefix: "index") {
        let cache = "\(folder)/index\(index)"
        guard
          let level = files.integer("\(cache)/level"), let type = files.text("\(cache)/type"), type != "Instruction",
          let bytes = files.text("\(cache)/size").flatMap(byteCount)
        else { continue }
        let listed = files.cpus("\(cache)/shared_cpu_list")
        let cpus = listed.contains(cpu) ? listed : [cpu]
        guard seen.insert(Identity(level: level, firstCPU: cpus[0])).inserted else { continue }
        caches.append(
          Topology.CacheInstance(
            level: level, bytes: bytes, lineBytes: files.integer("\(cache)/coherency_line_size") ?? 64, cpus: cpus))
      }
    }
    return caches
  }

  private static func nodes(_ files: SystemFiles) -> [Machine.Node] {
    files.numbers(in: nodeRoot, prefix: "node").map { number in
      let folder = "\(nodeRoot)/node\(number)"
      return Machine.Node(
        number: number, cpus: files.cpus("\(folder)/cpulist"), memoryBytes: totalMemory(files, "\(folder)/meminfo") ?? 0)
    }
  }

  /// The `MemTotal` of /proc/meminfo or of a node's meminfo, in bytes.
  static func totalMemory(_ files: SystemFiles, _ path: String = "/proc/meminfo") -> Int? {
    for line in files.text(path)?.split(separator: "\n") ?? [] {
      let words = line.split(separator: " ")
      guard let label = words.firstIndex(of: "MemTotal:"), label + 1 < words.count, let kilobytes = Int(words[label + 1]) else {
        continue
      }
      let (bytes, overflow) = kilobytes.multipliedReportingOverflow(by: 1024)
      return overflow ? nil : bytes
    }
    return nil
  }

  /// `48K`, `2M` and the like.
  private static func byteCount(_ text: String) -> Int? {
    let units: [Character: Int] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30]
    guard let last = text.last else { return nil }
    guard let unit = units[last] else { return Int(text) }
    guard let count = Int(text.dropLast()) else { return nil }
    let (bytes, overflow) = count.multipliedReportingOverflow(by: unit)
    return overflow ? nil : bytes
  }
}
