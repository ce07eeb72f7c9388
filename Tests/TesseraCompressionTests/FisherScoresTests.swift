import Tessera
import TesseraCompression
import TesseraModels
import Testing

@testable import TesseraCalibration

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Gradients of the loss by key and value projections, and the scores that they become.
@Suite struct FisherScoresTests {
  private static let text = (0..<40).map { ($0 * $0 + 3 * $0) % 97 }

  /// A window's squared gradients, layer by layer.
  private func squares(_ checkpoint: LlamaCheckpoint, _ windows: [[Int]]) throws -> (keys: [[Float]], values: [[Float]]) {
    var pass = try FisherPass(checkpoint)
    try pass.add(windows) { _ in }
    return (pass.keySquares, pass.valueSquares)
  }

  /// Central differences of the same loss, computed in double.
  @Test(arguments: ["llama", "qwen2"])
  func gradientsAreThoseOfFiniteDifferences(type: String) throws {
    let folder = try TestCheckpoint(type)
    let checkpoint = try LlamaCheckpoint(path: folder.path)
    let tokens = Array(FisherScoresTests.text.prefix(9))
    let (keys, values) = try squares(checkpoint, [tokens])
    var model = try LossInDouble(checkpoint)
    var random = SeededGenerator(seed: 5)
    for layer in 0..<2 {
      for (projection, squares) in [(LlamaProjection.key, keys[layer]), (.value, values[layer])] {
        let largest = Double(squares.max() ?? 0).squareRoot()
        #expect(largest > 1e-4)
        let places = [squares.firstIndex(of: squares.max() ?? 0) ?? 0] + (0..<6).map { _ in Int(random.next() % 4096) }
        for place in places {
          let step = 1e-4
          func loss(_ sign: Double) -> Double {
            model.change(layer, projection, place, by: sign * step)
            defer { model.change(layer, projection, place, by: -sign * step) }
            return model.loss(tokens)
          }
          let difference = (loss(1) - loss(-1)) / (2 * step)
          let gradient = Double(squares[place]).squareRoot()
          #expect(abs(abs(difference) - gradient) < 1e-4 * largest + 1e-3 * gradient, "\(layer), \(projection), \(place)")
        }
      }
    }
  }

  @Test func lossesAgree() throws {
    let folder = try TestCheckpoint()
    let checkpoint = try LlamaCheckpoint(path: folder.path)
    let tokens = Array(FisherScoresTests.text.prefix(20))
    let executor = try Executor(threads: 1)
    var runner = LlamaRunner(try LlamaModel(checkpoint, on: executor), on: executor)
    var state = runner.model.makeState()
    let logits = try runner.forward(tokens, continuing: &state, logits: .all)
    var sum = 0.0
    for (row, target) in tokens.dropFirst().enumerated() {
      let z = logits[row * 97..<(row + 1) * 97].map(Double.init)
      let largest = z.max() ?? 0
      sum += largest + log(z.reduce(0) { $0 + exp($1 - largest) }) - z[target]
    }
    let loss = try LossInDouble(checkpoint).loss(tokens)
    #expect(abs(loss - sum / 19) < 0.02)
  }

  /// F is the root of the mean over windows; a head's score the mean over its rows; a window of one token is left out.
  @Test func scoresAreMeansOfRoots() throws {
    let folder = try TestCheckpoint()
    let checkpoint = try LlamaCheckpoint(path: folder.path)
    let text = Array(FisherScoresTests.text.prefix(25))
    let one = try squares(checkpoint, [Array(text[0..<12])]), two = try squares(checkpoint, [Array(text[12..<24])])
    var fractions: [Double] = []
    let scores = try FisherScores(of: checkpoint, text: text, window: 12) { fractions.append($0) }
    for layer in 0..<2 {
      for head in 0..<2 {
        func mean(_ a: [[Float]], _ b: [[Float]]) -> Double {
          (head * 2048..<(head + 1) * 2048).reduce(0.0) {
            $0 + ((Double(a[layer][$1]) + Double(b[layer][$1])) / 2).squareRoot()
          } / 2048
        }
        #expect(abs(scores.keys[layer][head] / mean(one.keys, two.keys) - 1) < 1e-5)
        #expect(abs(scores.values[layer][head] / mean(one.values, two.values) - 1) < 1e-5)
      }
    }
    #expect(fractions == fractions.sorted() && fractions.last == 1)
    #expect(try FisherScores(of: checkpoint, text: text, window: 12) == scores)

    let ranks = scores.rankScores(headsPerGroupOfKeys: 1, headsPerGroupOfValues: 2)
    #expect(ranks.scores["model.layers.1.self_attn.k_proj"] == scores.keys[1])
    #expect(ranks.scores["model.layers.0.self_attn.v_proj"] == [(scores.values[0][0] + scores.values[0][1]) / 2])
    let file = folder.file("scores.json")
    let output = try OutputFile(path: file)
    try output.write(Array(ranks.json.utf8))
    try output.commit()
    #expect(try RankScores(path: file).scores == ranks.scores)
  }

