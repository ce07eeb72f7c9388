import Tessera
import TesseraModels

/// A small model of random weights, as a folder in Hugging Face's form.
struct LlamaTestModel {
  var modelType = "llama"
  var className = "LlamaForCausalLM"
  var hidden = 48
  var layers = 2
  var heads = 6
  var sharedHeads = 2
  var dimension = 8
  var feedForward = 80
  var vocabulary = 100
  var context = 700
  var tiesHead = false
  /// Members that replace or add to those of config.json, as JSON, or leave one out.
  var members: [String: String] = [:]
  static let absent = ""
  /// Projections with a bias, by their names in the file.
  var biased: [String] = []
  var seed: UInt64 = 1

  var configuration: String {
    var all = [
      "model_type": "\"\(modelType)\"", "architectures": "[\"\(className)\"]", "hidden_size": "\(hidden)",
      "num_hidden_layers": "\(layers)", "num_attention_heads": "\(heads)", "num_key_value_heads": "\(sharedHeads)",
      "head_dim": "\(dimension)", "intermediate_size": "\(feedForward)", "vocab_size": "\(vocabulary)",
      "max_position_embeddings": "\(context)", "rms_norm_eps": "1e-05", "rope_theta": "10000.0", "hidden_act": "\"silu\"",
      "tie_word_embeddings": "\(tiesHead)", "rope_scaling": "null",
    ]
    all.merge(members) { $1 }
    let lines = all.filter { $0.value != LlamaTestModel.absent }.map { "\"\($0)\": \($1)" }.sorted()
    return "{\(lines.joined(separator: ", "))}\n"
  }

  /// Names and shapes of all tensors.
  var tensors: [(name: String, shape: [Int])] {
    var all: [(name: String, shape: [Int])] = [
      ("model.embed_tokens.weight", [vocabulary, hidden]), ("model.norm.weight", [hidden]),
    ]
    if !tiesHead { all.append(("lm_head.weight", [vocabulary, hidden])) }
    let (wide, narrow) = (heads * dimension, sharedHeads * dimension)
    for layer in 0..<layers {
      let prefix = "model.layers.\(layer)."
      all += [
        (prefix + "input_layernorm.weight", [hidden]), (prefix + "post_attention_layernorm.weight", [hidden]),
        (prefix + "self_attn.q_proj.weight", [wide, hidden]), (prefix + "self_attn.k_proj.weight", [narrow, hidden]),
        (prefix + "self_attn.v_proj.weight", [narrow, hidden]), (prefix + "self_attn.o_proj.weight", [hidden, wide]),
        (prefix + "mlp.gate_proj.weight", [feedForward, hidden]), (prefix + "mlp.up_proj.weight", [feedForward, hidden]),
        (prefix + "mlp.down_proj.weight", [hidden, feedForward]),
      ]
      for name in biased {
        guard let weight = all.last(where: { $0.name.hasPrefix(prefix) && $0.name.hasSuffix("\(name).weight") }) else { continue }
        all.append((String(weight.name.dropLast(6)) + "bias", [weight.shape[0]]))
      }
    }
    return all
  }

  /// Writes config.json and model.safetensors.
  func write(to folder: TemporaryFolder) throws {
    folder.write(configuration, to: "config.json")
    let tensors = tensors
    var writer = try SafetensorsWriter(
      path: folder.file("model.safetensors"),
      tensors: tensors.map { .init(name: $0.name, type: .bf16, shape: $0.shape) })
    var random = SeededGenerator(seed: seed)
    for (name, shape) in tensors {
      let scale: Float = shape.count == 1 ? 0.1 : 1.7 / Float(shape[1]).squareRoot()
      let offset: Float = name.hasSuffix("norm.weight") ? 1 : 0
      let values = (0..<shape.reduce(1, *)).map { _ in
        BFloat16(offset + scale * Float.random(in: -1...1, using: &random))
      }
      try values.withUnsafeBytes { bytes in try writer.write(bytes) }
    }
    try writer.finish()
  }

  func checkpoint() throws -> LlamaCheckpoint {
    let folder = TemporaryFolder()
    try write(to: folder)
    return try LlamaCheckpoint(path: folder.path)
  }
}
