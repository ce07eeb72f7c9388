internal import Tessera
internal import TesseraCompression

/// One form of a model whose quality is measured: how its linear layers are stored, and what its caches hold.
struct Form: Sendable {
  /// The table in which it appears. The raw value is its name in reports.
  enum Family: String, Sendable, CaseIterable, Codable {
    case dense
    case fourBit = "4-bit"
    case sparse
    case sparseFourBit = "sparse 4-bit"
    case cache
    case combined
  }

  let family: Family
  var weights = WeightChoice()
  var cache = CacheChoice.whole(.bf16)

  /// What tells forms apart, in tables, reports and arguments.
  var name: String {
    switch family {
    case .dense: "bf16"
    case .fourBit, .sparse, .sparseFourBit: weights.name
    case .cache: cache.name
    case .combined: "\(weights.name), \(cache.name)"
    }
  }
}

/// How linear layers are stored. The head, and with it a tied embedding, stays dense.
struct WeightChoice: Sendable {
  var format = WeightFormat.bf16
  var sparsity: Double?
  var criterion = Criterion.magnitude
  var search = Search.nearest

  /// Which weights are set to zero, in every row as many.
  enum Criterion: String, Sendable, CaseIterable {
    case magnitude
    case wanda
  }

  /// How codes and scales of 4-bit formats are found (Docs/Quantization.md).
  enum Search: String, Sendable, CaseIterable {
    case nearest
    case refit
    case clips
    case refitAndClips = "refit and clips"
    case weighted = "refit and clips, weighted"
    case feedback = "error feedback"
    case feedbackAndClips = "refit and clips, error feedback"

    var usesRefit: Bool { self != .nearest && self != .clips && self != .feedback }
    var usesClips: Bool { self != .nearest && self != .refit && self != .feedback }
    var usesFeedback: Bool { self == .feedback || self == .feedbackAndClips }
  }

  var name: String {
    let pruning = sparsity.map { " \(Int(($0 * 100).rounded()))% \(criterion.rawValue)" } ?? ""
    return "\(format)\(pruning)" + (search == .nearest ? "" : ", \(search.rawValue)")
  }
}

/// What caches hold.
enum CacheChoice: Sendable {
  /// Keys and values.
  case whole(KVFormat)
  /// Latents of low rank.
  case latent(LatentChoice)

  var name: String {
    switch self {
    case .whole(let format): "\(format) keys and values"
    case .latent(let form): form.name
    }
  }
}

/// Latents that all key-value heads of a layer share, of the same rank in all layers as nearly as multiples of 32 allow.
struct LatentChoice: Sendable {
  /// Ranks over the outputs of the projections.
  var kept: Double
  /// The same of the keys alone, where they get another part of the budget than the values.
  var keptOfKeys: Double?
  var objective: Objective
  /// nil for bf16.
  var bits: Int?
  var isRotated = true

  /// What is least for the rank (`LowRankObjective`).
  enum Objective: String, Sendable, CaseIterable {
    case plain = "plain SVD"
    case whitened
    /// Keys by their scores, values whitened.
    case queryWeighted = "query-weighted"
  }

  var keptOfValues: Double { keptOfKeys.map { 2 * kept - $0 } ?? kept }

  var name: String {
    let split = keptOfKeys.map { " (keys \(percent($0)), values \(percent(keptOfValues)))" } ?? ""
    let storage = bits.map { "\($0) bits" } ?? "bf16"
    return "rank \(percent(kept))\(split), \(objective.rawValue), \(storage)" + (bits == nil || isRotated ? "" : ", not rotated")
  }

  private func percent(_ part: Double) -> String { "\(Int((part * 100).rounded()))%" }
}

// MARK: What is measured

extension Form {
  static let dense = Form(family: .dense)

  /// Dense comes first: everything else is compared with it.
  static let all = [dense] + fourBit + sparse + caches + combined

  private static let fourBit: [Form] = WeightFormat.allCases.filter { $0.code4 != nil && $0.storesEveryElement }.flatMap {
    format in
    let searches = format == .razerG128 || format == .razerG16 ? WeightChoice.Search.allCases : [.nearest, .feedbackAndClips]
    return searches.map { Form(family: .fourBit, weights: WeightChoice(format: format, search: $0)) }
  }

  private static let sparse: [Form] = [WeightFormat.bitmapBF16, .bitmapRazerG128].flatMap { format in
    [0.3, 0.5, 0.7].flatMap { sparsity in
      let (plain, repaired): (WeightChoice.Search, WeightChoice.Search) =
        format == .bitmapBF16 ? (.nearest, .feedback) : (.refitAndClips, .feedbackAndClips)
      return [(WeightChoice.Criterion.magnitude, plain), (.wanda, plain), (.wanda, repaired)].map { criterion, search in
        Form(
          family: format == .bitmapBF16 ? .sparse : .sparseFourBit,
          weights: WeightChoice(format: format, sparsity: sparsity, criterion: criterion, search: search))
      }
    }
  }

  private static let caches: [Form] = {
    var forms = [CacheChoice.whole(.int8), .whole(.razerG16)]
    for kept in [0.7, 0.5] {
      for objective in LatentChoice.Objective.allCases { forms.append(.latent(LatentChoice(kept: kept, objective: objective))) }
      for bits in [8, 4, 3, 2] { forms.append(.latent(LatentChoice(kept: kept, objective: .queryWeighted, bits: bits))) }
    }
    for bits in [4, 3, 2] {
      forms.append(.latent(LatentChoice(kept: 0.7, objective: .queryWeighted, bits: bits, isRotated: false)))
    }
    forms.append(.latent(LatentChoice(kept: 0.5, keptOfKeys: 0.25, objective: .queryWeighted)))
    forms.append(.latent(LatentChoice(kept: 0.5, keptOfKeys: 0.75, objective: .queryWeighted)))
    return forms.map { Form(family: .cache, cache: $0) }
  }()

  private static let combined: [Form] = {
    let cache = CacheChoice.latent(LatentChoice(kept: 0.7, objective: .queryWeighted, bits: 4))
    return [
      Form(family: .combined, weights: WeightChoice(format: .razerG16, search: .feedbackAndClips), cache: cache),
      Form(
        family: .combined,
        weights: WeightChoice(format: .bitmapRazerG128, sparsity: 0.5, criterion: .wanda, search: .feedbackAndClips),
        cache: cache),
    ]
  }()
}
