import Tessera
import TesseraModels
import Testing

/// config.json of the Llama family: what the families mean, and one error for each culprit.
@Suite struct ConfigurationTests {
  private let folder = TemporaryFolder()

  private func read(_ model: LlamaTestModel) throws -> LlamaConfiguration {
    try LlamaConfiguration(configFile: folder.write(model.configuration, to: "config.json"))
  }

  @Test func plainLlama() throws {
    let configuration = try read(LlamaTestModel())
    #expect(configuration.architecture == .llama && configuration.hiddenSize == 48 && configuration.layerCount == 2)
    #expect(configuration.attention.queryHeads == 6 && configuration.attention.keyValueHeads == 2)
    #expect(configuration.attention.keyDimension == 8 && configuration.attention.scale == 1 / Float(8).squareRoot())
    #expect(configuration.feedForwardSize == 80 && configuration.vocabularySize == 100 && configuration.contextLength == 700)
    #expect(configuration.normEpsilon == 1e-5 && !configuration.tiesHead && configuration.biases.isEmpty)
    #expect(try configuration.rotary == RotaryEmbedding(rotated: 8, theta: 10000))
    #expect(configuration.places.count == 15 && configuration.places.last == .head)
    #expect("\(configuration.places[7])" == "layers.1.self_attn.q_proj")
    let matrices = 48 * 48 * 2 + 48 * 16 * 2 + 3 * 48 * 80
    #expect(configuration.parameterCount == 2 * (matrices + 2 * 48) + 2 * 4800 + 48)
  }

  @Test func whatIsAbsentIsAssumed() throws {
    let configuration = try read(
      LlamaTestModel(
        dimension: 8,
        members: [
          "num_key_value_heads": LlamaTestModel.absent, "head_dim": LlamaTestModel.absent, "rope_theta": LlamaTestModel.absent,
          "tie_word_embeddings": LlamaTestModel.absent,
          "hidden_act": LlamaTestModel.absent, "rope_scaling": LlamaTestModel.absent, "architectures": LlamaTestModel.absent,
        ]))
    #expect(configuration.attention.keyValueHeads == 6 && configuration.attention.keyDimension == 8)
    #expect(try configuration.rotary == RotaryEmbedding(rotated: 8, theta: 10000) && !configuration.tiesHead)
  }

  @Test func familiesDiffer() throws {
    let qwen = LlamaTestModel(modelType: "qwen2", className: "Qwen2ForCausalLM", members: ["sliding_window": "64"])
    #expect(try read(qwen).biases == [.query, .key, .value] && read(qwen).contextLength == 700)
    var windowed = qwen
    windowed.members["use_sliding_window"] = "true"
    #expect(try read(windowed).contextLength == 64)
    let mistral = LlamaTestModel(modelType: "mistral", className: "MistralForCausalLM", members: ["sliding_window": "64"])
    #expect(try read(mistral).contextLength == 64 && read(mistral).biases.isEmpty)
    let biased = LlamaTestModel(members: ["attention_bias": "true", "mlp_bias": "true"])
    #expect(try read(biased).biases == Set(LlamaProjection.allCases))
  }

  @Test(arguments: [
    (["rope_scaling": "{\"rope_type\": \"default\"}"], RotaryEmbedding.Scaling?.none),
    (["rope_scaling": "{\"type\": \"linear\", \"factor\": 4}"], .linear(factor: 4)),
    (
      [
        "rope_scaling":
          "{\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1, \"high_freq_factor\": 4.0, "
          + "\"original_max_position_embeddings\": 8192}"
      ], .llama3(factor: 8, lowFactor: 1, highFactor: 4, originalContext: 8192)
    ),
    (["rope_parameters": "{\"rope_type\": \"linear\", \"factor\": 2.5, \"rope_theta\": 10000}"], .linear(factor: 2.5)),
    (["rope_parameters": "{\"rope_theta\": 10000.0}"], nil),
  ])
  func rotationIsStretched(members: [String: String], scaling: RotaryEmbedding.Scaling?) throws {
    let expected = try RotaryEmbedding(rotated: 8, theta: 10000, scaling: scaling)
    #expect(try read(LlamaTestModel(members: members)).rotary == expected)
  }

