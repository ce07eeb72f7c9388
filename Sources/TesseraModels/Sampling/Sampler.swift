/// Chooses tokens from logits.
///
/// The steps, in this order:
///
/// 1. the repetition penalty, once for each token that occurs in the window of the history;
/// 2. at temperature 0 the largest logit, and that is all;
/// 3. the temperature divides the logits, and softmax makes probabilities of them;
/// 4. top-k;
/// 5. top-p, of the probability that top-k has left;
/// 6. min-p, relative to the most likely token;
/// 7. a draw among the tokens that are left, by their probabilities.
///
/// Of tokens with equal logits the one with the lower id comes first. At least one token is left by each step. Probabilities are
/// in double precision, with the same bits on every machine.
///
/// A sampler is a value: a copy makes the choices that the original makes.
public struct Sampler: Sendable {
  /// A token that can be chosen.
  public struct Candidate: Sendable, Equatable {
    public let id: Int
    /// Of all candidates together it is 1, up to rounding.
    public let probability: Double
  }

  /// As they were given.
  public let options: SamplingOptions
  private var generator: Xoshiro256

  /// - Throws: `invalidOption`.
  public init(_ options: SamplingOptions) throws(SamplingError) {
    try options.validate()
    self.options = options
    generator = Xoshiro256(seed: options.seed)
  }

  /// Chooses the next token.
  /// - Parameters:
  ///   - logits: one for each id. -infinity rules a token out.
  ///   - history: the ids so far, for the repetition penalty; may be empty.
  /// - Throws: `invalidLogit` for NaN and +infinity, `noCandidate`, `unknownID`. The generator has not moved then.
  public mutating func next(_ logits: Span<Float>, history: Span<Int>) throws(SamplingError) -> Int {
    let candidates = try self.candidates(for: logits, history: history)
    guard candidates.count > 1 else { return candidates[0].id }
    var rest = generator.nextFraction() * candidates.reduce(0) { $0 + $1.probability }
    for candidate in candidates {
      rest -= candidate.probability
      if rest < 0 { return candidate.id }
    }
    return candidates[candidates.count - 1].id
  }

  /// The tokens that `next` would draw from, never empty: with their probabilities, which speculative decoding compares.
  ///
  /// They are in the order of their probabilities when top-k or top-p is set, else in that of their ids.
  /// - Throws: as `next`.
  public func candidates(for logits: Span<Float>, history: Span<Int>) throws(SamplingError) -> [Candidate] {
    var logits = logits.withUnsafeBufferPointer { Array($0) }
    if options.repetitionPenalty != 1 { try penalize(&logits, history) }
    let best = try Sampler.indexOfLargest(logits)
    if options.temperature == 0 { return [Candidate(id: best, probability: 1)] }
    let weights = Weights(logits: logits, best: best, temperature: options.temperature)
    let ranks = options.topK != nil || options.topP < 1
    return Sampler.normalized(ranks ? mostLikely(weights) : likely(weights))
  }

  private func penalize(_ logits: inout [Float], _ history: Span<Int>) throws(SamplingError) {
    let start = max(0, history.count - (options.repetitionWindow ?? history.count))
    var seen: Set<Int> = []
    for position in start..<history.count {
      let id = history[position]
      guard logits.indices.contains(id) else { throw SamplingError.unknownID(id: id, count: logits.count) }
      guard seen.insert(id).inserted else { continue }
      logits[id] = logits[id] > 0 ? logits[id] / options.repetitionPenalty : logits[id] * options.repetitionPenalty
    }
  }

  /// Of equal ones the first.
  private static func indexOfLargest(_ logits: [Float]) throws(SamplingError) -> Int {
    var best = -1
    var largest = -Float.infinity
    for (id, logit) in logits.enumerated() {
      guard logit < .infinity else { throw SamplingError.invalidLogit(id: id, value: "\(logit)") }
      if logit > largest { (best, largest) = (id, logit) }
    }
    guard best >= 0 else { throw SamplingError.noCandidate(count: logits.count) }
    return best
  }

  /// Min-p alone, which needs no order.
  private func likely(_ weights: Weights) -> [(id: Int, weight: Double)] {
    weights.logits.indices.lazy.map { ($0, weights[$0]) }.filter { $0.1 >= smallestWeight }
  }

  /// Top-k, top-p and min-p: each leaves the first few in the order of the weights.
  private func mostLikely(_ weights: Weights) -> [(id: Int, weight: Double)] {
    guard let topK = options.topK else { return topP(weights) }
    var ranking = Ranking(weights.logits, limit: topK)
    var first: [(id: Int, weight: Double)] = []
    while let id = ranking.popFirst() { first.append((id, weights[id])) }
    return topP(of: first.reduce(0) { $0 + $1.weight }, from: first)
  }

  /// Without top-k. All tokens together that have less than `(1 - topP) / count` of the probability cannot fill what top-p leaves
  /// out, so they need no place in the order: in most distributions nearly all of them.
  private func topP(_ weights: Weights) -> [(id: Int, weight: Double)] {
    let all = weights.logits.indices.map { weights[$0] }
    let sum = all.reduce(0, +)
    let negligible = (1 - Double(options.topP)) * sum / Double(all.count)
    var ranking = Ranking(weights.logits) { all[$0] >= negligible }
    return topP(of: sum, from: sequence(state: ()) { _ in ranking.popFirst().map { ($0, all[$0]) } })
  }

  private func topP(of sum: Double, from ranked: some Sequence<(id: Int, weight: Double)>) -> [(id: Int, weight: Double)] {
    let enough = options.topP < 1 ? Double(options.topP) * sum : .infinity
    var kept: [(id: Int, weight: Double)] = []
    var keptSum = 0.0
    for next in ranked {
      guard keptSum < enough, next.weight >= smallestWeight else { break }
      kept.append(next)
      keptSum += next.weight
    }
    return kept
  }

  /// The most likely token has weight 1; those whose weight is 0 are never chosen.
  private var smallestWeight: Double { max(Double(options.minP), .leastNonzeroMagnitude) }

  private static func normalized(_ weights: [(id: Int, weight: Double)]) -> [Candidate] {
    let sum = weights.reduce(0) { $0 + $1.weight }
    return weights.map { Candidate(id: $0.id, probability: $0.weight / sum) }
  }
}

/// The probabilities of all tokens, as multiples of the largest one.
private struct Weights {
  let logits: [Float]
  private let largest: Double
  private let scale: Double

  init(logits: [Float], best: Int, temperature: Float) {
    self.logits = logits
    largest = Double(logits[best])
    scale = 1 / Double(temperature)
  }

  subscript(id: Int) -> Double { exponential((Double(logits[id]) - largest) * scale) }
}
