internal import Tessera
internal import TesseraCompression
internal import TesseraLayers

/// Sums up what linear layers see, or give, while a model runs on a calibration text. One step at a time.
final class MomentCollector: @unchecked Sendable {
  // Sendable because a runner calls its layers one after the other.
  private(set) var moments: SecondMoments
  private(set) var failure: CompressionError?

  init(inputs: Int) throws(CompressionError) { moments = try SecondMoments(inputs: inputs) }

  func add(_ rows: Span<Float>, on executor: Executor) {
    do throws(CompressionError) { try moments.add(rows, on: executor.pool) } catch { failure = failure ?? error }
  }

  /// - Throws: what was wrong with the activations.
  func result() throws(CompressionError) -> SecondMoments {
    if let failure { throw failure }
    return moments
  }
}

/// A linear layer whose inputs are summed up.
struct ObservedInputs: LinearLayer {
  let layer: any LinearLayer
  let collector: MomentCollector

  var outputs: Int { layer.outputs }
  var inputs: Int { layer.inputs }
  var format: WeightFormat { layer.format }
  var byteCount: Int { layer.byteCount }
  var bestSpeedup: Double { layer.bestSpeedup }

  func callAsFunction(
    _ x: Span<Float>, rows: Int, into y: inout MutableSpan<Float>, on executor: Executor
  ) throws(TesseraError) {
    collector.add(x, on: executor)
    try layer(x, rows: rows, into: &y, on: executor)
  }
}

/// A query projection whose outputs are summed up for each key-value head, over the query heads that share it.
struct ObservedQueries: LinearLayer {
  let layer: any LinearLayer
  let collectors: [MomentCollector]

  var outputs: Int { layer.outputs }
  var inputs: Int { layer.inputs }
  var format: WeightFormat { layer.format }
  var byteCount: Int { layer.byteCount }
  var bestSpeedup: Double { layer.bestSpeedup }

  func callAsFunction(
    _ x: Span<Float>, rows: Int, into y: inout MutableSpan<Float>, on executor: Executor
  ) throws(TesseraError) {
    try layer(x, rows: rows, into: &y, on: executor)
    let width = outputs / collectors.count
    for (head, collector) in collectors.enumerated() {
      let queries = [Float](unsafeUninitializedCapacity: rows * width) { target, count in
        for row in 0..<rows {
          for element in 0..<width {
            target.initializeElement(at: row * width + element, to: y[row * outputs + head * width + element])
          }
        }
        count = rows * width
      }
      collector.add(queries.span, on: executor)
    }
  }
}

/// The second moments of the inputs of one decoder layer's matrices; nil for what nobody asked for.
struct LayerMoments {
  /// Of q, k and v.
  var attention: SecondMoments?
  /// Of o.
  var output: SecondMoments?
  /// Of gate and up.
  var feedForward: SecondMoments?
  /// Of down.
  var down: SecondMoments?
  /// Of the queries that each key-value head meets, before rotation.
  var queries: [SecondMoments] = []
}
