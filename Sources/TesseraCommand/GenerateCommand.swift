internal import ArgumentParser
internal import ProgramSupport
internal import Tessera
internal import TesseraLayers
internal import TesseraModels

struct GenerateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate", abstract: "Goes on with a text, or answers in a chat.",
    discussion: "The text goes to standard output as it comes, what it took to standard error.")

  @OptionGroup var options: ModelOptions

  @Option(
    name: .shortAndLong, help: "The text to go on with. Without one, and with --chat, lines of standard input are messages.")
  var prompt: String?

  @Flag(help: "The prompt is a message; the model's chat template goes around it.")
  var chat = false

  @Option(help: "The system message of a chat; default: the template's own.")
  var system: String?

  @Option(name: [.customShort("n"), .long], help: "At most so many new tokens.")
  var tokens = 256

  @Option(parsing: .unconditional, help: "0 always takes the likeliest token.")
  var temperature: Float = 0

  @Option(help: "Only the so many likeliest tokens.")
  var topK: Int?

  @Option(help: "Only the likeliest tokens that have this probability together.")
  var topP: Float = 1

  @Option(help: "Only tokens at least this likely, compared with the likeliest.")
  var minP: Float = 0

  @Option(help: "Above 1, tokens that came before become less likely.")
  var repetitionPenalty: Float = 1

  @Option(help: "The same seed gives the same text.")
  var seed: UInt64 = 0

  @Option(help: ArgumentHelp("End before this text; may be given several times.", valueName: "text"))
  var stop: [String] = []

  func run() throws { try execute() }

  private func execute() throws(ProgramError) {
    guard tokens >= 1 else { throw .usage("--tokens \(tokens): at least 1") }
    guard prompt != nil || chat else { throw .usage("generate needs --prompt, or --chat to read messages") }
    guard !stop.contains("") else { throw .usage("--stop '': a text of at least one character") }
    let sampling = SamplingOptions(
      temperature: temperature, topK: topK, topP: topP, minP: minP, repetitionPenalty: repetitionPenalty, seed: seed)
    let sampler = try attempt { () throws(SamplingError) in try Sampler(sampling) }
    let executor = try options.makeExecutor()
    let tokenizer = try options.loadTokenizer()
    let template = try chat ? attempt { () throws(TokenizerError) in try tokenizer.chatTemplate() } : nil
    let model = try options.loadModel(on: executor)
    var session = Session(model: model, tokenizer: tokenizer, sampler: sampler, limit: tokens, stops: stop, on: executor)
    guard let template else {
      try session.write(after: tokenizer.encode(prompt ?? ""))
      return
    }
    var messages = system.map { [ChatMessage.system($0)] } ?? []
    var asked = prompt ?? nextLine()
    while let message = asked {
      messages.append(.user(message))
      // The whole conversation is read again: templates may treat earlier messages differently.
      session.restart()
      messages.append(.assistant(try session.write(after: template.encode(messages))))
      asked = prompt == nil ? nextLine() : nil
    }
  }

  private func nextLine() -> String? {
    if Terminal.isInteractive { Terminal.stream("> ") }
    return readLine()
  }
}

/// A sequence that is written, and what to do with its tokens.
private struct Session: ~Copyable {
  private var runner: LlamaRunner
  private var state: SequenceState
  private var sampler: Sampler
  private let tokenizer: Tokenizer
  private let limit: Int
  private let stops: [String]

  init(
    model: LlamaModel, tokenizer: Tokenizer, sampler: Sampler, limit: Int, stops: [String], on executor: Executor
  ) {
    runner = LlamaRunner(model, on: executor)
    state = model.makeState()
    self.sampler = sampler
    self.tokenizer = tokenizer
    self.limit = limit
    self.stops = stops
  }

  mutating func restart() { state = runner.model.makeState() }

  /// Writes what follows the prompt, and returns it.
  @discardableResult
  mutating func write(after prompt: [Int]) throws(ProgramError) -> String {
    guard !prompt.isEmpty else { throw .usage("the prompt is empty") }
    var text = StoppedText(stops: stops)
    var decoder = StreamingDecoder(tokenizer)
    var failure: TokenizerError?
    let stopIDs = tokenizer.stopIDs
    let result: Generation
    do throws(ModelError) {
      result = try runner.generate(
        after: prompt, continuing: &state, sampler: &sampler, limit: limit, stops: stopIDs
      ) { token in
        guard !stopIDs.contains(token) else { return true }
        do throws(TokenizerError) {
          Terminal.stream(text.append(try decoder.append(token)))
        } catch {
          failure = error
        }
        return failure == nil && !text.isStopped
      }
    } catch {
      throw .failed("\(error)")
    }
    if let failure { throw .failed("\(failure)") }
    Terminal.stream(text.append(decoder.finish()) + text.finish() + "\n")
    report(result)
    return text.written
  }

  private func report(_ result: Generation) {
    let first =
      Double(result.timeToFirstToken.components.seconds)
      + Double(result.timeToFirstToken.components.attoseconds) * 1e-18
    Terminal.note(
      "\(result.promptCount) tokens read in \(fixed(first * 1e3, 0)) ms, \(result.tokens.count) written, "
        + "\(fixed(result.tokensPerSecond, 1)) tokens/s, \(result.end.rawValue)")
  }
}
