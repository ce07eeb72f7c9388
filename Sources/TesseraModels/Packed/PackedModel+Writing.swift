public import Tessera
internal import TesseraLayers

extension PackedModel {
  /// Writes a model; a file of that name is replaced only when the new one is whole and durable.
  /// - Parameters:
  ///   - tensors: the matrices and norms of a model, as Docs/Formats.md 6 names them, in the order of the file.
  ///   - caches: how each layer's cache holds keys and values.
  ///   - files: the model's small files; `config.json` must be there.
  ///   - metadata: what else to say; keys that begin with `tessera.` are reserved.
  /// - Throws: a tensor that is missing, superfluous or does not fit, by its name; what writing gives.
  public static func write(
    _ tensors: [PackedTensor], caches: [CacheForm], files: ModelFiles, metadata: [String: String] = [:], to path: String
  ) throws(ModelError) {
    let configuration = try LlamaConfiguration(files)
    precondition(
      caches.count == configuration.layerCount, "\(caches.count) caches for \(configuration.layerCount) layers")
    try PackedModelLayout(configuration, caches, file: path).check(tensors)
    let text = Array(CacheForm.json(caches).text().utf8)
    let cacheTensor = try operating { () throws(TesseraError) in
      PackedTensor(bytes: try MemoryRegion(byteCount: text.count) { $0.copyBytes(from: text) }, named: CacheForm.fileName)
    }
    try readingModelFile { () throws(WeightFileError) in
      try PackedFile.write(files.packedTensors() + [cacheTensor] + tensors, metadata: metadata, to: path)
    }
  }
}

extension LlamaModel {
  /// Writes the model with its layers as they are: every linear layer over packed weights, caches of whole keys and values.
  /// - Parameters:
  ///   - files: the model's small files.
  ///   - path: a file of that name is replaced only when the new one is whole and durable.
  /// - Throws: `ModelError.unsupported` for layers of another kind, and what writing gives.
  public func write(files: ModelFiles, metadata: [String: String] = [:], to path: String) throws(ModelError) {
    var tensors: [PackedTensor] = []
    var caches: [CacheForm] = []
    if let rows = try embedding.packedTensor(named: PackedModelNames.embedding) {
      tensors.append(rows)
    } else {
      tensors.append(try packed(head, PackedModelNames.embedding, path: path))
    }
    for (index, layer) in layers.enumerated() {
      guard let attention = layer.attention as? DenseAttention else {
        throw ModelError.unsupported(
          file: path, key: "attention of layer \(index)", value: "\(type(of: layer.attention))", supported: "DenseAttention")
      }
      caches.append(CacheForm(keys: .init(attention.keyFormat), values: .init(attention.valueFormat)))
      tensors.append(try layer.attentionNorm.packedTensor(named: PackedModelNames.attentionNorm(index)))
      let matrices: [(LlamaProjection, any LinearLayer)] = [
        (.query, attention.query), (.key, attention.key), (.value, attention.value), (.output, attention.output),
      ]
      for (projection, matrix) in matrices {
        tensors.append(try packed(matrix, PackedModelNames.weight(.layer(index, projection)), path: path))
      }
      tensors.append(try layer.feedForwardNorm.packedTensor(named: PackedModelNames.feedForwardNorm(index)))
      let feedForward = layer.feedForward
      let others: [(LlamaProjection, any LinearLayer)] = [
        (.gate, feedForward.gate), (.up, feedForward.up), (.down, feedForward.down),
      ]
      for (projection, matrix) in others {
        tensors.append(try packed(matrix, PackedModelNames.weight(.layer(index, projection)), path: path))
      }
    }
    tensors.append(try outputNorm.packedTensor(named: PackedModelNames.outputNorm))
    if embedding.byteCount > 0 { tensors.append(try packed(head, PackedModelNames.weight(.head), path: path)) }
    try PackedModel.write(tensors, caches: caches, files: files, metadata: metadata, to: path)
  }

  private func packed(_ layer: any LinearLayer, _ name: String, path: String) throws(ModelError) -> PackedTensor {
    guard let layer = layer as? any PackedLinearLayer else {
      throw ModelError.unsupported(
        file: path, key: name, value: "\(type(of: layer))", supported: "linear layers over packed weights")
    }
    return layer.packedTensor(named: name)
  }
}

extension [Float] {
  /// A norm's factors.
  package func packedTensor(named name: String) throws(ModelError) -> PackedTensor {
    try operating { () throws(TesseraError) in
      try PackedTensor(plain: span, named: name, rows: 1, columns: count)
    }
  }
}