  private struct Culprit: Sendable, CustomTestStringConvertible {
    let members: [String: String]
    let kind: String
    let words: [String]
    var testDescription: String { words.joined(separator: ", ") }
  }

  private static let culprits: [Culprit] = [
    [
      "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
      "max_position_embeddings", "rms_norm_eps",
    ].map { Culprit(members: [$0: LlamaTestModel.absent], kind: "missingKey", words: ["'\($0)'"]) },
    [
      Culprit(members: ["hidden_size": "0"], kind: "invalidValue", words: ["'hidden_size'", "0", "1..."]),
      Culprit(members: ["hidden_size": "48.5"], kind: "invalidValue", words: ["'hidden_size'", "48.5"]),
      Culprit(members: ["vocab_size": "\"100\""], kind: "invalidValue", words: ["'vocab_size'", "'100'"]),
      Culprit(members: ["vocab_size": "99999999999"], kind: "invalidValue", words: ["'vocab_size'", "99999999999"]),
      Culprit(members: ["num_hidden_layers": "[2]"], kind: "invalidValue", words: ["'num_hidden_layers'", "[2]"]),
      Culprit(members: ["rms_norm_eps": "-1e-5"], kind: "invalidValue", words: ["'rms_norm_eps'", "-1e-05"]),
      Culprit(members: ["rope_theta": "0"], kind: "invalidValue", words: ["'rope_theta'", "0"]),
      Culprit(members: ["tie_word_embeddings": "1"], kind: "invalidValue", words: ["'tie_word_embeddings'", "1"]),
      Culprit(members: ["head_dim": "7"], kind: "invalidValue", words: ["'head_dim'", "7", "even"]),
      Culprit(members: ["partial_rotary_factor": "1.5"], kind: "invalidValue", words: ["'partial_rotary_factor'", "1.5"]),
      Culprit(members: ["rope_scaling": "\"linear\""], kind: "invalidValue", words: ["'rope_scaling'", "'linear'", "object"]),
      Culprit(
        members: ["num_key_value_heads": "4"], kind: "contradiction", words: ["'num_key_value_heads'", "4", "6"]),
      Culprit(
        members: ["num_attention_heads": "5", "num_key_value_heads": "5", "head_dim": LlamaTestModel.absent],
        kind: "contradiction",
        words: ["'hidden_size'", "48", "'num_attention_heads'", "5"]),
      Culprit(
        members: [
          "rope_scaling":
            "{\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 4, \"high_freq_factor\": 1, "
            + "\"original_max_position_embeddings\": 8192}"
        ], kind: "contradiction", words: ["'rope_scaling.high_freq_factor'", "1.0", "4.0"]),
      Culprit(members: ["rope_scaling": "{\"factor\": 2}"], kind: "missingKey", words: ["'rope_scaling.type'"]),
      Culprit(members: ["rope_scaling": "{\"type\": \"linear\"}"], kind: "missingKey", words: ["'rope_scaling.factor'"]),
      Culprit(
        members: ["rope_scaling": "{\"type\": \"yarn\", \"factor\": 2}"], kind: "unsupported",
        words: ["'rope_scaling.type'", "'yarn'", "llama3"]),
      Culprit(members: ["model_type": "\"gpt2\""], kind: "unsupported", words: ["'model_type'", "'gpt2'", "mistral"]),
      Culprit(
        members: ["architectures": "[\"LlamaForSequenceClassification\"]"], kind: "unsupported",
        words: ["'architectures'", "LlamaForSequenceClassification", "LlamaForCausalLM"]),
      Culprit(members: ["hidden_act": "\"gelu\""], kind: "unsupported", words: ["'hidden_act'", "'gelu'", "silu"]),
      Culprit(
        members: ["quantization_config": "{\"quant_method\": \"gptq\"}"], kind: "unsupported",
        words: ["'quantization_config'", "'gptq'"]),
    ],
  ].flatMap(\.self)

