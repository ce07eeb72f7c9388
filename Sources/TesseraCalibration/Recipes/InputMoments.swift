package import Tessera
package import TesseraCompression
package import TesseraLayers

/// Sums up what linear layers see, or give, while a model runs on a calibration text. One step at a time.
package final class MomentCollector: @unchecked Sendable {
  // Sendable because a runner calls its layers one after the other.
  private(set) var moments: SecondMoments
  private(set) var failure: CompressionError?

  package init(inputs: Int) throws(CompressionError) { moments = try SecondMoments(inputs: inputs) }

  package func add(_ rows: Span<Float>, on executor: Executor) {
    do throws(CompressionError) { try moments.add(rows, on: executor.pool) } catch { failure = failure ?? error }
  }

  /// - Throws: what was wrong with the activations.
  package func result() throws(CompressionError) -> SecondMoments {
    if let failure { throw failure }
    return moments
  }
}

/// A linear layer whose inputs are summed up.
package struct ObservedInputs: LinearLayer {
  let layer: any LinearLayer
  let collector: MomentCollector

  package init(layer: any LinearLayer, collector: MomentCollector) {
    self.layer = layer
    self.collector = collector
  }

  package var outputs: Int { layer.outputs }
  package var inputs: Int { layer.inputs }
  package var format: WeightFormat { layer.format }
  package var byteCount: Int { layer.byteCount }
  package var bestSpeedup: Double { layer.bestSpeedup }

  package func callAsFunction(
    _ x: Span<Float>, rows: Int, into y: inout MutableSpan<Float>, on executor: Executor
  ) throws(TesseraError) {
    collector.add(x, on: executor)
    try layer(x, rows: rows, into: &y, on: executor)
  }
}

/// A query projection whose outputs are summed up in equal parts: for each query head, or for each key-value head over the query
/// heads that share it.
package struct ObservedQueries: LinearLayer {
  let layer: any LinearLayer
  let collectors: [MomentCollector]

  package init(layer: any LinearLayer, collectors: [MomentCollector]) {
    self.layer = layer
    self.collectors = collectors
  }

  package var outputs: Int { layer.outputs }
  package var inputs: Int { layer.inputs }
  package var format: WeightFormat { layer.format }
  package var byteCount: Int { layer.byteCount }
  package var bestSpeedup: Double { layer.bestSpeedup }

  package func callAsFunction(
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
