package import Tessera
internal import TesseraLayers

/// Makes the layers of a packed model, whose tensors `PackedModelLayout` has checked.
package struct PackedModelLoader {
  private let configuration: LlamaConfiguration
  private let file: PackedFile
  private let caches: [CacheForm]
  private let activations: ActivationType?

  package init(
    _ configuration: LlamaConfiguration, _ file: PackedFile, _ caches: [CacheForm], activations: ActivationType? = nil
  ) {
    self.configuration = configuration
    self.file = file
    self.caches = caches
    self.activations = activations
  }

  package func layer(_ layer: Int) throws(ModelError) -> LlamaLayer {
    let feedForward = GatedFeedForward(
      gate: try linear(.layer(layer, .gate)), up: try linear(.layer(layer, .up)), down: try linear(.layer(layer, .down)))
    return LlamaLayer(
      attentionNorm: try norm(PackedModelNames.attentionNorm(layer)), attention: try attention(layer),
      feedForwardNorm: try norm(PackedModelNames.feedForwardNorm(layer)), feedForward: feedForward)
  }

  /// A tied model whose head is dense has one matrix for both.
  func embeddingAndHead() throws(ModelError) -> (TokenEmbedding, any LinearLayer) {
    let tensor = try tensor(PackedModelNames.embedding)
    if PackedModelLayout.sharesHead(configuration, embedding: tensor) {
      let head = try readingModelFile { () throws(WeightFileError) in try DenseLinear(tensor) }
      return (TokenEmbedding(head.weights), head)
    }
    let rows = try readingModelFile { () throws(WeightFileError) in try tensor.plainBytes() }
    let embedding = try operating { () throws(TesseraError) in
      try TokenEmbedding(rows: rows, vocabularySize: tensor.rows, width: tensor.columns)
    }
    return (embedding, try linear(.head))
  }

  func norm(_ name: String) throws(ModelError) -> [Float] { try elements(of: tensor(name)) }

  // MARK: Tensors

  private func tensor(_ name: String) throws(ModelError) -> PackedTensor {
    try readingModelFile { () throws(WeightFileError) in try file.tensor(named: name) }
  }

  /// What is copied is small, so its checksum is compared.
  private func elements(of tensor: PackedTensor) throws(ModelError) -> [Float] {
    try readingModelFile { () throws(WeightFileError) in
      try file.verify(tensor.name)
      return try tensor.plainElements()
    }
  }

  private func linear(_ place: LlamaPlace) throws(ModelError) -> any LinearLayer {
    try linear(PackedModelNames.weight(place))
  }

  private func linear(_ name: String) throws(ModelError) -> any LinearLayer {
    let layer = try readingModelFile { () throws(WeightFileError) in try file.linearLayer(named: name) }
    guard let activations, let quantized = layer as? RaZeRLinear else { return layer }
    return try operating { () throws(TesseraError) in try quantized.multiplying(activations) }
  }

  // MARK: Attention

  private func attention(_ layer: Int) throws(ModelError) -> any AttentionLayer {
    let form = caches[layer]
    func projection(_ projection: LlamaProjection, isLow: Bool = false) throws(ModelError) -> any LinearLayer {
      let place = LlamaPlace.layer(layer, projection)
      return try isLow ? linear(PackedModelNames.down(place)) : linear(place)
    }
    let (query, output) = (try projection(.query), try projection(.output))
    let key = try projection(.key, isLow: form.keys.ranks != nil)
    let value = try projection(.value, isLow: form.values.ranks != nil)
    guard form.hasLatents else {
      return DenseAttention(
        query: query, key: key, value: value, output: output, shape: configuration.attention, keyFormat: form.keys.format,
        valueFormat: form.values.format)
    }
    let (latentKeys, latentValues) = (try latentKeys(layer), try latentValues(layer))
    return try operating { () throws(TesseraError) in
      try PaluAttention(
        query: query, key: key, value: value, output: output, shape: configuration.attention, latentKeys: latentKeys,
        latentValues: latentValues, keyFormat: form.keys.format, valueFormat: form.values.format)
    }
  }

  private func latentKeys(_ layer: Int) throws(ModelError) -> LatentKeys? {
    guard let ranks = caches[layer].keys.ranks else { return nil }
    let (b, bias) = try lifts(.layer(layer, .key), groups: ranks.count)
    return try operating { () throws(TesseraError) in
      try LatentKeys(b, ranks: ranks, bias: bias, rotary: configuration.rotary, shape: configuration.attention)
    }
  }

  private func latentValues(_ layer: Int) throws(ModelError) -> LatentValues? {
    guard let ranks = caches[layer].values.ranks else { return nil }
    if caches[layer].fusesValues {
      return try operating { () throws(TesseraError) in
        try LatentValues(fusedRanks: ranks, shape: configuration.attention)
      }
    }
    let (b, bias) = try lifts(.layer(layer, .value), groups: ranks.count)
    return try operating { () throws(TesseraError) in
      try LatentValues(b, ranks: ranks, bias: bias, shape: configuration.attention)
    }
  }

  /// B^T of each group, and the bias of all where the model has one.
  private func lifts(_ place: LlamaPlace, groups: Int) throws(ModelError) -> (b: [[Float]], bias: [Float]?) {
    var (matrices, bias): ([[Float]], [Float]) = ([], [])
    for group in 0..<groups {
      let tensor = try tensor(PackedModelNames.up(place, group: group))
      matrices.append(try elements(of: tensor))
      bias += tensor.biasElements ?? []
    }
    return (matrices, bias.isEmpty ? nil : bias)
  }
}
