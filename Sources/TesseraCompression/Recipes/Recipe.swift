public import Tessera
public import TesseraLayers

/// How a model is to be compressed: which method for which layers.
///
/// A matrix may lose weights (SparAMX) and be stored in 4 bits (RaZeR) at once, and keys and values may be of low rank (Palu)
/// whatever becomes of the matrices. Docs/Recipes.md has the JSON form.
public struct Recipe: Sendable, Hashable {
  /// What reports call it.
  public var name: String
  /// In order: the first rule with a pattern that matches holds. A layer that none matches is stored as it is, in bfloat16.
  public var rules: [Rule]
  /// How caches hold keys and values, or their latents.
  public var keyFormat: KVFormat
  public var valueFormat: KVFormat
  /// Keys of low rank; nil caches them whole.
  public var keys: LowRank?
  /// Values of low rank; nil caches them whole.
  public var values: LowRank?
  /// Whether keys and values, which then have the same ratio and rule, have one budget of ranks: scores divide it.
  public var sharesRanks: Bool
  public var calibration: Calibration

  public init(
    name: String, rules: [Rule] = [], keyFormat: KVFormat = .bf16, valueFormat: KVFormat = .bf16, keys: LowRank? = nil,
    values: LowRank? = nil, sharesRanks: Bool = false, calibration: Calibration = Calibration()
  ) {
    self.name = name
    self.rules = rules
    self.keyFormat = keyFormat
    self.valueFormat = valueFormat
    self.keys = keys
    self.values = values
    self.sharesRanks = sharesRanks
    self.calibration = calibration
  }

  /// What becomes of some matrices.
  public struct Rule: Sendable, Hashable {
    /// Names of matrices as in Hugging Face checkpoints, without `.weight`: `model.layers.3.self_attn.q_proj`, `lm_head`. A `*`
    /// stands for any characters, also none.
    public var layers: [String]
    public var format: WeightFormat
    /// What to set to zero first; nil for nothing.
    public var sparsity: Sparsity?
    /// Of 4-bit formats; error feedback also where weights are dropped.
    public var quantization: Quantization

    public init(
      _ layers: String..., format: WeightFormat, sparsity: Sparsity? = nil, quantization: Quantization = Quantization()
    ) {
      self.layers = layers
      self.format = format
      self.sparsity = sparsity
      self.quantization = quantization
    }
  }

  /// Which weights to drop (`Pruning`).
  public struct Sparsity: Sendable, Hashable {
    public enum Criterion: String, Sendable, CaseIterable {
      case magnitude
      case wanda
    }

    /// 0...1.
    public var fraction: Double
    public var criterion: Criterion
    public var scope: Pruning.Scope

    public init(_ fraction: Double, by criterion: Criterion = .magnitude, scope: Pruning.Scope = .row) {
      self.fraction = fraction
      self.criterion = criterion
      self.scope = scope
    }
  }

  /// How codes and scales are found (`Code4Quantizer`).
  public struct Quantization: Sendable, Hashable {
    public var refits: Int
    public var clips: [Float]
    /// nil means the format's own.
    public var specialValues: [Float]?
    /// Whether errors count as much as the mean square of their input.
    public var weightsInputs: Bool
    /// Later inputs make up for errors of earlier ones, those of dropped weights among them; nil: they do not.
    public var errorFeedback: ErrorFeedback?

    public init(
      refits: Int = 0, clips: [Float] = [1], specialValues: [Float]? = nil, weightsInputs: Bool = false,
      errorFeedback: ErrorFeedback? = nil
    ) {
      self.refits = refits
      self.clips = clips
      self.specialValues = specialValues
      self.weightsInputs = weightsInputs
      self.errorFeedback = errorFeedback
    }
  }

  /// After GPTQ (arXiv 2210.17323) and, of dropped weights, SparseGPT (arXiv 2301.00774).
  public struct ErrorFeedback: Sendable, Hashable {
    public enum Order: String, Sendable, CaseIterable {
      case natural
      case descendingMoment = "descending_moment"
    }

    public var damping: Double
    public var order: Order

    public init(damping: Double = 0.01, order: Order = .natural) {
      self.damping = damping
      self.order = order
    }
  }

  /// Keys or values as latents (Palu, arXiv 2407.21118).
  public struct LowRank: Sendable, Hashable {
    public enum Objective: String, Sendable, CaseIterable {
      /// The singular value decomposition of the weights.
      case weights
      /// Whitened by the inputs' second moments.
      case outputs
      /// Of keys: also by those of the queries.
      case scores
    }

    /// Of the outputs of all layers, what the ranks sum up to; above 0, at most 1.
    public var ratio: Double
    /// Heads that share a latent.
    public var headsPerGroup: Int
    public var objective: Objective
    /// How ranks are given away.
    public var rule: RankSearch.Rule
    /// Whether latents are turned by a Hadamard matrix, so that few bits serve all channels.
    public var isRotated: Bool
    /// Of values: whether the output projection takes latents (`ValueForm.fused`).
    public var isFused: Bool

    public init(
      ratio: Double, headsPerGroup: Int = 1, objective: Objective = .outputs, rule: RankSearch.Rule = .uniform,
      isRotated: Bool = false, isFused: Bool = false
    ) {
      self.ratio = ratio
      self.headsPerGroup = headsPerGroup
      self.objective = objective
      self.rule = rule
      self.isRotated = isRotated
      self.isFused = isFused
    }
  }

  /// How much of the calibration text is looked at.
  public struct Calibration: Sendable, Hashable {
    /// At most so many tokens from its beginning.
    public var tokens: Int
    /// Tokens of a window, which is read as a text by itself; at most the model's context.
    public var window: Int

    public init(tokens: Int = 32768, window: Int = 1024) {
      self.tokens = tokens
      self.window = window
    }
  }
}

extension Recipe {
  /// The rule for a matrix, or nil where it stays as it is.
  public func rule(for layer: String) -> Rule? {
    rules.first { $0.layers.contains { Recipe.matches(layer, $0) } }
  }

  /// Whether anything has to be learnt from a text, scores apart.
  public var needsCalibration: Bool {
    rules.contains(where: \.needsCalibration) || [keys, values].contains { $0 != nil && $0?.objective != .weights }
  }

  /// Whether ranks go by scores, which a file gives or the calibration text.
  public var needsScores: Bool { [keys, values].contains { $0 != nil && $0?.rule != .uniform } }

  /// Whether a name matches a pattern, byte by byte.
  package static func matches(_ name: String, _ pattern: String) -> Bool {
    let (name, pattern) = (Array(name.utf8), Array(pattern.utf8))
    var (n, p) = (0, 0)
    // Where to go back to: the last star, and what it has swallowed so far.
    var star: (pattern: Int, name: Int)?
    while n < name.count {
      if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
        star = (p, n)
        p += 1
      } else if p < pattern.count, pattern[p] == name[n] {
        (n, p) = (n + 1, p + 1)
      } else if let last = star {
        star = (last.pattern, last.name + 1)
        (p, n) = (last.pattern + 1, last.name + 1)
      } else {
        return false
      }
    }
    return pattern[p...].allSatisfy { $0 == UInt8(ascii: "*") }
  }
}

extension Recipe.Rule {
  /// Whether it asks for the second moments of inputs, or their diagonal.
  public var needsCalibration: Bool {
    sparsity?.criterion == .wanda || quantization.weightsInputs || quantization.errorFeedback != nil
  }
}
