import Tessera
import TesseraLayers
import Testing

@testable import TesseraModels

/// Models written to one file and read back: the same bits, whatever their layers; and what does not fit together refused.
@Suite struct PackedModelTests {
  private let folder = TemporaryFolder()

  private static let models: [LlamaTestModel] = [
    LlamaTestModel(layers: 1), LlamaTestModel(heads: 3, sharedHeads: 3, dimension: 16, tiesHead: true),
    LlamaTestModel(modelType: "qwen2", className: "Qwen2ForCausalLM", layers: 1, biased: ["q_proj", "k_proj", "v_proj"]),
    LlamaTestModel(
      layers: 1, members: ["attention_bias": "true", "mlp_bias": "true", "partial_rotary_factor": "0.5"],
      biased: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
  ]

  private static let tokens = [3, 99, 0, 41, 41, 7, 12]

  static func logits(_ model: LlamaModel, on executor: Executor) throws -> [Float] {
    var runner = LlamaRunner(model, on: executor)
    var state = model.makeState()
    return try runner.forward(tokens, continuing: &state, logits: .all)
  }

  /// A packed model in the folder, of layers that `makeLinear` makes.
  private func write(
    _ model: LlamaTestModel, keys: KVFormat = .bf16, values: KVFormat = .bf16, on executor: Executor,
    makeLinear: LlamaModel.LinearMaker? = nil
  ) throws -> (path: String, model: LlamaModel) {
    try model.write(to: folder)
    let checkpoint = try LlamaCheckpoint(path: folder.path)
    let whole = try LlamaModel(checkpoint, keys: keys, values: values, on: executor, makeLinear: makeLinear)
    let path = folder.file("model.tessera")
    try whole.write(files: ModelFiles(folder: folder.path), metadata: ["recipe": "none"], to: path)
    return (path, whole)
  }

  // MARK: Round trip

  @Test(arguments: models)
  func denseModelsComeBack(model: LlamaTestModel) throws {
    let executor = try Executor(threads: 1)
    let (path, whole) = try write(model, on: executor)
    let packed = try PackedModel(path: path, verifying: .checksums)
    #expect(packed.configuration == whole.configuration)
    #expect(packed.file.metadata == ["recipe": "none"])
    #expect(packed.caches.allSatisfy { $0 == CacheForm() })
    let again = try LlamaModel(path: path, on: executor)
    #expect(try Self.logits(again, on: executor) == Self.logits(whole, on: executor))
    #expect(again.byteCount == whole.byteCount && again.byteCountPerToken == whole.byteCountPerToken)
  }

  @Test func everyLayerHasItsFormat() throws {
    let executor = try Executor(threads: 1)
    let (path, whole) = try write(LlamaTestModel(tiesHead: true), keys: .int8, on: executor) { matrix throws(ModelError) in
      do throws(TesseraError) {
        switch matrix.place {
        case .layer(_, .query):
          return try SparAMXLinear(
            matrix.weights.span, outputs: matrix.outputs, inputs: matrix.inputs, pruning: Pruning(sparsity: 0.5))
        case .layer(_, .down), .head:
          return try SparAMXLinear(matrix.weights.span, outputs: matrix.outputs, inputs: matrix.inputs, values: .int8)
        case .layer(_, .up):
          let codes = [UInt8](repeating: 3, count: matrix.outputs * matrix.inputs)
          let scales = [UInt16](repeating: 0x38, count: matrix.outputs * ((matrix.inputs + 15) / 16))
          return RaZeRLinear(
            weights: try Code4Weights(
              packing: codes.span, scales: scales.span, tensorScale: 0.01, format: .razerG16, outputs: matrix.outputs,
              inputs: matrix.inputs))
        default: return try DenseLinear(matrix.weights.span, outputs: matrix.outputs, inputs: matrix.inputs)
        }
      } catch {
        throw ModelError.operation(error)
      }
    }
    let packed = try PackedModel(path: path)
    #expect(packed.file["model.embed_tokens.weight"]?.format == .plainBF16, "the head has another format")
    #expect(packed.file["lm_head.weight"]?.format == .bitmapInt8)
    #expect(packed.file["model.layers.1.self_attn.q_proj.weight"]?.format == .bitmapBF16)
    #expect(packed.file["model.layers.0.mlp.up_proj.weight"]?.format == .weights(.razerG16))
    #expect(packed.file["model.layers.0.input_layernorm.weight"]?.format == .plainF32)
    #expect(packed.caches.allSatisfy { $0 == CacheForm(keys: .init(.int8)) })
    let logits = try Self.logits(whole, on: executor)
    #expect(try Self.logits(packed.model(), on: executor) == logits)

    let other = try packed.model(keys: .bf16, activations: .int8)
    let attention = try #require(other.layers[0].attention as? DenseAttention)
    #expect(attention.keyFormat == .bf16 && attention.valueFormat == .bf16)
    #expect((other.layers[0].feedForward.up as? RaZeRLinear)?.weights.activations == .int8)
    #expect(try Self.logits(other, on: executor) != logits)
  }

  @Test func writingAgainGivesTheSameBytes() throws {
    let executor = try Executor(threads: 1)
    let (path, _) = try write(LlamaTestModel(layers: 1), on: executor)
    let packed = try PackedModel(path: path)
    let again = folder.file("again.tessera")
    try packed.model().write(files: packed.files, metadata: packed.file.metadata, to: again)
    #expect(try readFile(again) == readFile(path))
  }

  @Test func tokenizerAndSettingsComeAlong() throws {
    var toy = ToyTokenizer()
    toy.add("a", "b")
    toy.controls = [("<|im_end|>", 300), ("<s>", 301)]
    folder.write(toy.json(), to: "tokenizer.json")
    folder.write(#"{"bos_token":"<s>","add_bos_token":true}"#, to: "tokenizer_config.json")
    folder.write(#"{"eos_token_id":[7]}"#, to: "generation_config.json")
    folder.write("a template", to: "chat_template.jinja")
    let (path, _) = try write(LlamaTestModel(layers: 1), on: Executor(threads: 1))
    let tokenizer = try Tokenizer(path: path)
    #expect(tokenizer.encode("abab a") == (try Tokenizer(path: folder.path)).encode("abab a"))
    #expect(tokenizer.beginOfText == 301 && tokenizer.addsBeginOfText && tokenizer.stopIDs == [7, 300])
    #expect(tokenizer.chatTemplateText == "a template")
  }

  @Test func aModelWithoutTokenizerSaysSo() throws {
    let (path, _) = try write(LlamaTestModel(layers: 1), on: Executor(threads: 1))
    let expected = TokenizerError.file(.missingTensor(file: path, tensor: "tokenizer.json"))
    #expect(throws: expected) { try Tokenizer(path: path) }
  }

  // MARK: GGUF

  private func gguf(_ toy: ToyTokenizer, tensors: [GGUFDraft.Tensor] = []) throws -> GGUFFile {
    let sizes: [(String, UInt32)] = [
      ("embedding_length", 48), ("block_count", 2), ("feed_forward_length", 80), ("attention.head_count", 6),
      ("attention.head_count_kv", 2), ("context_length", 700), ("vocab_size", 260),
    ]
    let metadata =
      toy.ggufEntries.sorted { $0.key < $1.key }.map(\.value)
      + sizes.map { entry("llama.\($0.0)", .uint32, little($0.1)) } + [
        entry("general.architecture", .string, string("llama")),
        entry("llama.attention.layer_norm_rms_epsilon", .float32, little(Float(1e-5).bitPattern)),
        entry("llama.rope.freq_base", .float32, little(Float(100_000).bitPattern)),
        entry("tokenizer.ggml.bos_token_id", .uint32, little(UInt32(259))),
        entry("tokenizer.ggml.eos_token_id", .uint32, little(UInt32(5))), entry("tokenizer.ggml.add_bos_token", .bool, [1]),
        entry("tokenizer.chat_template", .string, string("a \"template\"")),
      ]
    return try GGUFFile(path: folder.write(GGUFDraft(metadata: metadata, tensors: tensors).bytes, to: "model.gguf"))
  }

  @Test(arguments: [PreTokenizer.gpt2, .smollm, .llama3, .qwen2])
  func metadataBecomesFiles(preTokenizer: PreTokenizer) throws {
    var toy = ToyTokenizer(preTokenizer: preTokenizer)
    toy.add("a", "b")
    toy.add("ab", "\u{120}")
    toy.controls = [("<|im_end|>", 258), ("<s>", 259)]
    let file = try gguf(toy)
    let files = try ModelFiles(file)
    #expect(try LlamaConfiguration(files) == LlamaConfiguration(file))
    let (tokenizer, original) = (try Tokenizer(files), try Tokenizer(gguf: file))
    let text = "ab abab  12345 don't\n\nx<s>é日<|im_end|>"
    for isAllowed in [false, true] {
      #expect(tokenizer.encode(text, allowingSpecial: isAllowed) == original.encode(text, allowingSpecial: isAllowed))
    }
    #expect(tokenizer.count == original.count && tokenizer.stopIDs == original.stopIDs)
    #expect(tokenizer.beginOfText == 259 && tokenizer.addsBeginOfText)
    #expect(tokenizer.chatTemplateText == "a \"template\"")
  }

  /// A model of the Llama family with a bias for its queries alone.
  @Test func configurationsThatJSONCannotSayAreRefused() throws {
    let bias = GGUFDraft.Tensor(name: Array("blk.0.attn_q.bias".utf8), sizes: [1], data: [0, 0, 0x80, 0x3F])
    let file = try gguf(ToyTokenizer(controls: [("<s>", 259), ("<e>", 256), ("<f>", 257), ("<g>", 258)]), tensors: [bias])
    let error = #expect(throws: ModelError.self) { try ModelFiles(file) }
    #expect(error.map { "\($0)" }?.contains("'biases' is q_proj") == true, "\(error.map { "\($0)" } ?? "")")
  }

  // MARK: What does not fit

  private func rewritten(
    _ path: String, caches: String? = nil, change: (inout [PackedTensor]) throws -> Void = { _ in }
  ) throws -> String {
    let file = try PackedFile.open(path)
    var tensors = file.tensors
    if let caches {
      let region = try region(Array(caches.utf8))
      tensors = tensors.map { $0.name == "cache.json" ? PackedTensor(bytes: region, named: "cache.json") : $0 }
    }
    try change(&tensors)
    let changed = folder.file("changed.tessera")
    try PackedFile.write(tensors, metadata: file.metadata, to: changed)
    return changed
  }

  @Test func tensorsAreChecked() throws {
    let (path, _) = try write(LlamaTestModel(layers: 1), on: Executor(threads: 1))
    func message(_ change: @escaping (inout [PackedTensor]) throws -> Void) throws -> String {
      let changed = try rewritten(path, change: change)
      return #expect(throws: ModelError.self) { try PackedModel(path: changed) }.map { "\($0)" } ?? ""
    }
    let up = "model.layers.0.mlp.up_proj.weight"
    #expect(try message { $0.removeAll { $0.name == up } }.contains("no tensor '\(up)'"))
    #expect(
      try message { tensors in
        tensors = try tensors.map {
          $0.name == up ? try PackedFileTests.tensor(up, .bf16, rows: 81, columns: 48) : $0
        }
      }.contains("'\(up)' has the shape [81, 48]"))
    #expect(
      try message { tensors in
        tensors = try tensors.map {
          $0.name == up ? try PackedFileTests.tensor(up, .plainF32, rows: 80, columns: 48) : $0
        }
      }.contains("'\(up)' has type plain-f32"))
    #expect(
      try message { tensors in
        tensors = try tensors.map {
          $0.name == up ? try PackedFileTests.tensor(up, .bf16, rows: 80, columns: 48, bias: true) : $0
        }
      }.contains("'\(up)' is corrupt: has a bias"))
    #expect(
      try message { $0.append(try PackedFileTests.tensor("stranger", .plainF32, rows: 1, columns: 1)) }.contains("'stranger'"))
    #expect(try message { $0.removeAll { $0.name == "config.json" } }.contains("no tensor 'config.json'"))
  }

  @Test(arguments: [
    ("[]", "the file"), (#"{"layers":[]}"#, "layers"), (#"{"layers":[{}]}"#, "layers[0]"),
    (#"{"layers":[{"keys":{"format":"bf16"},"values":{"format":"fp5"}}]}"#, "layers[0].values.format"),
    (#"{"layers":[{"keys":{"format":"bf16"},"values":{"format":"bf16"},"x":1}]}"#, "unknown member 'x'"),
    (#"{"layers":[{"keys":{"format":"bf16","ranks":[3,3,3]},"values":{"format":"bf16"}}]}"#, "layers[0].keys.ranks"),
    (#"{"layers":[{"keys":{"format":"bf16","ranks":[99]},"values":{"format":"bf16"}}]}"#, "layers[0].keys.ranks"),
    (#"{"layers":[{"keys":{"format":"bf16"},"values":{"format":"bf16","fused":true}}]}"#, "layers[0].values.fused"),
    (#"{"layers":[{"keys":{"format":"bf16","ranks":[8]},"values":{"format":"bf16"}}]}"#, "k_proj.VT.weight"),
  ])
  func cachesAreChecked(caches: String, culprit: String) throws {
    let (path, _) = try write(LlamaTestModel(layers: 1), on: Executor(threads: 1))
    let changed = try rewritten(path, caches: caches)
    let error = #expect(throws: ModelError.self) { try PackedModel(path: changed) }
    #expect(error.map { "\($0)" }?.contains(culprit) == true, "\(error.map { "\($0)" } ?? "")")
  }
}
