internal import ArgumentParser
internal import ProgramSupport
internal import Tessera
internal import TesseraCalibration
internal import TesseraCompression
internal import TesseraModels

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif

struct CompressCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compress", abstract: "Compresses a model by a recipe into one packed file.",
    discussion: """
      Layer by layer, each on what the compressed layers before it give. Finished layers are kept in OUTPUT.layers until the \
      whole file stands under its name; the same command goes on where an earlier one was interrupted, and the bytes are the \
      same. Docs/Recipes.md says what a recipe can ask for.
      """)

  @Argument(help: "A folder with config.json and safetensors, or a GGUF file.")
  var model: String

  @Option(name: .shortAndLong, help: "A recipe in JSON.")
  var recipe: String

  @Option(name: .shortAndLong, help: "A text in UTF-8, for recipes that look at activations or gradients.")
  var calibration: String?

  @Option(name: .shortAndLong, help: "The packed model; a file of that name is replaced when the new one is whole.")
  var output: String

  @Option(help: ArgumentHelp("Write NAME.json and NAME.svg: bytes, errors, ranks and densities.", valueName: "name"))
  var report: String?

  @Option(
    help: ArgumentHelp(
      "Scores in JSON, for recipes whose ranks go by them; otherwise they are computed from the text.", valueName: "file"))
  var rankScores: String?

  @Option(parsing: .unconditional, help: "Threads; 0 means one for each core that this process may use.")
  var threads = 0

  func run() throws { try execute() }

  private func execute() throws(ProgramError) {
    guard threads >= 0 else { throw .usage("--threads \(threads): 0 means all allowed cores, 1 and more that many") }
    let recipe = try attempt { () throws(RecipeError) in try Recipe(path: self.recipe) }
    let needsScores = recipe.needsScores && rankScores == nil
    let needsText = recipe.needsCalibration || needsScores
    guard !needsText || calibration != nil else {
      let reason = needsScores ? "gives ranks by Fisher scores: it needs --calibration, or --rank-scores" : nil
      throw .usage("the recipe '\(recipe.name)' \(reason ?? "looks at activations: it needs --calibration")")
    }
    let scores = try rankScores.map { path throws(ProgramError) in
      try attempt { () throws(WeightFileError) in try RankScores(path: path) }
    }
    let executor = try attempt { () throws(TesseraError) in try Executor(threads: threads == 0 ? nil : threads) }
    let checkpoint = try attempt { () throws(ModelError) in try LlamaCheckpoint(path: model) }
    let files = try attempt { () throws(ModelError) in try ModelFiles(of: checkpoint) }
    let ids = try needsText ? encodedCalibration() : []
    let compression = try attempt { () throws(ModelCompressionError) in
      try ModelCompression(
        checkpoint, files: files, recipe: recipe, recipeFile: self.recipe, calibration: ids, scores: scores, on: executor)
    }
    let clock = ProgressClock()
    let result = try attempt { () throws(ModelCompressionError) in
      try compression.run(to: output) { Terminal.progress(clock.text($0)) }
    }
    Terminal.clearProgress()
    try write(result)
    describe(result)
  }

  private func encodedCalibration() throws(ProgramError) -> [Int] {
    let path = calibration ?? ""
    let tokenizer = try attempt { () throws(TokenizerError) in try Tokenizer(path: model) }
    do {
      return tokenizer.encode(try String(contentsOfFile: path, encoding: .utf8))
    } catch {
      throw .failed("\(path): cannot be read as UTF-8 text")
    }
  }

  private func write(_ result: CompressionReport) throws(ProgramError) {
    guard let report else { return }
    for (suffix, text) in [("json", result.json), ("svg", result.svg())] {
      try attempt { () throws(WeightFileError) in
        let file = try OutputFile(path: "\(report).\(suffix)")
        try file.write(Array(text.utf8))
        try file.commit()
      }
    }
  }

  private func describe(_ result: CompressionReport) {
    for layer in result.layers {
      let error = layer.outputError.map { ", error \(fixed(100 * $0, 2))%" } ?? ""
      let bytes = layer.matrices.reduce(0) { $0 + $1.byteCount }
      let dense = layer.matrices.reduce(0) { $0 + $1.denseByteCount }
      Terminal.line("layer \(layer.index): \(bytes) of \(dense) bytes\(error)")
    }
    let bits = 16 * Double(result.byteCount) / Double(result.denseByteCount)
    Terminal.line(
      "\(output): \(result.byteCount) of \(result.denseByteCount) bytes in dense bf16, \(fixed(bits, 2)) bits per weight")
  }
}

/// The line that shows how far the work is, and how long it will take.
private struct ProgressClock {
  private let clock = ContinuousClock()
  private let start = ContinuousClock.now

  func text(_ progress: ModelCompression.Progress) -> String {
    let done = progress.fraction - progress.reused
    let elapsed = seconds(clock.now - start)
    let left = done > 0.01 ? ", \(fixed(elapsed / done * (1 - progress.fraction), 0)) s left" : ""
    return "\(fixed(100 * progress.fraction, 0))%: \(progress.what)\(left)"
  }
}
