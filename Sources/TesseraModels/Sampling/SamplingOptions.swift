/// How the next token is chosen from the logits. The defaults choose from all tokens with the probabilities of the model.
public struct SamplingOptions: Sendable, Equatable {
  /// Logits are divided by it: below 1 the likely tokens gain. 0 takes the most likely token and leaves the rest out of account,
  /// but for the repetition penalty.
  public var temperature: Float = 1
  /// Only so many of the most likely tokens; nil for all. Source: Fan et al., arXiv:1805.04833.
  public var topK: Int?
  /// Only the most likely tokens that together have this probability, above 0; 1 for all. Source: Holtzman et al.,
  /// arXiv:1904.09751.
  public var topP: Float = 1
  /// Only tokens that have at least this fraction of the probability of the most likely one; 0 for all. Source: Nguyen et al.,
  /// arXiv:2407.01082.
  public var minP: Float = 0
  /// Positive logits of tokens that occurred are divided by it, negative ones multiplied; 1 for no penalty. Source: Keskar et
  /// al., arXiv:1909.05858.
  public var repetitionPenalty: Float = 1
  /// How many of the last tokens count as having occurred; nil for all.
  public var repetitionWindow: Int?
  /// Equal seeds make equal choices, on every machine.
  public var seed: UInt64 = 0

  public init(
    temperature: Float = 1, topK: Int? = nil, topP: Float = 1, minP: Float = 0, repetitionPenalty: Float = 1,
    repetitionWindow: Int? = nil, seed: UInt64 = 0
  ) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
    self.minP = minP
    self.repetitionPenalty = repetitionPenalty
    self.repetitionWindow = repetitionWindow
    self.seed = seed
  }

  /// The most likely token each time.
  public static let greedy = SamplingOptions(temperature: 0)

  func validate() throws(SamplingError) {
    try require(temperature >= 0 && temperature.isFinite, "temperature", "\(temperature)", "a finite number, 0 or above")
    if let topK { try require(topK >= 1, "topK", "\(topK)", "1 or above") }
    try require(topP > 0 && topP <= 1, "topP", "\(topP)", "above 0 and at most 1")
    try require(minP >= 0 && minP <= 1, "minP", "\(minP)", "0 to 1")
    try require(
      repetitionPenalty > 0 && repetitionPenalty.isFinite, "repetitionPenalty", "\(repetitionPenalty)", "a finite number above 0")
    if let repetitionWindow {
      try require(repetitionWindow >= 0, "repetitionWindow", "\(repetitionWindow)", "0 or above")
    }
  }

  private func require(_ holds: Bool, _ name: String, _ value: String, _ allowed: String) throws(SamplingError) {
    guard holds else { throw SamplingError.invalidOption(name: name, value: value, allowed: allowed) }
  }
}
