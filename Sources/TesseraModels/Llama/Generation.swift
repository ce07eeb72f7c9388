public import TesseraLayers
internal import Tessera

/// What a generation gave, and how long it took.
public struct Generation: Sendable {
  /// Why it ended.
  public enum End: String, Sendable {
    /// A token that ends texts was chosen. It is among the tokens.
    case stopToken
    /// As many tokens as were asked for.
    case limit
    /// The model has no more positions.
    case context
    /// The caller said so.
    case caller
  }

  /// The tokens after the prompt.
  public internal(set) var tokens: [Int] = []
  public internal(set) var end = End.limit
  /// Tokens of the prompt.
  public let promptCount: Int
  /// From the call to the first token.
  public internal(set) var timeToFirstToken = Duration.zero
  /// From the first token to the last one.
  public internal(set) var decodingTime = Duration.zero

  /// Tokens after the first one in a second; 0 without any.
  public var tokensPerSecond: Double { tokens.count > 1 ? Double(tokens.count - 1) / decodingTime.seconds : 0 }
  /// Tokens of the prompt in a second.
  public var promptTokensPerSecond: Double { Double(promptCount) / timeToFirstToken.seconds }

  init(promptCount: Int) { self.promptCount = promptCount }
}

extension Duration {
  fileprivate var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}

extension LlamaRunner {
  /// Reads a prompt and goes on with it, token after token.
  /// - Parameters:
  ///   - prompt: what is new in the sequence, at least one token.
  ///   - state: the sequence. Afterwards it holds the prompt and all new tokens but the last, which nothing has read yet.
  ///   - sampler: chooses the tokens; what it may not repeat are the prompt and the new tokens.
  ///   - limit: at most so many new tokens, at least 1.
  ///   - stops: tokens that end a text.
  ///   - receive: gets each new token as soon as it is chosen; false ends the generation.
  /// - Throws: `ModelError`.
  public mutating func generate(
    after prompt: [Int], continuing state: inout SequenceState, sampler: inout Sampler, limit: Int, stops: Set<Int> = [],
    receive: (Int) throws(ModelError) -> Bool = { _ in true }
  ) throws(ModelError) -> Generation {
    precondition(limit >= 1, "a generation of \(limit) tokens")
    let clock = ContinuousClock()
    let start = clock.now
    var firstToken = start
    var generation = Generation(promptCount: prompt.count)
    var (history, next) = (prompt, prompt)
    while true {
      let logits = try forward(next, continuing: &state)
      let token: Int
      do { token = try sampler.next(logits.span, history: history.span) } catch { throw ModelError.sampling(error) }
      history.append(token)
      let now = clock.now
      if generation.tokens.isEmpty {
        firstToken = now
        generation.timeToFirstToken = now - start
      }
      generation.decodingTime = now - firstToken
      generation.tokens.append(token)
      generation.end = .limit
      if stops.contains(token) { generation.end = .stopToken }
      if try !receive(token) { generation.end = .caller }
      if state.count >= model.configuration.contextLength { generation.end = .context }
      if generation.end != .limit || generation.tokens.count == limit { return generation }
      next = [token]
    }
  }
}
