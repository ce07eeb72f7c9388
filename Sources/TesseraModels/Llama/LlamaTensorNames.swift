/// What the tensors of a checkpoint are called.
///
///     Hugging Face                                      GGUF
///     model.embed_tokens.weight                         token_embd.weight
///     model.layers.L.input_layernorm.weight             blk.L.attn_norm.weight
///     model.layers.L.self_attn.q_proj.weight, .bias     blk.L.attn_q.weight, .bias
///     model.layers.L.post_attention_layernorm.weight    blk.L.ffn_norm.weight
///     model.layers.L.mlp.gate_proj.weight, .bias        blk.L.ffn_gate.weight, .bias
///     model.norm.weight                                 output_norm.weight
///     lm_head.weight                                    output.weight
enum LlamaTensorNames {
  case huggingFace
  case gguf

  var embedding: String { self == .gguf ? "token_embd.weight" : "model.embed_tokens.weight" }
  var outputNorm: String { self == .gguf ? "output_norm.weight" : "model.norm.weight" }

  func attentionNorm(_ layer: Int) -> String {
    self == .gguf ? "blk.\(layer).attn_norm.weight" : "model.layers.\(layer).input_layernorm.weight"
  }

  func feedForwardNorm(_ layer: Int) -> String {
    self == .gguf ? "blk.\(layer).ffn_norm.weight" : "model.layers.\(layer).post_attention_layernorm.weight"
  }

  func weight(_ place: LlamaPlace) -> String { "\(stem(place)).weight" }
  func bias(_ place: LlamaPlace) -> String { "\(stem(place)).bias" }

  private func stem(_ place: LlamaPlace) -> String {
    switch (self, place) {
    case (.gguf, .head): "output"
    case (.gguf, .layer(let layer, let projection)): "blk.\(layer).\(projection.nameInGGUF)"
    case (.huggingFace, .head): "\(place)"
    case (.huggingFace, .layer): "model.\(place)"
    }
  }
}

extension LlamaProjection {
  var nameInGGUF: String {
    switch self {
    case .query: "attn_q"
    case .key: "attn_k"
    case .value: "attn_v"
    case .output: "attn_output"
    case .gate: "ffn_gate"
    case .up: "ffn_up"
    case .down: "ffn_down"
    }
  }
}
