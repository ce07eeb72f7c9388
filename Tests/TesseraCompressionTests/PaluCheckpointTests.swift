import Tessera
import TesseraModels
import Testing

@testable import TesseraCompression

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A source of tensors in memory.
private struct Tensors: WeightSource {
  let path = "weights"
  var tensors: [String: (shape: [Int], values: [Float])] = [:]
  var names: [String] { tensors.keys.sorted() }

  func shape(of name: String) throws(WeightFileError) -> [Int] { try tensor(name).shape }
  func float32(_ name: String) throws(WeightFileError) -> [Float] { try tensor(name).values }
  func bfloat16(_ name: String) throws(WeightFileError) -> [BFloat16] { try float32(name).map { BFloat16($0) } }

  private func tensor(_ name: String) throws(WeightFileError) -> (shape: [Int], values: [Float]) {
    guard let tensor = tensors[name] else { throw .missingTensor(file: path, tensor: name) }
    return tensor
  }

  mutating func set(_ name: String, _ shape: [Int], seed: UInt64) {
    tensors[name] = (shape, randomFloats(shape.reduce(1, *), seed: seed))
  }
}

/// A text file that is removed with its owner.
private final class TextFile {
  let path: String

  init(_ text: String) {
    var template = Array("/tmp/tessera-test-XXXXXX".utf8CString)
    let descriptor = mkstemp(&template)
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let bytes = Array(text.utf8)
    precondition(write(descriptor, bytes, bytes.count) == bytes.count, path)
    close(descriptor)
  }

  deinit { unlink(path) }
}

@Suite struct PaluCheckpointTests {
  private static let keys = "model.layers.0.self_attn.k_proj"
  private static let config = """
    {"model_type": "paluqwen2", "original_model_name_or_path": "qwen", "hidden_size": 24, "num_attention_heads": 8,
     "num_key_value_heads": 4, "head_dim": 6, "rope_theta": 1e6,
     "head_wise_ranks": {"model.layers.0.self_attn.k_proj": [5, 12], "model.layers.0.self_attn.v_proj": [7]}}

    """

  /// Two groups of two heads of 6.
  private static func tensors() -> Tensors {
    var tensors = Tensors()
    tensors.set("\(keys).VT.weight", [17, 24], seed: 1)
    for (group, rank) in [5, 12].enumerated() {
      tensors.set("\(keys).U.\(group).weight", [12, rank], seed: UInt64(2 + group))
      tensors.set("\(keys).U.\(group).bias", [12], seed: UInt64(4 + group))
    }
    return tensors
  }

  private func open(_ tensors: Tensors = tensors(), config: String = config) throws -> PublishedPalu {
    let file = TextFile(config)
    return try PublishedPalu(config: file.path, weights: tensors)
  }

  @Test func factorsGiveTheProjection() throws {
    let tensors = PaluCheckpointTests.tensors()
    let checkpoint = try open(tensors)
    #expect(checkpoint.modelType == "paluqwen2" && checkpoint.originalModel == "qwen")
    #expect(checkpoint.projections.map(\.ranks) == [[5, 12], [7]])
    #expect(checkpoint.projections.map(\.heads.headsPerGroup) == [2, 4])
    #expect(checkpoint.plan.keptRatio == 0.5)

    let factors = try checkpoint.factors(of: PaluCheckpointTests.keys)
    #expect(factors.ranks == [5, 12])
    #expect(factors.latentProjection() == tensors.tensors["\(PaluCheckpointTests.keys).VT.weight"]?.values)
    let biases = (0..<2).flatMap { tensors.tensors["\(PaluCheckpointTests.keys).U.\($0).bias"]?.values ?? [] }
    #expect(factors.bias == biases)
    let x = randomFloats(24, seed: 9)
    let product = factors.product()
    var firstRow = 0
    for (group, rank) in [5, 12].enumerated() {
      let vt = try tensors.float32("\(PaluCheckpointTests.keys).VT.weight")
      let u = try tensors.float32("\(PaluCheckpointTests.keys).U.\(group).weight")
      let latent = (0..<rank).map { row in zip(vt[((firstRow + row) * 24)...], x).reduce(Float(0)) { $0 + $1.0 * $1.1 } }
      for output in 0..<12 {
        let expected = zip(u[(output * rank)...], latent).reduce(Float(0)) { $0 + $1.0 * $1.1 }
        let got = zip(product[((group * 12 + output) * 24)...], x).reduce(Float(0)) { $0 + $1.0 * $1.1 }
        #expect(abs(expected - got) < 1e-3, "\(group), \(output): \(got), not \(expected)")
      }
      firstRow += rank
    }
  }

  @Test func biasesAreOptional() throws {
    var tensors = PaluCheckpointTests.tensors()
    for group in 0..<2 { tensors.tensors["\(PaluCheckpointTests.keys).U.\(group).bias"] = nil }
    #expect(try open(tensors).factors(of: PaluCheckpointTests.keys).bias == nil)
  }

