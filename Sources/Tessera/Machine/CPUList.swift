/// Sets of CPU numbers as Linux writes them: `0-7,16-23`.
enum CPUList {
  /// No kernel has more; a wider range is a damaged file.
  private static let mostCPUs = 65536

  /// The numbers in ascending order, each once. Parts that are no number or range are left out.
  static func parse(_ text: some StringProtocol) -> [Int] {
    var cpus = Set<Int>()
    for part in text.split(whereSeparator: { $0 == "," || $0.isWhitespace }) {
      let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard let first = ends[0], first >= 0, first < mostCPUs, ends.count <= 2 else { continue }
      guard let last = ends[ends.count - 1], last >= first, last < mostCPUs else { continue }
      cpus.formUnion(first...last)
    }
    return cpus.sorted()
  }

  /// `cpus`, ascending, with runs joined: `[0, 1, 2, 8]` becomes `0-2,8`.
  static func format(_ cpus: [Int]) -> String {
    var runs: [ClosedRange<Int>] = []
    for cpu in cpus {
      if let last = runs.last, last.upperBound + 1 == cpu {
        runs[runs.count - 1] = last.lowerBound...cpu
      } else {
        runs.append(cpu...cpu)
      }
    }
    return runs.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }.joined(separator: ",")
  }
}
