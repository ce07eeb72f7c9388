/// The linear layers of a model, as in Bench/shapes: a program that is carried to another machine has them with it.
struct ModelPreset {
  struct Layer: Equatable {
    let name: String
    let outputs: Int
    let inputs: Int

    var shape: Shape { Shape(outputs: outputs, inputs: inputs) }
  }

  private(set) var name: String
  private(set) var blockCount: Int
  /// Of one block, in the order in which they run.
  let block: [Layer]
  /// Once per model, after the blocks.
  let head: Layer
  let queryHeads: Int
  let keyValueHeads: Int
  let headDimension: Int

  static let all: [ModelPreset] = [
    ModelPreset(
      "llama-3.1-8b", blocks: 32, hidden: 4096, keyValue: 1024, intermediate: 14336, vocabulary: 128256, headDimension: 128),
    ModelPreset(
      "llama-2-7b", blocks: 32, hidden: 4096, keyValue: 4096, intermediate: 11008, vocabulary: 32000, headDimension: 128),
    ModelPreset(
      "qwen2.5-7b", blocks: 28, hidden: 3584, keyValue: 512, intermediate: 18944, vocabulary: 152064, headDimension: 128),
    ModelPreset("smollm2-135m", blocks: 30, hidden: 576, keyValue: 192, intermediate: 1536, vocabulary: 49152, headDimension: 64),
  ]

  static func named(_ name: String) -> ModelPreset? { all.first { $0.name == name } }

  /// `keyValue`: width of all key heads together, which is also that of the value heads.
  private init(
    _ name: String, blocks: Int, hidden: Int, keyValue: Int, intermediate: Int, vocabulary: Int, headDimension: Int
  ) {
    self.name = name
    queryHeads = hidden / headDimension
    keyValueHeads = keyValue / headDimension
    self.headDimension = headDimension
    blockCount = blocks
    block = [
      Layer(name: "q_proj", outputs: hidden, inputs: hidden), Layer(name: "k_proj", outputs: keyValue, inputs: hidden),
      Layer(name: "v_proj", outputs: keyValue, inputs: hidden), Layer(name: "o_proj", outputs: hidden, inputs: hidden),
      Layer(name: "gate_proj", outputs: intermediate, inputs: hidden),
      Layer(name: "up_proj", outputs: intermediate, inputs: hidden),
      Layer(name: "down_proj", outputs: hidden, inputs: intermediate),
    ]
    head = Layer(name: "lm_head", outputs: vocabulary, inputs: hidden)
  }
}

/// N x K: outputs and inputs of a matrix.
struct Shape: Hashable, CustomStringConvertible {
  let outputs: Int
  let inputs: Int

  var description: String { "\(outputs)x\(inputs)" }

  /// As dense bfloat16; a Double, because arguments may ask for more than an Int holds.
  var denseBytes: Double { 2 * Double(outputs) * Double(inputs) }

  /// `14336x4096`; nil for anything else.
  init?(_ text: some StringProtocol) {
    let sides = text.split(separator: "x", omittingEmptySubsequences: false)
    guard sides.count == 2, let outputs = Int(sides[0]), let inputs = Int(sides[1]), outputs > 0, inputs > 0 else { return nil }
    self.init(outputs: outputs, inputs: inputs)
  }

  init(outputs: Int, inputs: Int) {
    self.outputs = outputs
    self.inputs = inputs
  }
}

extension ModelPreset {
  /// The same with fewer blocks, under a name that says so.
  func cut(to blocks: Int) -> ModelPreset {
    var copy = self
    if blocks != blockCount { copy.name += ", \(blocks) layers" }
    copy.blockCount = blocks
    return copy
  }

  /// Of the block's layers, each once, in the order in which they first run.
  var shapes: [Shape] {
    var seen = Set<Shape>()
    return block.map(\.shape).filter { seen.insert($0).inserted }
  }
}