  @Test(arguments: culprits)
  private func everyCulpritIsNamed(culprit: Culprit) throws {
    let file = folder.write(LlamaTestModel(members: culprit.members).configuration, to: "config.json")
    let error = #expect(throws: ModelError.self) { try LlamaConfiguration(configFile: file) }
    let text = "\(try #require(error))"
    #expect(error.map { Mirror(reflecting: $0).children.first?.label } == culprit.kind, "\(text)")
    for word in culprit.words + [file] { #expect(text.contains(word), "\(text) says nothing of \(word)") }
  }

  @Test func filesThatAreNoConfiguration() throws {
    let missing = #expect(throws: ModelError.self) { try LlamaConfiguration(configFile: folder.file("none.json")) }
    guard case .file(.cannotOpen)? = missing else { return #expect(Bool(false), "\(String(describing: missing))") }
    let file = folder.write("[1, 2", to: "config.json")
    let broken = #expect(throws: ModelError.self) { try LlamaConfiguration(configFile: file) }
    guard case .file(.malformedHeader)? = broken else { return #expect(Bool(false), "\(String(describing: broken))") }
  }
}

/// A folder of config.json and tensors that do not fit each other.
@Suite struct ConfigurationAgainstTensorsTests {
  private let folder = TemporaryFolder()

  @Test func shapesAreCompared() throws {
    try LlamaTestModel().write(to: folder)
    folder.write(LlamaTestModel(feedForward: 96).configuration, to: "config.json")
    let error = #expect(throws: ModelError.self) { try LlamaCheckpoint(path: folder.path) }
    #expect(
      error
        == .wrongShape(
          file: "\(folder.path)/model.safetensors", tensor: "model.layers.0.mlp.gate_proj.weight", expected: [96, 48],
          got: [80, 48]))
  }

  @Test func missingTensorsAreNamed() throws {
    try LlamaTestModel().write(to: folder)
    let file = "\(folder.path)/model.safetensors"
    folder.write(LlamaTestModel(layers: 3).configuration, to: "config.json")
    let layer = #expect(throws: ModelError.self) { try LlamaCheckpoint(path: folder.path) }
    #expect(layer == .file(.missingTensor(file: file, tensor: "model.layers.2.input_layernorm.weight")))
    folder.write(LlamaTestModel(members: ["mlp_bias": "true"]).configuration, to: "config.json")
    let bias = #expect(throws: ModelError.self) { try LlamaCheckpoint(path: folder.path) }
    #expect(bias == .file(.missingTensor(file: file, tensor: "model.layers.0.mlp.gate_proj.bias")))
    folder.write(LlamaTestModel(members: ["head_dim": "16"]).configuration, to: "config.json")
    let head = #expect(throws: ModelError.self) { try LlamaCheckpoint(path: folder.path + "/model.safetensors") }
    #expect(
      head == .wrongShape(file: file, tensor: "model.layers.0.self_attn.q_proj.weight", expected: [96, 48], got: [48, 48]))
  }

  @Test func aTiedHeadNeedsNoTensor() throws {
    try LlamaTestModel(tiesHead: true).write(to: folder)
    let checkpoint = try LlamaCheckpoint(path: folder.path)
    #expect(try checkpoint.weights(of: .head) == checkpoint.embedding())
    folder.write(LlamaTestModel().configuration, to: "config.json")
    let error = #expect(throws: ModelError.self) { try LlamaCheckpoint(path: folder.path) }
    #expect(error == .file(.missingTensor(file: "\(folder.path)/model.safetensors", tensor: "lm_head.weight")))
  }
}
