internal import Tessera

extension LlamaConfiguration {
  /// A Llama from its sizes, for weights that come from no file: without biases, all of a head rotated.
  /// - Parameters:
  ///   - headDimension: elements of a head, even.
  ///   - contextLength: the most tokens of a sequence.
  ///   - theta: the base of the rotation.
  /// - Throws: `ModelError.operation` for sizes that are not positive, heads that do not divide, an odd head.
  public init(
    hiddenSize: Int, layerCount: Int, feedForwardSize: Int, queryHeads: Int, keyValueHeads: Int, headDimension: Int,
    vocabularySize: Int, contextLength: Int, theta: Double = 10000, normEpsilon: Float = 1e-5, tiesHead: Bool = false
  ) throws(ModelError) {
    for (what, size) in [
      ("a hidden state", hiddenSize), ("layers", layerCount), ("a feed-forward part", feedForwardSize),
      ("a vocabulary", vocabularySize), ("a context", contextLength),
    ] where !(1...ConfigurationKeys.largestSize).contains(size) {
      throw .operation(.invalidShape(what: what, rows: 1, columns: size))
    }
    architecture = .llama
    self.hiddenSize = hiddenSize
    self.layerCount = layerCount
    self.feedForwardSize = feedForwardSize
    attention = try operating { () throws(TesseraError) in
      try AttentionShape(queryHeads: queryHeads, keyValueHeads: keyValueHeads, keyDimension: headDimension)
    }
    self.vocabularySize = vocabularySize
    self.contextLength = contextLength
    self.normEpsilon = normEpsilon
    rotary = try operating { () throws(TesseraError) in try RotaryEmbedding(rotated: headDimension, theta: theta) }
    rotaryBase = theta
    rotaryScaling = nil
    self.tiesHead = tiesHead
    biases = []
  }
}
