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
  private func palu(keys: Bool, values: Bool, format: KVFormat = .bf16) throws -> PaluAttention {
    let identity: [Float] = (0..<32 * 32).map { $0 % 33 == 0 ? 1 : 0 }
    return try PaluAttention(
      query: linear(query, inputs: 48), key: linear(key, inputs: 48), value: linear(value, inputs: 48),
      output: linear(output, inputs: 64), shape: shape,
      latentKeys: keys ? LatentKeys([identity], ranks: [32], rotary: rotary, shape: shape) : nil,
      latentValues: values ? LatentValues([identity], ranks: [32], shape: shape) : nil, keyFormat: keys ? format : .bf16,
      valueFormat: values ? format : .bf16)
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
    // 2 x 2 heads x 16 x rank 32 operations over 64 bytes of latents; whole keys are two rows of 16, padded to a line each.
    #expect(layer.rebuildOperations == 2048 && layer.rebuildIntensity == 32 && layer.breakEvenIntensity == 16)
    #expect(layer.denseBytesPerToken == 4 * 64 && layer.summary.contains("pay from 16 operations a byte on"))
    #expect(try layer.byteCount > dense().byteCount)

    // 32 codes of 4 bits, a scale and a zero.
    let few = try palu(keys: true, values: true, format: .affine4)
    #expect(few.bytesPerToken == 2 * 21 && few.rebuildIntensity == 2048.0 / 21 && few.breakEvenIntensity == 16)
  }

  /// Latents of values alone: whole keys, nothing to rebuild, fewer bytes.
  @Test func valuesAloneAlwaysPay() throws {
    let layer = try palu(keys: false, values: true, format: .affine4)
    #expect(layer.rebuildIntensity == 0 && layer.breakEvenIntensity == 0)
    #expect(layer.bytesPerToken == 2 * 64 + 21 && layer.denseBytesPerToken == 256)
    #expect(layer.summary.contains("149 bytes of cache for a token in place of 256, no keys to rebuild"))
    let expected = try run(dense())
    let most = expected.reduce(0) { max($0, abs($1)) }
    // Values to 4 bits: half a step of a fifteenth of their range.
    for (a, b) in zip(expected, try run(layer)) { #expect(abs(a - b) < 0.1 * most) }
  }

  @Test func layersSayWhatTheyAreMadeOf() throws {
    let layer = try palu(keys: true, values: true)
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
