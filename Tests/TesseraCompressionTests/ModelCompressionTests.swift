import Tessera
import TesseraCalibration
import TesseraCompression
import TesseraLayers
import TesseraModels
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Whole models through recipes: what comes out runs, depends on nothing but its input, and survives being interrupted.
@Suite struct ModelCompressionTests {
  private static let calibration = (0..<300).map { $0 * $0 % 97 }

  /// Every method at once: dropped weights in 4 bits, error feedback, 8 bits, keys and values of low rank.
  private static let recipe = Recipe(
    name: "all",
    rules: [
      Recipe.Rule("*.k_proj", "lm_head", format: .bitmapInt8),
      Recipe.Rule(
        "*.down_proj", format: .bitmapRazerG128, sparsity: Recipe.Sparsity(0.5, by: .wanda),
        quantization: Recipe.Quantization(refits: 1, weightsInputs: true)),
      Recipe.Rule("*.layers.0.*", format: .razerG16, quantization: Recipe.Quantization(errorFeedback: Recipe.ErrorFeedback())),
      Recipe.Rule("*.up_proj", format: .bitmapBF16, sparsity: Recipe.Sparsity(0.3)),
      Recipe.Rule(
        "*.layers.1.mlp.gate_proj", format: .bitmapRazerG128, sparsity: Recipe.Sparsity(0.5, by: .wanda),
        quantization: Recipe.Quantization(errorFeedback: Recipe.ErrorFeedback())),
      Recipe.Rule(
        "*.layers.1.self_attn.o_proj", format: .bitmapBF16, sparsity: Recipe.Sparsity(0.5),
        quantization: Recipe.Quantization(errorFeedback: Recipe.ErrorFeedback(order: .descendingMoment))),
    ],
    valueFormat: .int8, keys: Recipe.LowRank(ratio: 0.5, headsPerGroup: 2, objective: .scores, isRotated: true),
    values: Recipe.LowRank(ratio: 0.5, headsPerGroup: 2), calibration: Recipe.Calibration(tokens: 200, window: 64))

  private static func compress(
    _ folder: String, _ recipe: Recipe = recipe, to output: String,
    progress: @escaping (ModelCompression.Progress) -> Void = { _ in }
  ) throws -> CompressionReport {
    let executor = try Executor(threads: 1)
    let checkpoint = try LlamaCheckpoint(path: folder)
    let compression = try ModelCompression(
      checkpoint, files: ModelFiles(of: checkpoint), recipe: recipe, calibration: calibration, on: executor)
    return try compression.run(to: output, progress: progress)
  }

  private static func logits(_ path: String) throws -> [Float] {
    let executor = try Executor(threads: 1)
    var runner = LlamaRunner(try LlamaModel(path: path, on: executor), on: executor)
    var state = runner.model.makeState()
    return try runner.forward([3, 90, 17, 17, 5], continuing: &state, logits: .all)
  }

  private static func distance(_ a: [Float], _ b: [Float]) -> Double {
    let error = zip(a, b).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
    return (error / b.reduce(0.0) { $0 + Double($1 * $1) }).squareRoot()
  }

  // MARK: Recipes

  @Test func nothingChangesWithoutRules() throws {
    let folder = try TestCheckpoint()
    let report = try Self.compress(folder.path, Recipe(name: "none"), to: folder.file("out"))
    #expect(try Self.logits(folder.file("out")) == Self.logits(folder.path))
    #expect(report.layers.flatMap(\.matrices).allSatisfy { $0.weightError == 0 && $0.format == "bf16" && $0.density == 1 })
    #expect(report.byteCount == (try MappedFile(path: folder.file("out")).byteCount))
  }

