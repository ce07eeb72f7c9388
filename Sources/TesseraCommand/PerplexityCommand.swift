internal import ArgumentParser
internal import ProgramSupport
internal import Tessera
internal import TesseraModels

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif

struct PerplexityCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "perplexity", abstract: "Measures how well a model predicts a text.",
    discussion: """
      The text is encoded without special tokens and cut into windows that do not overlap; each window predicts its tokens one \
      after the other, the first of them from one token before. The result is e to the power of the mean negative log likelihood \
      over all predictions of whole windows.
      """)

  @OptionGroup var options: ModelOptions

  @Option(name: .shortAndLong, help: "A text in UTF-8.")
  var file: String

  @Option(help: "Predictions of a window.")
  var window = 1024

  @Option(help: "At most so many windows, from the beginning.")
  var windows: Int?

  @Flag(help: "Print one JSON object instead of text.")
  var json = false

  func run() throws { try execute() }

  private func execute() throws(ProgramError) {
    guard window >= 1 else { throw .usage("--window \(window): at least 1") }
    if let windows, windows < 1 { throw .usage("--windows \(windows): at least 1") }
    let text = try readText()
    let executor = try options.makeExecutor()
    let tokenizer = try options.loadTokenizer()
    let ids = tokenizer.encode(text)
    guard ids.count >= 2 else { throw .failed("\(file): \(ids.count) tokens; a prediction takes two") }
    let model = try options.loadModel(on: executor)
    var runner = LlamaRunner(model, on: executor)
    let clock = ContinuousClock()
    let start = clock.now
    let result: Perplexity
    do throws(ModelError) {
      result = try runner.perplexity(of: ids, windowLength: window, windowLimit: windows) { soFar, left in
        let done = soFar.windows.count
        let seconds = seconds(clock.now - start) / Double(done) * Double(left)
        Terminal.progress(
          "window \(done) of \(done + left): perplexity \(fixed(soFar.value, 4)), \(fixed(seconds, 0)) s left")
      }
    } catch {
      throw .failed("\(error)")
    }
    Terminal.clearProgress()
    try print(result, model: model, seconds: seconds(clock.now - start))
  }

  private func readText() throws(ProgramError) -> String {
    do {
      return try String(contentsOfFile: file, encoding: .utf8)
    } catch {
      throw .failed("\(file): cannot be read as UTF-8 text")
    }
  }

  private func print(_ result: Perplexity, model: LlamaModel, seconds: Double) throws(ProgramError) {
    let report = PerplexityReport(
      model: options.model, weights: options.weightsName, cache: options.cacheName, file: file,
      window: result.windowLength, windows: result.windows.count, predictions: result.predictionCount,
      negativeLogLikelihood: result.negativeLogLikelihood, perplexity: result.value,
      windowLikelihoods: result.windows, bytesPerToken: model.byteCountPerToken, seconds: seconds)
    if json { return Terminal.line(try report.text()) }
    Terminal.line(
      "perplexity \(fixed(report.perplexity, 4)), mean negative log likelihood \(fixed(report.negativeLogLikelihood, 6)), "
        + "\(report.windows) windows of \(report.window), \(fixed(seconds, 1)) s")
  }
}

/// The result as `--json` prints it.
private struct PerplexityReport: Encodable {
  let model: String
  let weights: String
  let cache: String
  let file: String
  let window: Int
  let windows: Int
  let predictions: Int
  let negativeLogLikelihood: Double
  let perplexity: Double
  let windowLikelihoods: [Double]
  /// Weights that a token reads.
  let bytesPerToken: Int
  let seconds: Double

  enum CodingKeys: String, CodingKey {
    case model, weights, cache, file, window, windows, predictions, perplexity, seconds
    case negativeLogLikelihood = "negative_log_likelihood"
    case windowLikelihoods = "window_negative_log_likelihoods"
    case bytesPerToken = "weight_bytes_per_token"
  }

  func text() throws(ProgramError) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    do {
      return String(decoding: try encoder.encode(self), as: UTF8.self)
    } catch {
      throw .failed("a figure of the report is not finite")
    }
  }
}
