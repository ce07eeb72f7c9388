internal import Tessera
internal import Testing

@testable internal import TesseraLayers

@Suite struct PaluAttentionTests {
  private static let hidden = 48

  private let shape: AttentionShape
  private let executor: Executor
  private let rotary: RotaryEmbedding
  private let query: [Float]
  private let key: [Float]
  private let value: [Float]
  private let output: [Float]

  init() throws {
    shape = try AttentionShape(queryHeads: 4, keyValueHeads: 2, keyDimension: 16)
    executor = try Executor(threads: 1)
    rotary = try RotaryEmbedding(rotated: 16, theta: 10000)
    var random = SeededGenerator(seed: 1)
    func numbers(_ count: Int) -> [Float] {
      (0..<count).map { _ in Float(BFloat16(Float.random(in: -0.2...0.2, using: &random))) }
    }
    query = numbers(64 * PaluAttentionTests.hidden)
    key = numbers(32 * PaluAttentionTests.hidden)
    value = numbers(32 * PaluAttentionTests.hidden)
    output = numbers(PaluAttentionTests.hidden * 64)
  }

  private func linear(_ weights: [Float], inputs: Int) throws -> DenseLinear {
    let rounded = weights.map { BFloat16($0) }
    return try DenseLinear(rounded.span, outputs: weights.count / inputs, inputs: inputs)
  }

  private func dense() throws -> DenseAttention {
    DenseAttention(
      query: try linear(query, inputs: 48), key: try linear(key, inputs: 48), value: try linear(value, inputs: 48),
      output: try linear(output, inputs: 64), shape: shape)
  }

  /// The same layer with latents that are the keys and values themselves: full rank, B the identity.
  private func palu(keys: Bool, values: Bool) throws -> PaluAttention {
    let identity: [Float] = (0..<32 * 32).map { $0 % 33 == 0 ? 1 : 0 }
    return try PaluAttention(
      query: linear(query, inputs: 48), key: linear(key, inputs: 48), value: linear(value, inputs: 48),
      output: linear(output, inputs: 64), shape: shape,
      latentKeys: keys ? LatentKeys([identity], ranks: [32], rotary: rotary, shape: shape) : nil,
      latentValues: values ? LatentValues([identity], ranks: [32], shape: shape) : nil)
  }

  /// Twenty tokens in one step, then one alone.
  private func run(_ layer: some AttentionLayer) throws -> [Float] {
    var states = [SequenceState(caches: [layer.makeCache()])]
    var scratch = LayerScratch()
    var result: [Float] = []
    for tokens in [20, 1] {
      let x = (0..<tokens * 48).map { Float(($0 * 7 + states[0].count) % 11) / 5 - 1 }
      let step = AttentionStep(tokens: [tokens], after: [states[0].count], rotary: rotary)
      var y = [Float](repeating: .nan, count: x.count)
      var target = y.mutableSpan
      try layer(x.span, step, states: &states, layer: 0, scratch: &scratch, into: &target, on: executor)
      result += y
    }
    #expect(states[0].count == 21)
    return result
  }

  @Test(arguments: [(true, true), (true, false), (false, true), (false, false)])
  func fullRankIsDenseAttention(keys: Bool, values: Bool) throws {
    let expected = try run(dense())
    let got = try run(palu(keys: keys, values: values))
    let most = expected.reduce(0) { max($0, abs($1)) }
    for (a, b) in zip(expected, got) { #expect(abs(a - b) < 0.02 * most) }
  }

  @Test func layersSayWhatTheyTake() throws {
    let layer = try palu(keys: true, values: true)
    #expect(layer.bytesPerToken == 2 * 64)
    #expect(layer.rebuildIntensity == 32)
    #expect(try palu(keys: false, values: true).rebuildIntensity == 0)
    #expect(try layer.byteCount > dense().byteCount)
    #expect(layer.summary.contains("[32]"))
  }

  @Test func projectionsThatDoNotFitAreNamed() throws {
    let latentValues = try LatentValues(fusedRanks: [20], shape: shape)
    #expect(throws: TesseraError.sizeMismatch(what: "outputs of the value projection", expected: 20, got: 32)) {
      try PaluAttention(
        query: linear(query, inputs: 48), key: linear(key, inputs: 48), value: linear(value, inputs: 48),
        output: linear(output, inputs: 64), shape: shape, latentKeys: nil, latentValues: latentValues)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "inputs of the output projection", expected: 80, got: 64)) {
      try PaluAttention(
        query: linear(query, inputs: 48), key: linear(key, inputs: 48), value: linear(Array(value.prefix(20 * 48)), inputs: 48),
        output: linear(output, inputs: 64), shape: shape, latentKeys: nil, latentValues: latentValues)
    }
  }
}
