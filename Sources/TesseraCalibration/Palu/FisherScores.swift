internal import Tessera
public import TesseraCompression
internal import TesseraLayers
public import TesseraModels

/// How much each head of the key and value projections matters for a model's loss: Fisher information, from a backward pass over
/// windows of a calibration text (Palu, arXiv 2407.21118).
///
///     F = sqrt(mean over windows of (dL/dW)^2), element by element; a head's score is the mean of F over its rows of W
///
/// L being the mean of -log p(next token) over a window. Weights are the checkpoint's in single precision; every layer is
/// computed forwards a second time on the way back, so that memory holds what goes into each layer, not what is in it.
public struct FisherScores: Sendable, Equatable {
  /// For each layer the score of each key-value head.
  public let keys: [[Double]]
  /// The same of the value projections.
  public let values: [[Double]]

  /// - Parameters:
  ///   - ids: a text, encoded. It is cut into windows, of which those of a single token predict nothing and are left out.
  ///   - window: tokens of a window.
  ///   - progress: called with the part of the work that is done.
  /// - Throws: what is wrong with the model; `noPredictions` for a text of fewer than two tokens.
  public init(
    of checkpoint: LlamaCheckpoint, text ids: some Collection<Int>, window: Int, progress: (_ fraction: Double) -> Void = { _ in }
  ) throws(ModelCompressionError) {
    var pass = try FisherPass(checkpoint)
    let windows = try pass.windows(ids, of: window)
    guard !windows.isEmpty else { throw .noPredictions }
    let size = FisherPass.windowsOfBatch(checkpoint.configuration, window: window)
    for first in stride(from: 0, to: windows.count, by: size) {
      let batch = windows[first..<min(first + size, windows.count)]
      let share = Double(batch.count) / Double(windows.count)
      try pass.add(Array(batch)) { progress(Double(first) / Double(windows.count) + share * $0) }
    }
    let shape = checkpoint.configuration.attention
    func scores(_ squares: [[Float]]) -> [[Double]] {
      squares.map { FisherScores.means($0, heads: shape.keyValueHeads, windows: windows.count) }
    }
    keys = scores(pass.keySquares)
    values = scores(pass.valueSquares)
  }

  /// All heads alike: for what can be said of a recipe before there are scores.
  init(equalIn configuration: LlamaConfiguration) {
    let layer = [Double](repeating: 1, count: configuration.attention.keyValueHeads)
    keys = Array(repeating: layer, count: configuration.layerCount)
    values = keys
  }

  private static func means(_ squares: [Float], heads: Int, windows: Int) -> [Double] {
    let count = squares.count / heads
    return (0..<heads).map { head in
      let sum = squares[head * count..<(head + 1) * count].reduce(0.0) { $0 + (Double($1) / Double(windows)).squareRoot() }
      return sum / Double(count)
    }
  }

  /// Scores of groups of heads, for the rank search: the means of their heads'.
  public func rankScores(headsPerGroupOfKeys: Int, headsPerGroupOfValues: Int) -> RankScores {
    var scores: [String: [Double]] = [:]
    for (projection, layers, heads) in [
      (LlamaProjection.key, keys, headsPerGroupOfKeys), (.value, values, headsPerGroupOfValues),
    ] {
      for (layer, own) in layers.enumerated() {
        scores[PackedModelNames.stem(.layer(layer, projection))] = stride(from: 0, to: own.count, by: heads).map { first in
          let group = own[first..<min(first + heads, own.count)]
          return group.reduce(0, +) / Double(group.count)
        }
      }
    }
    return RankScores(scores)
  }
}

/// Runs `body`; what an operation refuses, the model refuses.
private func computing<Value>(_ body: () throws(TesseraError) -> Value) throws(ModelCompressionError) -> Value {
  do { return try body() } catch { throw .model(.operation(error)) }
}

