internal import Tessera
internal import TesseraCompression
internal import TesseraLayers
internal import TesseraModels

/// A model on its way through compression: what is finished, and the calibration rows behind it.
struct CompressionJob {
  private(set) var layers: [CompressionReport.Layer] = []
  private(set) var head: CompressionReport.Matrix?
  private(set) var tensors: [PackedTensor] = []
  /// Of the work, what an earlier run had done.
  private(set) var reused = 0.0
  let caches: [CacheForm]

  private let plan: CompressionPlan
  private let checkpoint: LlamaCheckpoint
  private let parts: FinishedParts
  private let executor: Executor
  /// nil where the recipe looks at no activations.
  private var states: CalibrationStates?
  /// Of everything that decided what is finished so far.
  private var fingerprint: String

  /// Changes when the same input would give other bytes.
  private static let version = 2

  init(
    _ plan: CompressionPlan, _ checkpoint: LlamaCheckpoint, _ calibration: ArraySlice<Int>, _ parts: FinishedParts,
    _ executor: Executor
  ) throws(ModelCompressionError) {
    self.plan = plan
    self.checkpoint = checkpoint
    self.parts = parts
    self.executor = executor
    caches = (0..<plan.configuration.layerCount).map { plan.cacheForm(ofLayer: $0) }
    let needsStates = plan.recipe.needsCalibration
    let ids = needsStates ? calibration.map { "\($0)" }.joined(separator: " ") : ""
    fingerprint = digest("\(CompressionJob.version)\(plan.recipe.json)\(caches)\(ids)")
    guard needsStates else { return }
    states = try modelling { () throws(ModelError) in
      try CalibrationStates(
        calibration, window: min(plan.recipe.calibration.window, plan.configuration.contextLength),
        embedding: checkpoint.embedding(), configuration: plan.configuration)
    }
  }

  var partNames: [String] { (0..<plan.configuration.layerCount).map(CompressionJob.name(ofLayer:)) + ["new"] }

  private static func name(ofLayer layer: Int) -> String { "layer-\(layer)" }

  /// All layers and the head, by their weights.
  private func fraction(_ layer: Int, _ part: Double) -> Double {
    let all = Double(plan.configuration.parameterCount)
    let matrix = Double(plan.configuration.vocabularySize * plan.configuration.hiddenSize)
    let body = max(0.5, 1 - matrix / all)
    return body * (Double(layer) + part) / Double(plan.configuration.layerCount)
  }

  // MARK: Layers

  mutating func compress(
    _ layer: Int, progress: @escaping (ModelCompression.Progress) -> Void
  ) throws(ModelCompressionError) {
    let source = try modelling { () throws(ModelError) in try LayerSource(checkpoint, layer: layer) }
    fingerprint = digest(fingerprint + source.checksum)
    let name = CompressionJob.name(ofLayer: layer)
    let reused = reused
    if let (file, json) = parts.load(name, fingerprint: fingerprint), let report = CompressionReport.Layer(json) {
      progress(ModelCompression.Progress(what: "layer \(layer): finished before", fraction: fraction(layer, 0), reused: reused))
      _ = try advance(layer, file) { _ in }
      tensors += file.tensors
      layers.append(report)
      self.reused = fraction(layer, 1)
      return
    }
    let (begin, end) = (fraction(layer, 0), fraction(layer, 1))
    let compressor = LayerCompressor(plan: plan, executor: executor) { part, what in
      progress(ModelCompression.Progress(what: what, fraction: begin + (end - begin) * part, reused: reused))
    }
    try compress(source, name, compressor)
  }

