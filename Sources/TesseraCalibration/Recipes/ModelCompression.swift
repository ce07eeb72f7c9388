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
  private let recipeFile: String
  /// With equal scores where they are still to be computed.
  private let plan: CompressionPlan
  private let needsScores: Bool
  private let calibration: ArraySlice<Int>
  private let executor: Executor

  /// - Parameters:
  ///   - files: the model's small files, which come along.
  ///   - recipeFile: what errors call the recipe.
  ///   - calibration: a text, encoded; its first `recipe.calibration.tokens` are looked at. May be empty where the recipe asks
  ///     for none.
  ///   - scores: what rank rules other than `uniform` go by; nil computes them (`FisherScores`) from the calibration text.
  /// - Throws: what of the recipe the model cannot have; `noCalibration`.
  public init(
    _ checkpoint: LlamaCheckpoint, files: ModelFiles, recipe: Recipe, recipeFile: String = "the recipe",
    calibration: [Int] = [], scores: RankScores? = nil, on executor: Executor
  ) throws(ModelCompressionError) {
    needsScores = recipe.needsScores && scores == nil
    guard !(recipe.needsCalibration || needsScores) || !calibration.isEmpty else { throw .noCalibration(recipe: recipe.name) }
    let provisional = needsScores ? recipe.rankScores(FisherScores(equalIn: checkpoint.configuration)) : scores
    plan = try CompressionPlan(recipe, of: checkpoint.configuration, scores: provisional, file: recipeFile)
    self.recipeFile = recipeFile
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
    let scored = try scored(parts, beside: output, progress)
    let (plan, progress) = (scored.plan, scored.progress)
    var job = try CompressionJob(plan, checkpoint, calibration, parts, executor)
    for layer in 0..<configuration.layerCount { try job.compress(layer, progress: progress) }
    try job.compressHead(progress: progress)
    progress(Progress(what: "writing \(output)", fraction: 1, reused: job.reused))
    try modelling { () throws(ModelError) in
      try PackedModel.write(job.tensors, caches: job.caches, files: files, metadata: ["recipe": plan.recipe.json], to: output)
    }
    let byteCount = try storing { () throws(WeightFileError) in try MappedFile(path: output).byteCount }
    guard let head = job.head else { preconditionFailure("a model without its head") }
    parts.remove(job.partNames + [ModelCompression.scoresPart])
    return CompressionReport(
      recipe: plan.recipe.name, layers: job.layers, head: head, caches: job.caches, byteCount: byteCount,
      denseByteCount: 2 * configuration.parameterCount)
  }
}

// MARK: Fisher scores

extension ModelCompression {
  private static let scoresPart = "scores"
  /// Of the work, where scores are computed.
  private static let scoresShare = 0.5

  /// The plan with scores that the calibration text gives, or an earlier run; and what reports the work that is left.
  private func scored(
    _ parts: FinishedParts, beside output: String, _ progress: @escaping (Progress) -> Void
  ) throws(ModelCompressionError) -> (plan: CompressionPlan, progress: (Progress) -> Void) {
    guard needsScores else { return (plan, progress) }
    let share = ModelCompression.scoresShare
    let fingerprint = try scoresFingerprint()
    let stored = parts.load(ModelCompression.scoresPart, fingerprint: fingerprint).flatMap { part in
      try? RankScores(part.report, path: output)
    }
    let scores: RankScores
    if let stored {
      scores = stored
    } else {
      scores = try computedScores { progress(Progress(what: "Fisher scores", fraction: share * $0, reused: 0)) }
      _ = try storing { () throws(WeightFileError) in
        try parts.store(ModelCompression.scoresPart, [], fingerprint: fingerprint, report: scores.value)
      }
    }
    let reused = stored == nil ? 0 : share
    func report(_ rest: Progress) {
      progress(
        Progress(what: rest.what, fraction: share + (1 - share) * rest.fraction, reused: reused + (1 - share) * rest.reused))
    }
    return (try CompressionPlan(plan.recipe, of: configuration, scores: scores, file: recipeFile), report)
  }

  private func computedScores(progress: (Double) -> Void) throws(ModelCompressionError) -> RankScores {
    let window = min(plan.recipe.calibration.window, configuration.contextLength)
    return plan.recipe.rankScores(try FisherScores(of: checkpoint, text: calibration, window: window, progress: progress))
  }

  /// Of all that scores depend on.
  private func scoresFingerprint() throws(ModelCompressionError) -> String {
    try modelling { () throws(ModelError) in
      var digests = [digest(plan.recipe.json), digest(calibration.map { "\($0)" }.joined(separator: " "))]
      digests += [digest(try checkpoint.float32Embedding()), digest(try checkpoint.float32(of: .head))]
      digests.append(digest(try checkpoint.outputNorm()))
      for layer in 0..<configuration.layerCount { digests.append(try LayerSource(checkpoint, layer: layer).checksum) }
      return digest(digests.joined())
    }
  }
}

extension Recipe {
  /// Scores for the groups of heads that it asks for.
  fileprivate func rankScores(_ scores: FisherScores) -> RankScores {
    scores.rankScores(headsPerGroupOfKeys: keys?.headsPerGroup ?? 1, headsPerGroupOfValues: values?.headsPerGroup ?? 1)
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