  @Test func textsThatPredictNothingAreRefused() throws {
    let folder = try TestCheckpoint()
    let checkpoint = try LlamaCheckpoint(path: folder.path)
    #expect(throws: ModelCompressionError.noPredictions) { try FisherScores(of: checkpoint, text: [3], window: 8) }
    #expect(throws: ModelCompressionError.noPredictions) { try FisherScores(of: checkpoint, text: [3, 4, 5], window: 1) }
    #expect(throws: ModelCompressionError.model(.invalidToken(token: 97, vocabularySize: 97))) {
      try FisherScores(of: checkpoint, text: [3, 97], window: 8)
    }
  }

  private static let recipe = Recipe(
    name: "fisher", keys: Recipe.LowRank(ratio: 0.75, headsPerGroup: 2, rule: .fisherUniform),
    values: Recipe.LowRank(ratio: 0.75, headsPerGroup: 2, objective: .weights, rule: .fisher),
    calibration: Recipe.Calibration(tokens: 40, window: 20))

  private static func compress(
    _ folder: String, to output: String, scores: RankScores? = nil, text: [Int] = text,
    progress: @escaping (ModelCompression.Progress) -> Void = { _ in }
  ) throws -> CompressionReport {
    let checkpoint = try LlamaCheckpoint(path: folder)
    let compression = try ModelCompression(
      checkpoint, files: ModelFiles(of: checkpoint), recipe: recipe, calibration: text, scores: scores,
      on: Executor(threads: 1))
    return try compression.run(to: output, progress: progress)
  }

  /// A recipe whose ranks go by scores gets them from its text: those that a file of the same scores gives.
  @Test func recipesComputeTheirScores() throws {
    let folder = try TestCheckpoint()
    let checkpoint = try LlamaCheckpoint(path: folder.path)
    let scores = try FisherScores(of: checkpoint, text: Self.text, window: 20)
    let given = scores.rankScores(headsPerGroupOfKeys: 2, headsPerGroupOfValues: 2)
    let report = try Self.compress(folder.path, to: folder.file("computed"))
    #expect(try Self.compress(folder.path, to: folder.file("given"), scores: given).caches == report.caches)
    let keys = report.caches.map { $0.keys.ranks?.first ?? 0 }, means = scores.keys.map { $0[0] + $0[1] }
    #expect(keys == (means[0] > means[1] ? [64, 32] : [32, 64]))
    #expect(try Recipe(parsing: Self.recipe.json, file: "r").needsScores)
    let error = #expect(throws: ModelCompressionError.self) {
      try Self.compress(folder.path, to: folder.file("none"), text: [])
    }
    #expect(error == .noCalibration(recipe: "fisher"))
  }

  /// One budget for keys and values: three quarters of 256 outputs, least where scores are least.
  @Test func keysAndValuesShareABudget() throws {
    let folder = try TestCheckpoint()
    var recipe = Self.recipe
    recipe.values = Recipe.LowRank(ratio: 0.75, headsPerGroup: 2, rule: .fisherUniform)
    recipe.sharesRanks = true
    let scores = RankScores([
      "model.layers.0.self_attn.k_proj": [1], "model.layers.1.self_attn.k_proj": [2], "model.layers.0.self_attn.v_proj": [9],
      "model.layers.1.self_attn.v_proj": [8],
    ])
    let checkpoint = try LlamaCheckpoint(path: folder.path)
    let compression = try ModelCompression(
      checkpoint, files: ModelFiles(of: checkpoint), recipe: recipe, calibration: Self.text, scores: scores,
      on: Executor(threads: 1))
    let caches = try compression.run(to: folder.file("out")).caches
    #expect(caches.map(\.keys.ranks) == [[32], [32]] && caches.map(\.values.ranks) == [[64], [64]])
  }

  @Test func scoresSurviveAnInterruption() async throws {
    let folder = try TestCheckpoint()
    _ = try Self.compress(folder.path, to: folder.file("whole"))
    setenv("TESSERA_TEST_FISHER_MODEL", folder.path, 1)
    await #expect(processExitsWith: .signal(SIGKILL)) {
      let path = try #require(getenv("TESSERA_TEST_FISHER_MODEL").map { String(cString: $0) })
      _ = try FisherScoresTests.compress(path, to: "\(path)/out") { progress in
        if progress.what.contains("layer") { kill(getpid(), SIGKILL) }
      }
    }
    let first = First()
    _ = try Self.compress(folder.path, to: folder.file("out")) { first.note($0) }
    #expect(first.reused == 0.5 && first.what?.contains("Fisher") == false, "\(String(describing: first.what))")
    let (one, other) = (try MappedFile(path: folder.file("whole")), try MappedFile(path: folder.file("out")))
    #expect(one.bytes.elementsEqual(other.bytes))
    #expect(!folder.contents.contains { $0.hasSuffix(".layers") }, "\(folder.contents)")
  }
}

/// What is reported first.
private final class First: @unchecked Sendable {
  // Sendable because one thread alone uses it.
  private(set) var what: String?
  private(set) var reused = 0.0

  func note(_ progress: ModelCompression.Progress) {
    guard what == nil else { return }
    (what, reused) = (progress.what, progress.reused)
  }
}

