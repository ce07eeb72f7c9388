extension Machine: CustomStringConvertible {
  /// A listing for people, one fact per line.
  public var description: String {
    var rows = [
      ("CPU", "\(model.isEmpty ? "unknown" : model) (\(vendor.isEmpty ? "" : "\(vendor), ")\(architecture))"),
      ("instruction sets", instructionSets.description),
      ("AMX", amxPermission.rawValue),
      ("cores", coresText),
      ("may use", allowedText),
    ]
    rows += nodes.map { ("NUMA node \($0.number)", nodeText($0)) }
    rows += Set(caches.map(\.level)).sorted().map { ("L\($0) cache", cachesText(level: $0)) }
    rows += [
      ("pages", pagesText),
      ("threads", "\(defaultThreadCount) by default"),
      ("as told by", sourcesText),
    ]

    let width = rows.map(\.0.count).max() ?? 0
    return rows.map { label, text in
      label + String(repeating: " ", count: width + 2 - label.count) + text
    }.joined(separator: "\n")
  }

  private var coresText: String {
    let domains = Set(cores.map(\.cacheDomain)).count
    var text = "\(cores.count) in \(counted(packageCount, "package")), \(counted(domains, "last-level cache"))"
    if threadsPerCore > 1 { text += "; up to \(threadsPerCore) threads each" }
    let kinds = Set(cores.map(\.kind)).sorted(by: >)
    if kinds.count > 1 {
      text += "; " + kinds.map { kind in "\(cores.count { $0.kind == kind }) of kind \(kind)" }.joined(separator: ", ")
    }
    return text
  }

  private var allowedText: String {
    let quota = cpuQuota.map { "a quota of \(Self.rounded($0)) CPUs" } ?? "no quota"
    return "CPUs \(CPUList.format(allowedCPUs)), \(allowedCPUs.count) of \(onlineCPUCount) online; \(quota)"
  }

  private func nodeText(_ node: Node) -> String {
    let memory = node.memoryBytes > 0 ? Self.size(node.memoryBytes) : "unknown memory"
    return node.cpus.isEmpty ? "\(memory), no CPUs" : "\(memory), CPUs \(CPUList.format(node.cpus))"
  }

  private func cachesText(level: Int) -> String {
    caches.filter { $0.level == level }.map { cache in
      let shared = cache.sharedBy > 1 ? ", each shared by \(cache.sharedBy) CPUs" : ""
      return "\(cache.instances) x \(Self.size(cache.bytes)), lines of \(cache.lineBytes) B\(shared)"
    }.joined(separator: "; ")
  }

  private var pagesText: String {
    "\(pageSizes.map(Self.size).joined(separator: ", ")); transparent huge pages: \(transparentHugePages.rawValue)"
  }

  private var sourcesText: String {
    topologySource == cacheSource ? topologySource.rawValue : "\(topologySource.rawValue); caches by \(cacheSource.rawValue)"
  }

  private func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

  /// `32 KiB`, `1.5 MiB`: at most one digit after the point.
  static func size(_ bytes: Int) -> String {
    var value = Double(bytes)
    var unit = 0
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    return "\(rounded(value)) \(units[unit])"
  }

  private static func rounded(_ value: Double) -> String {
    let tenths = Int((value * 10).rounded())
    return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
  }
}
