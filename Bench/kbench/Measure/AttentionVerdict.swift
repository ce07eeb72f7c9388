internal import Tessera

/// Compares attention's kernels, run as they will be timed, with the scalar references, on the beginning of a cache.
enum AttentionVerdict {
  /// Three chunks, the last incomplete.
  private static let tokens = 1100
  private static let mostQueries = 4

  /// The largest difference and its bound, in units of the largest value.
  static func check(
    _ selection: KernelSelection, on caches: AttentionCaches, _ rows: AttentionRows, queries: Int, executor: Executor
  ) throws(TesseraError) -> Accuracy {
    let contents = try caches.beginning(tokens: tokens)
    let count = min(queries, mostQueries, contents.count)
    let q = rows.queries(tokens: count)
    let scalar = KernelSelection(features: [], level: nil)
    let fast = try attend(q, contents, count, selection, executor), exact = try attend(q, contents, count, scalar, executor)
    let largest = exact.reduce(0) { max($0, abs($1)) }
    let error = zip(fast, exact).reduce(0.0) { max($0, Double($1.0.isNaN ? .infinity : abs($1.0 - $1.1) / largest)) }
    return Accuracy(error: error, bound: bound(q, rows.shape) * (caches.format.isLatent ? 2 : 1))
  }

  private static func attend(
    _ q: [Float], _ contents: AttentionContents, _ count: Int, _ selection: KernelSelection, _ executor: Executor
  ) throws(TesseraError) -> [Float] {
    var y = [Float](repeating: .nan, count: count * contents.shape.outputWidth)
    var span = y.mutableSpan
    try executor.attend(q.span, to: [contents], tokens: [count], into: &span, selection: selection)
    return y
  }

  /// Queries and probabilities rounded to bfloat16 (Docs/Numerics.md): scores are off by 2^-9 of sum |q||k|, which normal numbers
  /// keep below twice its mean, 2/pi of the dimension; a probability's relative error is twice that and its own 2^-8. With
  /// latents the queries' side is rounded twice, and so are sums of values.
  private static func bound(_ q: [Float], _ shape: AttentionShape) -> Double {
    let scores = 2 * 0.64 * Double(shape.keyDimension) * Double(shape.scale) / 512
    return 2 * scores + 1.0 / 256
  }
}