/// The loss of a model as its definition reads: plain loops in double.
private struct LossInDouble {
  private let configuration: LlamaConfiguration
  private var layers: [[LlamaProjection: [Double]]] = []
  private var biases: [[LlamaProjection: [Double]]] = []
  private var norms: [(attention: [Double], feedForward: [Double])] = []
  private let outputNorm, embedding: [Double]

  init(_ checkpoint: LlamaCheckpoint) throws {
    configuration = checkpoint.configuration
    embedding = try checkpoint.float32Embedding().map(Double.init)
    outputNorm = try checkpoint.outputNorm().map(Double.init)
    for layer in 0..<configuration.layerCount {
      var (weights, bias): ([LlamaProjection: [Double]], [LlamaProjection: [Double]]) = ([:], [:])
      for projection in LlamaProjection.allCases {
        weights[projection] = try checkpoint.float32(of: .layer(layer, projection)).map(Double.init)
        bias[projection] = try checkpoint.bias(of: .layer(layer, projection))?.map(Double.init)
      }
      layers.append(weights)
      biases.append(bias)
      norms.append(
        (
          try checkpoint.attentionNorm(ofLayer: layer).map(Double.init),
          try checkpoint.feedForwardNorm(ofLayer: layer).map(Double.init)
        ))
    }
  }

  mutating func change(_ layer: Int, _ projection: LlamaProjection, _ index: Int, by step: Double) {
    layers[layer][projection]?[index] += step
  }

  func loss(_ tokens: [Int]) -> Double {
    let hidden = configuration.hiddenSize
    var x = tokens.map { Array(embedding[$0 * hidden..<($0 + 1) * hidden]) }
    for layer in layers.indices {
      let h = x.map { normalized($0, norms[layer].attention) }
      let attended = attention(layer, h)
      for row in x.indices { x[row] = zip(x[row], linear(layer, .output, attended[row])).map { $0 + $1 } }
      for row in x.indices {
        let g = normalized(x[row], norms[layer].feedForward)
        let gated = zip(linear(layer, .gate, g), linear(layer, .up, g)).map { $0 / (1 + exp(-$0)) * $1 }
        x[row] = zip(x[row], linear(layer, .down, gated)).map { $0 + $1 }
      }
    }
    let losses = zip(x, tokens.dropFirst()).map { row, target in
      let z = product(embedding, normalized(row, outputNorm))
      let largest = z.max() ?? 0
      return largest + log(z.reduce(0) { $0 + exp($1 - largest) }) - z[target]
    }
    return losses.reduce(0, +) / Double(losses.count)
  }

  private func attention(_ layer: Int, _ h: [[Double]]) -> [[Double]] {
    let shape = configuration.attention
    let dimension = shape.keyDimension
    let q = h.enumerated().map { turned(linear(layer, .query, $1), at: $0) }
    let k = h.enumerated().map { turned(linear(layer, .key, $1), at: $0) }
    let v = h.map { linear(layer, .value, $0) }
    return h.indices.map { token in
      (0..<shape.queryHeads).flatMap { head -> [Double] in
        let shared = head / shape.queriesPerHead * dimension
        let powers = (0...token).map { other in
          exp(
            Double(shape.scale)
              * (0..<dimension).reduce(0.0) { $0 + q[token][head * dimension + $1] * k[other][shared + $1] })
        }
        let sum = powers.reduce(0, +)
        return (0..<dimension).map { channel in (0...token).reduce(0.0) { $0 + powers[$1] / sum * v[$1][shared + channel] } }
      }
    }
  }

  private func turned(_ row: [Double], at position: Int) -> [Double] {
    let (dimension, half) = (configuration.attention.keyDimension, configuration.rotary.rotated / 2)
    var turned = row
    for head in stride(from: 0, to: row.count, by: dimension) {
      for pair in 0..<half {
        let angle = Double(position) * configuration.rotary.frequencies[pair]
        let (u, v) = (row[head + pair], row[head + pair + half])
        turned[head + pair] = u * cos(angle) - v * sin(angle)
        turned[head + pair + half] = v * cos(angle) + u * sin(angle)
      }
    }
    return turned
  }

  private func normalized(_ row: [Double], _ weight: [Double]) -> [Double] {
    let mean = row.reduce(0) { $0 + $1 * $1 } / Double(row.count)
    let factor = 1 / (mean + Double(configuration.normEpsilon)).squareRoot()
    return zip(row, weight).map { $0 * factor * $1 }
  }

  private func linear(_ layer: Int, _ projection: LlamaProjection, _ x: [Double]) -> [Double] {
    let y = product(layers[layer][projection] ?? [], x)
    return biases[layer][projection].map { zip(y, $0).map { $0 + $1 } } ?? y
  }

  private func product(_ weights: [Double], _ x: [Double]) -> [Double] {
    weights.withUnsafeBufferPointer { weights in
      x.withUnsafeBufferPointer { x in
        (0..<weights.count / x.count).map { output in
          var sum = 0.0
          var index = 0
          while index < x.count {
            sum += weights[output * x.count + index] * x[index]
            index += 1
          }
          return sum
        }
      }
    }
  }
}
