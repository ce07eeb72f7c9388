public import TesseraLayers

/// What a rank plan makes of a model's key-value cache: ranks, bytes, and how values get to the output.
public struct LatentCacheReport: Sendable, Equatable {
  /// Sizes that a plan does not tell.
  public struct Model: Sendable, Hashable {
    public let layers: Int
    public let queryHeads: Int
    public let keyValueHeads: Int
    public let headDimension: Int
    /// Outputs of the output projection.
    public let hidden: Int

    /// - Throws: `invalidShape` for sizes that are not positive, `invalidGrouping` for query heads that do not divide.
    public init(
      layers: Int, queryHeads: Int, keyValueHeads: Int, headDimension: Int, hidden: Int
    ) throws(CompressionError) {
      _ = try checkedCount("layers by hidden size", rows: layers, columns: hidden)
      _ = try checkedCount("key-value heads by their dimension", rows: keyValueHeads, columns: headDimension)
      guard queryHeads > 0, queryHeads % keyValueHeads == 0 else {
        throw .invalidGrouping(heads: queryHeads, headsPerGroup: keyValueHeads)
      }
      self.layers = layers
      self.queryHeads = queryHeads
      self.keyValueHeads = keyValueHeads
      self.headDimension = headDimension
      self.hidden = hidden
    }

    /// Of keys or of values, in one layer.
    public var outputs: Int { keyValueHeads * headDimension }
  }

  public struct Layer: Sendable, Equatable {
    /// One for each group; empty where keys are cached as they are, in bf16.
    public let keyRanks: [Int]
    /// The same of values.
    public let valueRanks: [Int]
    /// Keys and values of one token.
    public let bytesPerToken: Int
    /// The form in which a token reads fewer weights; nil where values are cached as they are.
    public let valueForm: ValueForm?
  }

  public let model: Model
  public let storage: LatentStorage
  public let layers: [Layer]

  /// - Parameters:
  ///   - plan: whose projections are named as in Hugging Face checkpoints, `model.layers.0.self_attn.k_proj`; a layer's keys or
  ///     values that it does not name are cached as they are.
  ///   - storage: of all latents.
  /// - Throws: `sizeMismatch` where the plan has other heads than the model.
  public init(_ plan: RankPlan, of model: Model, storage: LatentStorage = .bf16) throws(CompressionError) {
    var layers: [Layer] = []
    for index in 0..<model.layers {
      let prefix = "model.layers.\(index).self_attn"
      let keys = try LatentCacheReport.ranks(plan["\(prefix).k_proj"], model)
      let values = try LatentCacheReport.ranks(plan["\(prefix).v_proj"], model)
      let bytes = [keys, values].map { ranks in
        ranks.isEmpty ? 2 * model.outputs : ranks.reduce(0) { $0 + storage.bytes(rank: $1) }
      }
      let form =
        values.isEmpty
        ? nil
        : ValueForm.fastest(
          ranks: values, queryHeads: model.queryHeads, keyValueHeads: model.keyValueHeads,
          headDimension: model.headDimension, hidden: model.hidden)
      layers.append(Layer(keyRanks: keys, valueRanks: values, bytesPerToken: bytes[0] + bytes[1], valueForm: form))
    }
    self.model = model
    self.storage = storage
    self.layers = layers
  }

  private static func ranks(_ projection: RankPlan.Projection?, _ model: Model) throws(CompressionError) -> [Int] {
    guard let projection else { return [] }
    let heads = projection.heads
    guard heads.heads == model.keyValueHeads, heads.headDimension == model.headDimension else {
      throw .sizeMismatch(what: "outputs of \(projection.name)", expected: model.outputs, got: heads.outputs)
    }
    return projection.ranks
  }

  /// Of all layers, with scales and zero points.
  public var bytesPerToken: Int { layers.reduce(0) { $0 + $1.bytesPerToken } }

  /// Of a cache of keys and values in bf16.
  public var denseBytesPerToken: Int { model.layers * 4 * model.outputs }

  /// What is left of the cache, scales and zero points included.
  public var byteRatio: Double { Double(bytesPerToken) / Double(denseBytesPerToken) }

  /// Ranks over outputs, in all layers: keys and values that are cached as they are count in full.
  public var keptRatio: Double {
    let kept = layers.flatMap { [$0.keyRanks, $0.valueRanks] }.reduce(0) { sum, ranks in
      sum + (ranks.isEmpty ? model.outputs : ranks.reduce(0, +))
    }
    return Double(kept) / Double(2 * model.layers * model.outputs)
  }
}
