internal import Tessera
public import TesseraCompression
internal import TesseraLayers
public import TesseraModels

/// A recipe held against a model: every rule matches something, every rank is known.
struct CompressionPlan {
  let recipe: Recipe
  let configuration: LlamaConfiguration
  /// Of each layer; nil where rows are whole.
  let keys: [RankPlan.Projection]?
  let values: [RankPlan.Projection]?

  /// - Parameter scores: what rank rules other than `uniform` go by; not looked at where there are none.
  init(
    _ recipe: Recipe, of configuration: LlamaConfiguration, scores: RankScores?, file: String
  ) throws(ModelCompressionError) {
    self.recipe = recipe
    self.configuration = configuration
    let names = configuration.places.map { PackedModelNames.stem($0) }
    for (index, rule) in recipe.rules.enumerated() {
      for pattern in rule.layers where !names.contains(where: { Recipe.matches($0, pattern) }) {
        throw .recipe(
          .contradiction(file: file, key: "weights[\(index)].layers", detail: "'\(pattern)' matches no matrix of the model"))
      }
    }
    (keys, values) = try CompressionPlan.ranks(recipe, configuration, scores, file: file)
    if let values = recipe.values, values.isFused {
      for layer in 0..<configuration.layerCount {
        let name = PackedModelNames.stem(.layer(layer, .output))
        guard recipe.rule(for: name)?.needsCalibration == true else { continue }
        throw .recipe(
          .contradiction(
            file: file, key: "low_rank.values.fused",
            detail: "the rule for \(name) needs inputs that were calibrated, and fused values give it others"))
      }
    }
  }

  /// The ranks of all layers' keys, and of their values.
  private static func ranks(
    _ recipe: Recipe, _ configuration: LlamaConfiguration, _ scores: RankScores?, file: String
  ) throws(ModelCompressionError) -> (keys: [RankPlan.Projection]?, values: [RankPlan.Projection]?) {
    func candidates(_ projection: LlamaProjection, _ lowRank: Recipe.LowRank) throws(CompressionError) -> [RankSearch.Candidate] {
      let shape = configuration.attention
      let heads = try HeadGroups(
        heads: shape.keyValueHeads, headDimension: projection == .key ? shape.keyDimension : shape.valueDimension,
        .perGroup(heads: lowRank.headsPerGroup))
      return (0..<configuration.layerCount).map { layer in
        let name = PackedModelNames.stem(.layer(layer, projection))
        return RankSearch.Candidate(name: name, heads: heads, scores: scores?.scores[name] ?? [])
      }
    }
    func search(
      _ sides: [(LlamaProjection, Recipe.LowRank)], key: String
    ) throws(ModelCompressionError) -> [RankPlan.Projection] {
      do throws(CompressionError) {
        var all: [RankSearch.Candidate] = []
        for (projection, lowRank) in sides { all += try candidates(projection, lowRank) }
        return try RankSearch(keeping: sides[0].1.ratio, by: sides[0].1.rule).ranks(of: all).projections
      } catch {
        throw .recipe(.contradiction(file: file, key: key, detail: "\(error)"))
      }
    }
    if recipe.sharesRanks, let keys = recipe.keys, let values = recipe.values {
      let all = try search([(.key, keys), (.value, values)], key: "low_rank")
      return (Array(all.prefix(configuration.layerCount)), Array(all.dropFirst(configuration.layerCount)))
    }
    return (
      try recipe.keys.map { keys throws(ModelCompressionError) in try search([(.key, keys)], key: "low_rank.keys") },
      try recipe.values.map { values throws(ModelCompressionError) in try search([(.value, values)], key: "low_rank.values") }
    )
  }

  func rule(_ place: LlamaPlace) -> Recipe.Rule? { recipe.rule(for: PackedModelNames.stem(place)) }

  func cacheForm(ofLayer layer: Int) -> CacheForm {
    CacheForm(
      keys: CacheForm.Side(recipe.keyFormat, ranks: keys?[layer].ranks),
      values: CacheForm.Side(recipe.valueFormat, ranks: values?[layer].ranks),
      fusesValues: recipe.values?.isFused ?? false)
  }

  /// Whether a layer's compression asks for the inputs of some of its projections.
  func needsMoments(ofLayer layer: Int, _ projections: LlamaProjection...) -> Bool {
    let lowRank: [(LlamaProjection, Recipe.LowRank?)] = [(.key, recipe.keys), (.value, recipe.values)]
    return projections.contains { projection in
      rule(.layer(layer, projection))?.needsCalibration == true
        || lowRank.contains { $0.0 == projection && $0.1 != nil && $0.1?.objective != .weights }
    }
  }
}

/// What can go wrong when a model is compressed.
public enum ModelCompressionError: Error, Sendable, Equatable {
  case recipe(RecipeError)
  case model(ModelError)
  /// `matrix` could not be compressed.
  case matrix(name: String, CompressionError)
  /// The recipe looks at activations or gradients, and there is no text to take them from.
  case noCalibration(recipe: String)
  /// No window of the calibration text has a token and one before it, by which Fisher scores could go.
  case noPredictions
}

extension ModelCompressionError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .recipe(let error): "\(error)"
    case .model(let error): "\(error)"
    case .matrix(let name, let error): "\(name): \(error)"
    case .noCalibration(let recipe): "the recipe '\(recipe)' needs a calibration text of at least one token"
    case .noPredictions: "Fisher scores need a window of at least two tokens of the calibration text"
    }
  }
}