  @Test func everyMethodAtOnce() throws {
    let folder = try TestCheckpoint()
    let output = folder.file("out")
    let report = try Self.compress(folder.path, to: output)
    let packed = try PackedModel(path: output, verifying: .checksums)
    func format(_ name: String) -> PackedFormat? { packed.file["model.layers.\(name).weight"]?.format }
    #expect(format("0.self_attn.q_proj") == .weights(.razerG16) && format("1.self_attn.q_proj") == .bf16)
    #expect(format("1.self_attn.k_proj.VT") == .bitmapInt8 && format("1.self_attn.k_proj.U.0") == .plainBF16)
    #expect(format("0.mlp.down_proj") == .weights(.bitmapRazerG128) && format("1.mlp.up_proj") == .bitmapBF16)
    #expect(packed.file["lm_head.weight"]?.format == .bitmapInt8)
    #expect(packed.caches[0] == CacheForm(keys: .init(.bf16, ranks: [32]), values: .init(.int8, ranks: [32])))
    #expect(packed.file.metadata["recipe"] == Self.recipe.json)
    let error = Self.distance(try Self.logits(output), try Self.logits(folder.path))
    #expect(error > 0 && error < 1, "\(error)")

    let down = try #require(report.layers[0].matrices.last)
    #expect(down.name == "model.layers.0.mlp.down_proj" && abs(down.density - 0.5) < 0.1, "\(down)")
    let keys = try #require(report.layers[1].matrices.first { $0.name.hasSuffix("k_proj") })
    #expect(keys.ranks == [32] && keys.outputs == 64 && keys.weightError > 0 && keys.outputError != nil)
    for name in ["gate_proj", "o_proj"] {
      let matrix = try #require(report.layers[1].matrices.first { $0.name.hasSuffix(name) })
      #expect(abs(matrix.density - 0.5) < 0.1 && matrix.outputError ?? 1 < matrix.weightError, "\(matrix)")
    }
    #expect(report.layers.allSatisfy { ($0.outputError ?? 0) > 0 })
    #expect(
      report.json.contains("\"recipe\": \"all\"") && report.svg().contains("<title>model.layers.1.mlp.up_proj: bitmap-bf16"))
  }

  /// Values whose lift is part of the output projection are the same values.
  @Test func fusedValuesAreTheSame() throws {
    let folder = try TestCheckpoint()
    var recipe = Recipe(name: "palu", values: Recipe.LowRank(ratio: 0.5, headsPerGroup: 2, objective: .weights))
    _ = try Self.compress(folder.path, recipe, to: folder.file("lifted"))
    recipe.values?.isFused = true
    _ = try Self.compress(folder.path, recipe, to: folder.file("fused"))
    #expect(Self.distance(try Self.logits(folder.file("fused")), try Self.logits(folder.file("lifted"))) < 0.02)
  }

  @Test func whatTheModelCannotHaveIsNamed() throws {
    let folder = try TestCheckpoint()
    func message(_ recipe: Recipe) -> String {
      #expect(throws: ModelCompressionError.self) { try Self.compress(folder.path, recipe, to: folder.file("out")) }
        .map { "\($0)" } ?? ""
    }
    #expect(
      message(Recipe(name: "a", rules: [.init("*", format: .bf16), .init("*.qproj", format: .bf16)])).contains("'*.qproj'"))
    #expect(message(Recipe(name: "a", keys: Recipe.LowRank(ratio: 0.5, headsPerGroup: 3))).contains("low_rank.keys"))
    #expect(
      message(Recipe(name: "a", keys: Recipe.LowRank(ratio: 0.5, headsPerGroup: 3, rule: .fisher))).contains("low_rank.keys"))
    let feedback = Recipe.Rule("*.o_proj", format: .razerG16, quantization: .init(errorFeedback: .init()))
    let fused = Recipe.LowRank(ratio: 0.5, headsPerGroup: 2, isFused: true)
    #expect(message(Recipe(name: "a", rules: [feedback], values: fused)).contains("low_rank.values.fused"))
    #expect(folder.contents == ["config.json", "model.safetensors"])
  }

  // MARK: Interruption

  /// A process that dies in the second layer leaves no output; the next one goes on behind the first layer, to the same bytes.
  @Test func interruptedWorkGoesOn() async throws {
    let folder = try TestCheckpoint()
    let whole = folder.file("whole")
    _ = try Self.compress(folder.path, to: whole)
    setenv("TESSERA_TEST_MODEL", folder.path, 1)
    await #expect(processExitsWith: .signal(SIGKILL)) {
      let path = try #require(getenv("TESSERA_TEST_MODEL").map { String(cString: $0) })
      _ = try ModelCompressionTests.compress(path, to: "\(path)/out") { progress in
        if progress.what.contains("layers.1.mlp") { kill(getpid(), SIGKILL) }
      }
    }
    #expect(!folder.contents.contains("out") && folder.contents.contains("out.layers"), "\(folder.contents)")

    let reused = Box(0.0)
    _ = try Self.compress(folder.path, to: folder.file("out")) { reused.value = max(reused.value, $0.reused) }
    #expect(reused.value > 0)
    let (one, other) = (try MappedFile(path: whole), try MappedFile(path: folder.file("out")))
    #expect(one.bytes.elementsEqual(other.bytes))
    #expect(!folder.contents.contains { $0.hasSuffix(".layers") || $0.contains("partial") }, "\(folder.contents)")
  }

  /// What another recipe left behind, or what was damaged, is not taken over.
  @Test func strangersAreNotTakenOver() throws {
    let folder = try TestCheckpoint()
    _ = try Self.compress(folder.path, to: folder.file("whole"))
    mkdir(folder.file("out.layers"), 0o777)
    let one = [Float(1)]
    let stranger = try PackedTensor(plain: one.span, named: "x", rows: 1, columns: 1)
    try PackedFile.write(
      [stranger], metadata: ["fingerprint": "0", "report": "{}"], to: folder.file("out.layers/layer-0.tessera"))
    _ = try Self.compress(folder.path, to: folder.file("out"))
    let (whole, out) = (try MappedFile(path: folder.file("whole")), try MappedFile(path: folder.file("out")))
    #expect(whole.bytes.elementsEqual(out.bytes))
  }
}