/// The sums of squared gradients so far.
struct FisherPass {
  private let checkpoint: LlamaCheckpoint
  private let embedding: [Float]
  private let loss: NextTokenLoss
  private(set) var keySquares: [[Float]]
  private(set) var valueSquares: [[Float]]

  private var configuration: LlamaConfiguration { checkpoint.configuration }

  init(_ checkpoint: LlamaCheckpoint) throws(ModelCompressionError) {
    self.checkpoint = checkpoint
    let configuration = checkpoint.configuration
    (embedding, loss) = try modelling { () throws(ModelError) in
      let norm = RMSNorm(weight: try checkpoint.outputNorm(), epsilon: configuration.normEpsilon)
      let head = Rows(try checkpoint.float32(of: .head), width: configuration.hiddenSize)
      return (try checkpoint.float32Embedding(), NextTokenLoss(norm: norm, head: head))
    }
    func zeros(_ projection: LlamaProjection) -> [[Float]] {
      let (outputs, inputs) = configuration.shape(of: projection)
      return Array(repeating: Array(repeating: 0, count: outputs * inputs), count: configuration.layerCount)
    }
    keySquares = zeros(.key)
    valueSquares = zeros(.value)
  }

  /// Bytes of rows between layers that are kept at a time.
  private static let mostKeptBytes = 1 << 30

  /// Windows that go through the layers together, each of which is read twice for them.
  static func windowsOfBatch(_ configuration: LlamaConfiguration, window: Int) -> Int {
    let bytes = MemoryLayout<Float>.stride * window * configuration.hiddenSize * configuration.layerCount
    return max(1, mostKeptBytes / bytes)
  }

  func windows(_ ids: some Collection<Int>, of window: Int) throws(ModelCompressionError) -> [[Int]] {
    let ids = Array(ids)
    for id in ids where !(0..<configuration.vocabularySize).contains(id) {
      throw .model(.invalidToken(token: id, vocabularySize: configuration.vocabularySize))
    }
    return stride(from: 0, to: ids.count, by: window).map { Array(ids[$0..<min($0 + window, ids.count)]) }.filter { $0.count > 1 }
  }

  /// Forwards, the loss, and backwards.
  mutating func add(_ windows: [[Int]], progress: (Double) -> Void) throws(ModelCompressionError) {
    let layers = configuration.layerCount
    var x = windows.map(embedded)
    var inputs: [[Rows]] = []
    for index in 0..<layers {
      let layer = try layer(index)
      inputs.append(x)
      for window in x.indices { x[window] = try forward(layer, x[window]).y }
      progress(Double(index + 1) / Double(4 * layers))
    }
    var gradients = zip(x, windows).map { loss($0, tokens: $1).gradient }
    for index in (0..<layers).reversed() {
      let layer = try layer(index)
      for window in gradients.indices {
        let pass = try forward(layer, inputs[index][window])
        let result = try computing { () throws(TesseraError) in try layer.backward(pass, gradients[window]) }
        gradients[window] = result.x
        addSquares(result.key, to: &keySquares[index])
        addSquares(result.value, to: &valueSquares[index])
      }
      inputs.removeLast()
      progress(1 - 3 * Double(index) / Double(4 * layers))
    }
  }

  private func embedded(_ tokens: [Int]) -> Rows {
    let width = configuration.hiddenSize
    return Rows(tokens.flatMap { embedding[$0 * width..<($0 + 1) * width] }, width: width)
  }

  private func layer(_ index: Int) throws(ModelCompressionError) -> DifferentiableLayer {
    DifferentiableLayer(try modelling { () throws(ModelError) in try LayerSource(checkpoint, layer: index) })
  }

  private func forward(_ layer: DifferentiableLayer, _ x: Rows) throws(ModelCompressionError) -> DifferentiableLayer.Pass {
    try computing { () throws(TesseraError) in try layer.forward(x) }
  }

  private func addSquares(_ gradient: Rows, to sums: inout [Float]) {
    for i in sums.indices { sums[i] += gradient.values[i] * gradient.values[i] }
  }
}
