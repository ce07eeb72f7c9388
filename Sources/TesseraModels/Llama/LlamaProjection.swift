/// The linear layers of a decoder layer. The raw value is the name that Hugging Face checkpoints give them.
public enum LlamaProjection: String, Sendable, CaseIterable, Codable, CustomStringConvertible {
  case query = "q_proj"
  case key = "k_proj"
  case value = "v_proj"
  case output = "o_proj"
  case gate = "gate_proj"
  case up = "up_proj"
  case down = "down_proj"

  /// The raw value.
  public var description: String { rawValue }

  /// Whether it belongs to attention, and not to the feed-forward part.
  public var isOfAttention: Bool {
    switch self {
    case .query, .key, .value, .output: true
    case .gate, .up, .down: false
    }
  }
}

/// Where a matrix stands in a model.
public enum LlamaPlace: Sendable, Hashable, CustomStringConvertible {
  /// A linear layer of decoder layer `layer`, counted from 0.
  case layer(Int, LlamaProjection)
  /// The linear layer that gives logits.
  case head

  /// `layers.3.self_attn.q_proj`, `lm_head`: the name without prefix and suffix of a Hugging Face checkpoint.
  public var description: String {
    switch self {
    case .layer(let layer, let projection): "layers.\(layer).\(projection.isOfAttention ? "self_attn" : "mlp").\(projection)"
    case .head: "lm_head"
    }
  }
}