  private mutating func compress(
    _ source: LayerSource, _ name: String, _ compressor: LayerCompressor
  ) throws(ModelCompressionError) {
    let observed = try states.map { states throws(ModelCompressionError) in try compressor.observe(source, states) }
    let result = try compressor.compress(source, observed?.moments ?? LayerMoments())
    var report = CompressionReport.Layer(index: source.index, matrices: result.matrices, outputError: nil)
    // The calibration rows pass through the layer as it lies in a file, whether this run made it or an earlier one.
    let new = try storing { () throws(WeightFileError) in
      try parts.store("new", result.tensors, fingerprint: "", report: .null)
    }
    report.outputError = try advance(source.index, new, original: observed?.outputs) {
      compressor.progress(0.8 + 0.2 * $0, "layer \(source.index): passing on")
    }
    let file = try storing { () throws(WeightFileError) in
      try parts.store(name, new.tensors, fingerprint: fingerprint, report: report.value)
    }
    tensors += file.tensors
    layers.append(report)
  }

  /// Runs a compressed layer on the calibration rows.
  /// - Parameter original: the rows behind the layer as it was.
  /// - Returns: how much of what the layer does is lost; nil without the original, or without rows.
  private mutating func advance(
    _ layer: Int, _ file: PackedFile, original: [[Float]]? = nil, progress: (Double) -> Void
  ) throws(ModelCompressionError) -> Double? {
    guard let states else { return nil }
    let loader = PackedModelLoader(plan.configuration, file, caches)
    let outputs = try modelling { () throws(ModelError) in
      try states.outputs(of: loader.layer(layer), on: executor, progress: progress)
    }
    let error = original.map { states.relativeError(of: outputs, to: $0) }
    self.states?.replace(by: outputs)
    return error
  }

  // MARK: Head

  /// Embedding, last norm and head. A tied head that stays dense is one matrix with the embedding.
  mutating func compressHead(progress: (ModelCompression.Progress) -> Void) throws(ModelCompressionError) {
    progress(
      ModelCompression.Progress(
        what: "embedding and head", fraction: fraction(plan.configuration.layerCount, 0), reused: reused))
    let rule = plan.rule(.head)
    let name = PackedModelNames.stem(.head)
    let (vocabulary, hidden) = plan.configuration.shape(of: .head)
    let isShared = plan.configuration.tiesHead && (rule == nil || (rule?.format == .bf16 && rule?.sparsity == nil))
    let norm = try modelling { () throws(ModelError) in try checkpoint.outputNorm() }
    let weights = try modelling { () throws(ModelError) in try checkpoint.float32(of: .head) }
    let moments = try headMoments(rule, norm: norm)
    let matrix = try compressing(name) { () throws(CompressionError) in
      try MatrixCompressor(rule: rule, executor: executor).packed(
        weights, outputs: vocabulary, inputs: hidden, bias: nil, moments: moments,
        named: isShared ? PackedModelNames.embedding : PackedModelNames.weight(.head), progress: nil)
    }
    head = try compressing(name) { () throws(CompressionError) in
      try CompressionReport.Matrix(matrix, named: name, of: weights, moments: moments, on: executor.pool)
    }
    let last = try modelling { () throws(ModelError) in try norm.packedTensor(named: PackedModelNames.outputNorm) }
    tensors = [isShared ? matrix.tensor : try embedding()] + tensors + [last] + (isShared ? [] : [matrix.tensor])
  }

  private func embedding() throws(ModelCompressionError) -> PackedTensor {
    let rows = try modelling { () throws(ModelError) in try checkpoint.embedding() }
    let (vocabulary, hidden) = plan.configuration.shape(of: .head)
    return try compressing(PackedModelNames.embedding) { () throws(CompressionError) in
      try packing { () throws(TesseraError) in
        try PackedTensor(plain: rows.span, named: PackedModelNames.embedding, rows: vocabulary, columns: hidden)
      }
    }
  }

  /// Of the rows behind the last norm; nil where nobody asks.
  private func headMoments(_ rule: Recipe.Rule?, norm: [Float]) throws(ModelCompressionError) -> SecondMoments? {
    guard let states, rule?.needsCalibration == true else { return nil }
    let collector = try compressing("lm_head") { () throws(CompressionError) in
      try MomentCollector(inputs: plan.configuration.hiddenSize)
    }
    try modelling { () throws(ModelError) in
      try states.normalized(by: norm, on: executor) { collector.add($0, on: executor) }
    }
    return try compressing("lm_head") { () throws(CompressionError) in try collector.result() }
  }
}
