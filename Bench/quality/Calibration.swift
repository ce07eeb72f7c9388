internal import ProgramSupport
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
  init(_ checkpoint: LlamaCheckpoint, windows: [[Int]], on executor: Executor, progress: (Int) -> Void) throws(ProgramError) {
    let configuration = checkpoint.configuration
    var inputs: [LlamaPlace: MomentCollector] = [:]
    var queries: [[MomentCollector]] = []
    for layer in 0..<configuration.layerCount {
      try attempt { () throws(CompressionError) in
        for projection in LlamaProjection.allCases where Calibration.observed(with: projection) == projection {
          let place = LlamaPlace.layer(layer, projection)
          inputs[place] = try MomentCollector(inputs: configuration.shape(of: place).inputs)
        }
        var heads: [MomentCollector] = []
        for _ in 0..<configuration.attention.queryHeads {
          heads.append(try MomentCollector(inputs: configuration.attention.keyDimension))
        }
        queries.append(heads)
      }
    }
    let model = try attempt { () throws(ModelError) in
      try LlamaModel(checkpoint, on: executor) { matrix throws(ModelError) in
        var layer: any LinearLayer = try matrix.dense(on: executor)
        if case .layer(let index, .query) = matrix.place { layer = ObservedQueries(layer: layer, collectors: queries[index]) }
        return inputs[matrix.place].map { ObservedInputs(layer: layer, collector: $0) } ?? layer
      }
    }
    var runner = LlamaRunner(model, on: executor)
    for (index, window) in windows.enumerated() {
      progress(index)
      var state = model.makeState()
      _ = try attempt { () throws(ModelError) in try runner.forward(window, continuing: &state) }
    }
    var results: [LlamaPlace: SecondMoments] = [:]
    for (place, collector) in inputs { results[place] = try Calibration.result(collector) }
    self.inputs = results
    self.queries = try queries.map { heads throws(ProgramError) in
      try heads.map { collector throws(ProgramError) in try Calibration.result(collector) }
    }
  }

  private static func result(_ collector: MomentCollector) throws(ProgramError) -> SecondMoments {
    try attempt { () throws(CompressionError) in try collector.result() }
  }
}
