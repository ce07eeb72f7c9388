public import Tessera
public import TesseraCompression
internal import TesseraLayers
public import TesseraModels

/// Compresses a model by a recipe, layer by layer, into one packed file.
///
/// Each layer is compressed on the inputs that the compressed layers before it give, as GPTQ does. A layer that is finished is
/// kept in `OUTPUT.layers` until the whole file stands under its name, so work that was interrupted goes on where it ended; the
/// bytes are the same then. They depend on the model, the recipe, the calibration text and the kernels of the machine.
public struct ModelCompression: Sendable {
  /// How far the work is.
  public struct Progress: Sendable {
    /// What is being done, for people.
    public let what: String
    /// Of all the work.
    public let fraction: Double
    /// What an earlier run had done of it.
    public let reused: Double
  }

  private let checkpoint: LlamaCheckpoint
  private let files: ModelFiles
  private let plan: CompressionPlan
  private let calibration: ArraySlice<Int>
  private let executor: Executor

  /// - Parameters:
  ///   - files: the model's small files, which come along.
  ///   - recipeFile: what errors call the recipe.
  ///   - calibration: a text, encoded; its first `recipe.calibration.tokens` are looked at. May be empty where the recipe asks
  ///     for none.
  ///   - scores: what rank rules other than `uniform` go by.
  /// - Throws: what of the recipe the model cannot have; `noCalibration`.
  public init(
    _ checkpoint: LlamaCheckpoint, files: ModelFiles, recipe: Recipe, recipeFile: String = "the recipe",
    calibration: [Int] = [], scores: RankScores? = nil, on executor: Executor
  ) throws(ModelCompressionError) {
    guard !recipe.needsCalibration || !calibration.isEmpty else { throw .noCalibration(recipe: recipe.name) }
    plan = try CompressionPlan(recipe, of: checkpoint.configuration, scores: scores, file: recipeFile)
    self.checkpoint = checkpoint
    self.files = files
    self.calibration = calibration.prefix(recipe.calibration.tokens)
    self.executor = executor
  }

  private var configuration: LlamaConfiguration { checkpoint.configuration }

  /// The work, and the file.
  /// - Parameters:
  ///   - output: appears whole or not at all.
  ///   - progress: called often.
  /// - Throws: what is wrong with the model; the matrix that could not be compressed; what writing gives. Layers that are
  ///   finished stay where they are.
  public func run(
    to output: String, progress: @escaping (Progress) -> Void = { _ in }
  ) throws(ModelCompressionError) -> CompressionReport {
    let parts = try storing { () throws(WeightFileError) in try FinishedParts(beside: output) }
    var job = try CompressionJob(plan, checkpoint, calibration, parts, executor)
    for layer in 0..<configuration.layerCount { try job.compress(layer, progress: progress) }
    try job.compressHead(progress: progress)
    progress(Progress(what: "writing \(output)", fraction: 1, reused: job.reused))
    try modelling { () throws(ModelError) in
      try PackedModel.write(job.tensors, caches: job.caches, files: files, metadata: ["recipe": plan.recipe.json], to: output)
    }
    let byteCount = try storing { () throws(WeightFileError) in try MappedFile(path: output).byteCount }
    guard let head = job.head else { preconditionFailure("a model without its head") }
    parts.remove(job.partNames)
    return CompressionReport(
      recipe: plan.recipe.name, layers: job.layers, head: head, caches: job.caches, byteCount: byteCount,
      denseByteCount: 2 * configuration.parameterCount)
  }
}

// MARK: Errors

/// Runs `body`; what is wrong with the model.
func modelling<Value>(_ body: () throws(ModelError) -> Value) throws(ModelCompressionError) -> Value {
  do { return try body() } catch { throw .model(error) }
}

/// Runs `body`; what is wrong with a file.
func storing<Value>(_ body: () throws(WeightFileError) -> Value) throws(ModelCompressionError) -> Value {
  do { return try body() } catch { throw .model(.file(error)) }
}

/// Runs `body`; what is wrong with a matrix.
func compressing<Value>(
  _ name: String, _ body: () throws(CompressionError) -> Value
) throws(ModelCompressionError) -> Value {
  do { return try body() } catch { throw .matrix(name: name, error) }
}
