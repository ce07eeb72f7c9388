package import Tessera
public import TesseraLayers

/// One decoder layer: x += attention(norm(x)), then x += feedForward(norm(x)).
public struct LlamaLayer: Sendable {
  /// The factors of the norm before attention.
  public var attentionNorm: [Float]
  public var attention: any AttentionLayer
  /// The factors of the norm before the feed-forward part.
  public var feedForwardNorm: [Float]
  public var feedForward: GatedFeedForward

  public init(
    attentionNorm: [Float], attention: any AttentionLayer, feedForwardNorm: [Float], feedForward: GatedFeedForward
  ) {
    self.attentionNorm = attentionNorm
    self.attention = attention
    self.feedForwardNorm = feedForwardNorm
    self.feedForward = feedForward
  }

  /// Runs the layer on the rows of a step, in place.
  /// - Parameter index: which of the states' caches is the layer's.
  package func callAsFunction(
    _ x: inout [Float], _ step: AttentionStep, epsilon: Float, states: inout [SequenceState], index: Int,
    scratch: inout LayerScratch, on executor: Executor
  ) throws(TesseraError) {
    var normed = try scratch.take(x.count)
    defer { scratch.give(normed) }
    var delta = try scratch.take(x.count)
    defer { scratch.give(delta) }
    try executor.normalize(x, attentionNorm, epsilon, into: &normed)
    var attended = delta.mutableSpan
    try attention(normed.span, step, states: &states, layer: index, scratch: &scratch, into: &attended, on: executor)
    try executor.add(delta, to: &x)
    try executor.normalize(x, feedForwardNorm, epsilon, into: &normed)
    var raised = delta.mutableSpan
    try feedForward(normed.span, rows: step.rows, scratch: &scratch, into: &raised, on: executor)
    try executor.add(delta, to: &x)
  }

  /// The bytes of weights that a token reads.
  public var byteCount: Int { attention.byteCount + feedForward.byteCount }
}

/// A decoder of the Llama family, put together from layers of any form.
///
/// It never changes while it runs: what a sequence is made of lies in its `SequenceState`, what a step needs meanwhile in a
/// `LlamaRunner`. So one model serves any number of both.
public struct LlamaModel: Sendable {
  public let configuration: LlamaConfiguration
  public let embedding: TokenEmbedding
  public let layers: [LlamaLayer]
  /// The factors of the norm before the head.
  public let outputNorm: [Float]
  /// From the hidden size to logits.
  public let head: any LinearLayer

  /// - Throws: `ModelError.layerMismatch` for parts that do not have the configuration's sizes.
  public init(
    configuration: LlamaConfiguration, embedding: TokenEmbedding, layers: [LlamaLayer], outputNorm: [Float],
    head: any LinearLayer
  ) throws(ModelError) {
    let hidden = configuration.hiddenSize
    try check("layers", expected: configuration.layerCount, got: layers.count)
    try check("embedding, vectors", expected: configuration.vocabularySize, got: embedding.vocabularySize)
    try check("embedding, width", expected: hidden, got: embedding.width)
    for (index, layer) in layers.enumerated() {
      try check("layer \(index), norm before attention", expected: hidden, got: layer.attentionNorm.count)
      try check("layer \(index), attention", expected: hidden, got: layer.attention.width)
      try check("layer \(index), norm before the feed-forward part", expected: hidden, got: layer.feedForwardNorm.count)
      try check("layer \(index), feed-forward part", expected: hidden, got: layer.feedForward.width)
    }
    try check("output norm", expected: hidden, got: outputNorm.count)
    try check("head, inputs", expected: hidden, got: head.inputs)
    try check("head, outputs", expected: configuration.vocabularySize, got: head.outputs)
    self.configuration = configuration
    self.embedding = embedding
    self.layers = layers
    self.outputNorm = outputNorm
    self.head = head
  }

  /// The state of a new sequence.
  public func makeState() -> SequenceState { SequenceState(caches: layers.map { $0.attention.makeCache() }) }

  /// The bytes of weights that one decoded token reads, head included.
  public var byteCountPerToken: Int { layers.reduce(head.byteCount) { $0 + $1.byteCount } }
  /// The bytes of all weights, the embedding included.
  public var byteCount: Int { byteCountPerToken + embedding.byteCount }
}

private func check(_ what: String, expected: Int, got: Int) throws(ModelError) {
  guard expected == got else { throw ModelError.layerMismatch(what: what, expected: expected, got: got) }
}

extension Executor {
  func normalize(_ x: [Float], _ weight: [Float], _ epsilon: Float, into y: inout [Float]) throws(TesseraError) {
    var target = y.mutableSpan
    try normalize(x.span, weight: weight.span, epsilon: epsilon, into: &target)
  }

  fileprivate func add(_ delta: [Float], to x: inout [Float]) throws(TesseraError) {
    var target = x.mutableSpan
    try add(delta.span, to: &target)
  }
}
