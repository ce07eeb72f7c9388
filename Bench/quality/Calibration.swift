internal import Synchronization
internal import Tessera
internal import TesseraCalibration
internal import TesseraCompression
internal import TesseraLayers
internal import TesseraModels

/// What the linear layers of a dense model meet on a text that is not the one that quality is measured on.
struct Calibration {
  private let inputs: [LlamaPlace: SecondMoments]
  private let queries: [[SecondMoments]]

  /// Of the rows that go into a projection.
  func moments(ofInputsTo projection: LlamaProjection, layer: Int) -> SecondMoments {
    let source = Calibration.observed(with: projection)
    guard let moments = inputs[.layer(layer, source)] else { preconditionFailure("\(source) of layer \(layer) was not observed") }
    return moments
  }

  /// Of the queries of each head, before they turn.
  func moments(ofQueriesIn layer: Int) -> [SecondMoments] { queries[layer] }

  /// Projections that read the same rows are observed once.
  private static func observed(with projection: LlamaProjection) -> LlamaProjection {
    switch projection {
    case .query, .key, .value: .query
    case .gate, .up: .gate
    case .output, .down: projection
    }
  }

  /// Runs the dense model over windows of a text.
  init(_ checkpoint: LlamaCheckpoint, windows: [[Int]], on executor: Executor, progress: (Int) -> Void) throws(QualityError) {
    let configuration = checkpoint.configuration
    var observers: [LlamaPlace: Observer] = [:]
    let model = try attempt { () throws(ModelError) in
      try LlamaModel(checkpoint, on: executor) { matrix throws(ModelError) in
        let layer = try matrix.dense(on: executor)
        guard case .layer(_, let projection) = matrix.place, Calibration.observed(with: projection) == projection else {
          return layer
        }
        let heads = projection == .query ? configuration.attention.queryHeads : 0
        do {
          let observer = try Observer(inputs: matrix.inputs, heads: heads, outputs: matrix.outputs)
          observers[matrix.place] = observer
          return ObservedLinear(layer: layer, observer: observer)
        } catch {
          preconditionFailure("\(error)")
        }
      }
    }
    var runner = LlamaRunner(model, on: executor)
    for (index, window) in windows.enumerated() {
      progress(index)
      var state = model.makeState()
      _ = try attempt { () throws(ModelError) in try runner.forward(window, continuing: &state) }
      for observer in observers.values { try observer.check() }
    }
    inputs = observers.mapValues(\.inputMoments)
    queries = (0..<configuration.layerCount).map { observers[.layer($0, .query)]?.headMoments ?? [] }
  }
}

/// A dense layer whose rows are observed.
private struct ObservedLinear: LinearLayer {
  let layer: DenseLinear
  let observer: Observer

  var outputs: Int { layer.outputs }
  var inputs: Int { layer.inputs }
  var format: WeightFormat { layer.format }
  var byteCount: Int { layer.byteCount }
  var bestSpeedup: Double { layer.bestSpeedup }

  func callAsFunction(
    _ x: Span<Float>, rows: Int, into y: inout MutableSpan<Float>, on executor: Executor
  ) throws(TesseraError) {
    try layer(x, rows: rows, into: &y, on: executor)
    observer.observe(x, y.span, rows: rows, on: executor.pool)
  }
}

/// Sums up second moments of rows: of whole ones before a layer, and of each head's part behind it.
private final class Observer: Sendable {
  private struct Sums {
    var inputs: SecondMoments
    var heads: [SecondMoments]
    var failure: CompressionError?
  }

  private let sums: Mutex<Sums>

  init(inputs: Int, heads: Int, outputs: Int) throws(CompressionError) {
    let head = heads > 0 ? try SecondMoments(inputs: outputs / heads) : nil
    sums = Mutex(
      Sums(inputs: try SecondMoments(inputs: inputs), heads: head.map { [SecondMoments](repeating: $0, count: heads) } ?? []))
  }

  var inputMoments: SecondMoments { sums.withLock { $0.inputs } }
  var headMoments: [SecondMoments] { sums.withLock { $0.heads } }

  func observe(_ x: Span<Float>, _ y: Span<Float>, rows: Int, on pool: ThreadPool) {
    let heads = sums.withLock { $0.heads.count }
    let parts = heads > 0 ? Observer.split(y, rows: rows, heads: heads) : []
    sums.withLock { sums in
      do throws(CompressionError) {
        try sums.inputs.add(x, on: pool)
        for (head, part) in parts.enumerated() { try sums.heads[head].add(part.span) }
      } catch {
        sums.failure = error
      }
    }
  }

  /// The first failure, which a layer cannot report.
  func check() throws(QualityError) {
    if let failure = sums.withLock({ $0.failure }) { throw .failed("\(failure)") }
  }

  private static func split(_ y: Span<Float>, rows: Int, heads: Int) -> [[Float]] {
    let width = y.count / rows / heads
    return (0..<heads).map { head in
      (0..<rows * width).map { y[($0 / width * heads + head) * width + $0 % width] }
    }
  }
}
