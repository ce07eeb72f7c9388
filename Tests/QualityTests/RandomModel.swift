import Tessera
import TesseraModels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A small model whose weights are random, and random texts.
struct RandomModel: WeightSource {
  static let window = 24

  let path = "random weights"
  let configuration: LlamaConfiguration
  let seed: UInt64

  static func checkpoint(seed: UInt64) throws -> LlamaCheckpoint {
    let configuration = try LlamaConfiguration(
      hiddenSize: 64, layerCount: 2, feedForwardSize: 96, queryHeads: 4, keyValueHeads: 2, headDimension: 32,
      vocabularySize: 50, contextLength: 32, tiesHead: true)
    return try LlamaCheckpoint(configuration: configuration, source: RandomModel(configuration: configuration, seed: seed))
  }

  static func windows(_ count: Int, seed: UInt64) -> [[Int]] {
    var random = Generator(state: seed)
    return (0..<count).map { _ in (0..<window).map { _ in Int.random(in: 0..<50, using: &random) } }
  }

  static func temporaryFolder() -> String? {
    var template = Array("/tmp/tessera-quality-XXXXXX".utf8CString)
    return mkdtemp(&template).map { String(cString: $0) }
  }

  private var shapes: [(name: String, shape: [Int])] {
    let hidden = configuration.hiddenSize
    var all = [("model.embed_tokens.weight", [configuration.vocabularySize, hidden]), ("model.norm.weight", [hidden])]
    for layer in 0..<configuration.layerCount {
      all.append(("model.layers.\(layer).input_layernorm.weight", [hidden]))
      all.append(("model.layers.\(layer).post_attention_layernorm.weight", [hidden]))
    }
    for place in configuration.places where place != .head {
      let (outputs, inputs) = configuration.shape(of: place)
      all.append(("model.\(place).weight", [outputs, inputs]))
    }
    return all
  }

  var names: [String] { shapes.map(\.name) }

  func shape(of name: String) throws(WeightFileError) -> [Int] {
    guard let shape = shapes.first(where: { $0.name == name })?.shape else {
      throw .missingTensor(file: path, tensor: name)
    }
    return shape
  }

  func bfloat16(_ name: String) throws(WeightFileError) -> [BFloat16] { try float32(name).map { BFloat16($0) } }

  func float32(_ name: String) throws(WeightFileError) -> [Float] {
    let shape = try shape(of: name)
    let place = UInt64(names.firstIndex(of: name) ?? 0)
    var random = Generator(state: seed &* 1000 &+ place)
    let scale: Float = shape.count == 1 ? 0.1 : 1.7 / Float(shape[1]).squareRoot()
    let offset: Float = shape.count == 1 ? 1 : 0
    return (0..<shape.reduce(1, *)).map { _ in Float(BFloat16(offset + scale * Float.random(in: -1...1, using: &random))) }
  }

  /// SplitMix64.
  private struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
  }
}
