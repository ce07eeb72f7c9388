internal import Tessera

extension LlamaConfiguration {
  /// The configuration as a `config.json` that reads back as the same.
  /// - Throws: `ModelError.unsupported` for one that `config.json` has no words for, as biases of a GGUF file may be.
  func json(for file: String) throws(ModelError) -> JSONValue {
    let attentionProjections: Set<LlamaProjection> = [.query, .key, .value, .output]
    let members: [(name: String, value: JSONValue)] = [
      ("architectures", .array([.string(architecture.className)])),
      ("model_type", .string(architecture.rawValue)),
      ("hidden_size", .integer(hiddenSize)),
      ("num_hidden_layers", .integer(layerCount)),
      ("intermediate_size", .integer(feedForwardSize)),
      ("num_attention_heads", .integer(attention.queryHeads)),
      ("num_key_value_heads", .integer(attention.keyValueHeads)),
      ("head_dim", .integer(attention.keyDimension)),
      ("vocab_size", .integer(vocabularySize)),
      ("max_position_embeddings", .integer(contextLength)),
      ("rms_norm_eps", .double(Double(normEpsilon))),
      ("rope_theta", .double(rotaryBase)),
      ("rope_scaling", rotaryScaling.map(\.json) ?? .null),
      ("partial_rotary_factor", .double(Double(rotary.rotated) / Double(attention.keyDimension))),
      ("attention_bias", .bool(attentionProjections.isSubset(of: biases))),
      ("mlp_bias", .bool(biases.isSuperset(of: [.gate, .up, .down]))),
      ("tie_word_embeddings", .bool(tiesHead)),
    ]
    let json = JSONValue.object(members)
    guard try LlamaConfiguration(huggingFace: json, file: file) == self else {
      let names = biases.map(\.rawValue).sorted().joined(separator: ", ")
      throw ModelError.unsupported(
        file: file, key: "biases", value: names, supported: "those of all of attention, of the feed-forward part, or Qwen2's")
    }
    return json
  }
}

extension RotaryEmbedding.Scaling {
  fileprivate var json: JSONValue {
    switch self {
    case .linear(let factor): .object([("rope_type", .string("linear")), ("factor", .double(factor))])
    case .llama3(let factor, let low, let high, let original):
      .object([
        ("rope_type", .string("llama3")), ("factor", .double(factor)), ("low_freq_factor", .double(low)),
        ("high_freq_factor", .double(high)), ("original_max_position_embeddings", .double(original)),
      ])
    }
  }
}
