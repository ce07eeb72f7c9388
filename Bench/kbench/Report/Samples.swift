/// The times of one thing, in seconds, in the order in which they were taken.
struct Samples {
  private(set) var seconds: [Double] = []

  mutating func append(_ value: Double) { seconds.append(value) }

  var count: Int { seconds.count }
  var total: Double { seconds.reduce(0, +) }
  var minimum: Double { seconds.min() ?? .nan }
  var median: Double { quantile(0.5) }
  var tenthPercentile: Double { quantile(0.1) }

  /// The value below which a fraction `p` of the samples lies, interpolated between neighbours; NaN without samples.
  func quantile(_ p: Double) -> Double {
    precondition((0...1).contains(p), "quantile \(p)")
    guard !seconds.isEmpty else { return .nan }
    let sorted = seconds.sorted()
    let position = p * Double(sorted.count - 1)
    let below = Int(position)
    let above = min(below + 1, sorted.count - 1)
    return sorted[below] + (sorted[above] - sorted[below]) * (position - Double(below))
  }
}
