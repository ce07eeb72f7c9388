public import Tessera
public import TesseraLayers

/// A matrix of a checkpoint, for whoever makes a layer of it.
public struct LlamaMatrix: Sendable {
  /// Where it stands in the model.
  public let place: LlamaPlace
  /// Outputs x inputs, row after row.
  public let weights: [BFloat16]
  public let outputs: Int
  public let inputs: Int
  public let bias: [Float]?
}

extension LlamaModel {
  /// Makes a linear layer of a matrix, in whatever form.
  public typealias LinearMaker = (LlamaMatrix) throws(ModelError) -> any LinearLayer

  /// Loads a model from a folder in Hugging Face's form or from a GGUF file, with all layers dense; or from a packed model, with
  /// its layers as they are, in place.
  ///
  /// ```swift
  /// let model = try LlamaModel(path: "models/docs-28m", on: executor)
  /// ```
  /// - Throws: what is wrong with the files, naming the key or the tensor; `ModelError.operation` when memory runs out.
  public init(path: String, on executor: Executor) throws(ModelError) {
    if PackedFile.isPacked(path) {
      self = try PackedModel(path: path).model()
    } else {
      try self.init(LlamaCheckpoint(path: path), on: executor)
    }
  }

  /// Loads a checkpoint, one matrix after the other: beside the model itself there is never more than one in memory.
  ///
  /// ```swift
  /// let model = try LlamaModel(checkpoint, on: executor) { matrix throws(ModelError) in
  ///   matrix.place == .head ? try matrix.dense(on: executor) : try sparse(matrix)
  /// }
  /// ```
  /// - Parameters:
  ///   - keys: how caches store keys.
  ///   - values: how caches store values.
  ///   - makeLinear: makes each linear layer, the head last; nil keeps all dense.
  /// - Throws: what is wrong with the files, what `makeLinear` throws, `ModelError.operation`.
  public init(
    _ checkpoint: LlamaCheckpoint, keys: KVFormat = .bf16, values: KVFormat = .bf16, on executor: Executor,
    makeLinear: LinearMaker? = nil
  ) throws(ModelError) {
    let configuration = checkpoint.configuration
    func linear(_ place: LlamaPlace) throws(ModelError) -> any LinearLayer {
      let matrix = try checkpoint.matrix(at: place)
      return if let makeLinear { try makeLinear(matrix) } else { try matrix.dense(on: executor) }
    }
    var layers: [LlamaLayer] = []
    for layer in 0..<configuration.layerCount {
      let attention = DenseAttention(
        query: try linear(.layer(layer, .query)), key: try linear(.layer(layer, .key)), value: try linear(.layer(layer, .value)),
        output: try linear(.layer(layer, .output)), shape: configuration.attention, keyFormat: keys, valueFormat: values)
      let feedForward = GatedFeedForward(
        gate: try linear(.layer(layer, .gate)), up: try linear(.layer(layer, .up)), down: try linear(.layer(layer, .down)))
      layers.append(
        LlamaLayer(
          attentionNorm: try checkpoint.attentionNorm(ofLayer: layer), attention: attention,
          feedForwardNorm: try checkpoint.feedForwardNorm(ofLayer: layer), feedForward: feedForward))
    }
    let head = try linear(.head)
    try self.init(
      configuration: configuration, embedding: checkpoint.embedding(sharedWith: head), layers: layers,
      outputNorm: checkpoint.outputNorm(), head: head)
  }
}

extension LlamaMatrix {
  /// The matrix as it is, packed.
  public func dense(on executor: Executor) throws(ModelError) -> DenseLinear {
    try operating { () throws(TesseraError) in
      try DenseLinear(weights.span, outputs: outputs, inputs: inputs, bias: bias, on: executor)
    }
  }
}

extension LlamaCheckpoint {
  /// A matrix with its bias.
  public func matrix(at place: LlamaPlace) throws(ModelError) -> LlamaMatrix {
    let (outputs, inputs) = configuration.shape(of: place)
    return LlamaMatrix(
      place: place, weights: try weights(of: place), outputs: outputs, inputs: inputs, bias: try bias(of: place))
  }

  /// A dense head of a model that ties it holds the embedding too.
  fileprivate func embedding(sharedWith head: any LinearLayer) throws(ModelError) -> TokenEmbedding {
    if configuration.tiesHead, let head = head as? DenseLinear { return TokenEmbedding(head.weights) }
    let rows = try embedding()
    return try operating { () throws(TesseraError) in
      try TokenEmbedding(rows.span, vocabularySize: configuration.vocabularySize, width: configuration.hiddenSize)
    }
  }
}