private final class Box: @unchecked Sendable {
  // Sendable because one thread alone uses it.
  var value: Double
  init(_ value: Double) { self.value = value }
}

/// A model of two layers and random weights, in a folder that goes when the test does.
final class TestCheckpoint: Sendable {
  let path: String

  /// - Parameter type: `qwen2` has biases of queries, keys and values.
  init(_ type: String = "llama") throws {
    var template = Array("/tmp/tessera-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { preconditionFailure("mkdtemp: error \(errno)") }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let config = """
      {"model_type": "\(type)", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
       "head_dim": 32, "intermediate_size": 128, "vocab_size": 97, "max_position_embeddings": 128, "rms_norm_eps": 1e-05,
       "rope_theta": 10000.0, "tie_word_embeddings": true}
      """
    let file = try OutputFile(path: "\(path)/config.json")
    try file.write(Array(config.utf8))
    try file.commit()
    var tensors: [(String, [Int])] = [("model.embed_tokens.weight", [97, 64]), ("model.norm.weight", [64])]
    for layer in 0..<2 {
      var shapes = [
        "self_attn.q_proj": [128, 64], "self_attn.k_proj": [64, 64], "self_attn.v_proj": [64, 64], "self_attn.o_proj": [64, 128],
        "mlp.gate_proj": [128, 64], "mlp.up_proj": [128, 64], "mlp.down_proj": [64, 128], "input_layernorm": [64],
        "post_attention_layernorm": [64],
      ]
      if type == "qwen2" {
        shapes["self_attn.q_proj.bias"] = [128]
        shapes["self_attn.k_proj.bias"] = [64]
        shapes["self_attn.v_proj.bias"] = [64]
      }
      tensors += shapes.sorted { $0.key < $1.key }.map {
        ("model.layers.\(layer).\($0.key)\($0.key.hasSuffix("bias") ? "" : ".weight")", $0.value)
      }
    }
    var writer = try SafetensorsWriter(
      path: "\(path)/model.safetensors", tensors: tensors.map { .init(name: $0.0, type: .bf16, shape: $0.1) })
    for (index, (_, shape)) in tensors.enumerated() {
      let values = randomFloats(shape.reduce(1, *), seed: UInt64(index)).map { value in
        BFloat16(shape.count == 1 ? 1 + 0.1 * value : value / Float(shape[1]).squareRoot())
      }
      try values.withUnsafeBytes { bytes in try writer.write(bytes) }
    }
    try writer.finish()
  }

  deinit {
    for name in contents {
      if unlink(file(name)) != 0 {
        for inner in TestCheckpoint.entries(of: file(name)) { unlink(file("\(name)/\(inner)")) }
        rmdir(file(name))
      }
    }
    rmdir(path)
  }

  func file(_ name: String) -> String { "\(path)/\(name)" }

  var contents: [String] { TestCheckpoint.entries(of: path) }

  private static func entries(of folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }
}