  private func failure(_ change: (inout Tensors) -> Void, of name: String = keys) throws -> WeightFileError? {
    var tensors = PaluCheckpointTests.tensors()
    change(&tensors)
    let checkpoint = try open(tensors)
    return #expect(throws: WeightFileError.self) { try checkpoint.factors(of: name) }
  }

  @Test func badTensorsAreNamed() throws {
    let keys = PaluCheckpointTests.keys
    #expect(try failure { $0.tensors["\(keys).VT.weight"] = nil } == .missingTensor(file: "weights", tensor: "\(keys).VT.weight"))
    #expect(
      try failure { $0.tensors["\(keys).U.1.weight"] = nil } == .missingTensor(file: "weights", tensor: "\(keys).U.1.weight"))
    #expect(try failure { $0.tensors["\(keys).U.1.bias"] = nil } == .missingTensor(file: "weights", tensor: "\(keys).U.1.bias"))
    #expect(
      try failure { $0.set("\(keys).VT.weight", [16, 24], seed: 1) }
        == .badShape(file: "weights", tensor: "\(keys).VT.weight", shape: [16, 24], detail: "the ranks need [17, 24]"))
    #expect(
      try failure { $0.set("\(keys).U.0.weight", [12, 6], seed: 1) }
        == .badShape(file: "weights", tensor: "\(keys).U.0.weight", shape: [12, 6], detail: "the ranks need [12, 5]"))
    #expect(
      try failure { $0.set("\(keys).U.1.bias", [6], seed: 1) }
        == .badShape(file: "weights", tensor: "\(keys).U.1.bias", shape: [6], detail: "the ranks need [12]"))
    #expect(
      try failure { $0.set("\(keys).U.2.weight", [12, 3], seed: 1) }
        == .badShape(file: "weights", tensor: "\(keys).U.2.weight", shape: [12, 3], detail: "head_wise_ranks has 2 groups"))
    #expect(
      try failure { $0.tensors["\(keys).U.0.weight"]?.values[7] = .infinity }
        == .corruptTensor(file: "weights", tensor: keys, detail: "weight [2, 1] is NaN or infinite"))
    let unknown = try failure({ _ in }, of: "lm_head")
    guard case .wrongMetadata(_, "head_wise_ranks", "has no 'lm_head'")? = unknown else {
      Issue.record("\(String(describing: unknown))")
      return
    }
  }

  @Test(arguments: [
    ("\"paluqwen2\"", "\"llama\"", "model_type"), ("\"hidden_size\": 24", "\"hidden_size\": 0", "hidden_size"),
    ("\"hidden_size\": 24, ", "", "hidden_size"),
    ("\"num_key_value_heads\": 4", "\"num_key_value_heads\": 3", "num_key_value_heads"),
    ("\"num_attention_heads\": 8", "\"num_attention_heads\": 8.5", "num_attention_heads"),
    ("head_wise_ranks", "ranks", "head_wise_ranks"), ("[5, 12]", "[5, 12, 3]", keys), ("[5, 12]", "[5, 13]", keys),
    ("[5, 12]", "[0, 12]", keys), ("[5, 12]", "[]", keys), ("[5, 12]", "[5, \"12\"]", keys), ("[5, 12]", "17", keys),
  ])
  func badConfigurationsAreNamed(old: String, new: String, key: String) throws {
    let parts = PaluCheckpointTests.config.split(separator: old, maxSplits: 1)
    let error = #expect(throws: WeightFileError.self) { try open(config: parts.joined(separator: new)) }
    guard case .wrongMetadata(_, let got, _)? = error, got == key else {
      Issue.record("\(String(describing: error))")
      return
    }
  }

  // MARK: Scores

  @Test func scoresBecomeCandidates() throws {
    let file = TextFile("{\"k\": [0.5, 2, 1e-3, 7], \"v\": 3}\n")
    let scores = try RankScores(path: file.path)
    #expect(scores.scores == ["k": [0.5, 2, 1e-3, 7], "v": [3]])
    let heads = try HeadGroups(heads: 4, headDimension: 64, .perHead)
    let candidates = try ["k", "v"].map { try scores.candidate($0, heads: heads) }
    #expect(try RankSearch(keeping: 0.5, by: .fisherUniform).ranks(of: candidates).rankSum == 256)
    #expect(throws: WeightFileError.wrongMetadata(file: file.path, key: "q", detail: "has no score")) {
      try scores.candidate("q", heads: heads)
    }
  }

  @Test(arguments: [
    "{\"k\": \"high\"}", "{\"k\": [1, null]}", "{\"k\": []}", "{\"k\": {}}", "[1]", "{\"k\": 1", "{\"k\":1,\"k\":2}",
  ])
  func badScoresAreRefused(text: String) {
    let file = TextFile(text)
    #expect(throws: WeightFileError.self) { try RankScores(path: file.path) }
  }
}
