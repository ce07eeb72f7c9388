extension Machine: CustomStringConvertible {
  /// A listing for people, one fact per line.
  public var description: String {
    var rows: [(label: String, text: String)] = []
    rows.append(
      ("CPU", "\(model.isEmpty ? "unknown" : model) (\(([vendor, architecture]).filter { !$0.isEmpty }.joined(separator: ", ")))")
    )
    rows.append(("instruction sets", instructionSets.description))
    rows.append(("AMX", amxPermission.rawValue))
    rows.append(("cores", coresText))
    rows.append(("may use", allowedText))
    for node in nodes { rows.append(("NUMA node \(node.number)", nodeText(node))) }
    for level in Set(caches.map(\.level)).sorted() {
      rows.append(("L\(level) cache", caches.filter { $0.level == level }.map(cacheText).joined(separator: "; ")))
    }
    rows.append(("pages", pagesText))
    rows.append(("threads", "\(defaultThreadCount) by default"))
    rows.append(
      (
        "as told by",
        topologySource == cacheSource ? topologySource.rawValue : "\(topologySource.rawValue), caches: \(cacheSource.rawValue)"
      ))

    let width = rows.map(\.label.count).max() ?? 0
    return rows.map { row in
      row.label + String(repeating: " ", count: width + 2 - row.label.count) + row.text
    }.joined(separator: "\n")
  }

  private var coresText: String {
    var text = "\(cores.count)"
    if threadsPerCore > 1 { text += ", up to \(threadsPerCore) threads each" }
    let kinds = Set(cores.map(\.kind)).sorted(by: >)
    if kinds.count > 1 {
      text += kinds.map { kind in ", \(cores.count { $0.kind == kind }) of kind \(kind)" }.joined()
    }
    let domains = Set(cores.map(\.cacheDomain)).count
    return text + " in \(counted(packageCount, "package")), \(counted(domains, "last-level cache"))"
  }

  private var allowedText: String {
    let quota = cpuQuota.map { "a quota of \(Self.rounded($0)) CPUs" } ?? "no quota"
    return "CPUs \(CPUList.format(allowedCPUs)), \(allowedCPUs.count) of \(onlineCPUCount) online; \(quota)"
  }

  private func nodeText(_ node: Node) -> String {
    let memory = node.memoryBytes > 0 ? Self.size(node.memoryBytes) : "unknown memory"
    return node.cpus.isEmpty ? "\(memory), no CPUs" : "\(memory), CPUs \(CPUList.format(node.cpus))"
  }

  private func cacheText(_ cache: Cache) -> String {
    let shared = cache.sharedBy > 1 ? ", each shared by \(cache.sharedBy) CPUs" : ""
    return "\(cache.instances) x \(Self.size(cache.bytes)), lines of \(cache.lineBytes) B\(shared)"
  }

  private var pagesText: String {
    "\(pageSizes.map(Self.size).joined(separator: ", ")); transparent huge pages: \(transparentHugePages.rawValue)"
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
