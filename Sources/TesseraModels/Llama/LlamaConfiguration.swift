public import Tessera

/// The shape of a model of the Llama family: everything but the weights.
public struct LlamaConfiguration: Sendable, Hashable {
  /// The families, which differ in where biases stand and in the order of rows in GGUF files. The raw value is Hugging Face's
  /// `model_type`.
  public enum Architecture: String, Sendable, CaseIterable {
    case llama
    case mistral
    case qwen2
  }

  public let architecture: Architecture
  /// Elements of the residual stream.
  public let hiddenSize: Int
  /// Decoder layers.
  public let layerCount: Int
  /// Elements between the up and the down projection.
  public let feedForwardSize: Int
  /// Heads of attention, their size and scale.
  public let attention: AttentionShape
  /// Tokens.
  public let vocabularySize: Int
  /// The most tokens of a sequence. Where the checkpoint has a sliding window, no more than that: within it the window hides
  /// nothing.
  public let contextLength: Int
  /// What RMSNorm adds to the mean of squares.
  public let normEpsilon: Float
  /// How queries and keys turn with the position. Rows are in the order of Hugging Face, whatever the file's.
  public let rotary: RotaryEmbedding
  /// What the frequencies of `rotary` are powers of.
  public let rotaryBase: Double
  /// How they were stretched; nil where they were not.
  public let rotaryScaling: RotaryEmbedding.Scaling?
  /// Whether the head is the embedding matrix.
  public let tiesHead: Bool
  /// The projections that have a bias.
  public let biases: Set<LlamaProjection>

  /// Outputs and inputs of a projection.
  public func shape(of projection: LlamaProjection) -> (outputs: Int, inputs: Int) {
    switch projection {
    case .query: (attention.queryWidth, hiddenSize)
    case .key: (attention.keyWidth, hiddenSize)
    case .value: (attention.valueWidth, hiddenSize)
    case .output: (hiddenSize, attention.outputWidth)
    case .gate, .up: (feedForwardSize, hiddenSize)
    case .down: (hiddenSize, feedForwardSize)
    }
  }

  /// Outputs and inputs of any matrix.
  public func shape(of place: LlamaPlace) -> (outputs: Int, inputs: Int) {
    switch place {
    case .layer(_, let projection): shape(of: projection)
    case .head: (vocabularySize, hiddenSize)
    }
  }

  /// All linear layers in the order in which a token meets them.
  public var places: [LlamaPlace] {
    (0..<layerCount).flatMap { layer in LlamaProjection.allCases.map { .layer(layer, $0) } } + [.head]
  }

  /// Weights: matrices, biases and norms; a tied head counts once.
  public var parameterCount: Int {
    let projections = LlamaProjection.allCases.reduce(0) { sum, projection in
      let (outputs, inputs) = shape(of: projection)
      return sum + outputs * inputs + (biases.contains(projection) ? outputs : 0)
    }
    let embeddings = vocabularySize * hiddenSize * (tiesHead ? 1 : 2)
    return layerCount * (projections + 2 * hiddenSize) + embeddings + hiddenSize
  }
}

extension LlamaConfiguration {
  /// Rotation as files describe it.
  struct Rotation {
    /// Elements of a head that turn.
    let rotated: Int
    let base: Double
    let scaling: RotaryEmbedding.Scaling?

    func embedding() throws(ModelError) -> RotaryEmbedding {
      try operating { () throws(TesseraError) in
        try RotaryEmbedding(rotated: rotated, theta: base, scaling: scaling)
      }
    }
  }

  /// Heads from counts that a file gives under these keys.
  static func attention(
    _ keys: ConfigurationKeys, queryHeads: (key: String, value: Int), keyValueHeads: (key: String, value: Int),
    dimension: (key: String, value: Int)
  ) throws(ModelError) -> AttentionShape {
    guard queryHeads.value % keyValueHeads.value == 0 else {
      throw keys.contradiction(
        keyValueHeads.key, keyValueHeads.value, "'\(queryHeads.key)' is \(queryHeads.value), which it does not divide")
    }
    guard dimension.value % 2 == 0, dimension.value <= AttentionShape.mostDimension else {
      throw keys.invalid(
        dimension.key, .integer(dimension.value), expected: "an even number in 2...\(AttentionShape.mostDimension)")
    }
    return try operating { () throws(TesseraError) in
      try AttentionShape(
        queryHeads: queryHeads.value, keyValueHeads: keyValueHeads.value, keyDimension: dimension.value)
    }
  }

  /// Without a key for it a head's size is the hidden size over the heads.
  static func headDimension(
    _ keys: ConfigurationKeys, given: Int?, key: String, hidden: (key: String, value: Int), heads: (key: String, value: Int)
  ) throws(ModelError) -> (key: String, value: Int) {
    if let given { return (key, given) }
    guard hidden.value % heads.value == 0 else {
      throw keys.contradiction(hidden.key, hidden.value, "'\(heads.key)' is \(heads.value), which does not divide it")
    }
    return (hidden.key, hidden.value / heads.value)
  }
}
