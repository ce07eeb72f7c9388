internal import Testing

@testable internal import Tessera

@Suite struct RotaryEmbeddingTests {
  private func rotated(_ rows: [Float], _ angles: RotaryAngles, heads: Int, dimension: Int, on pool: ThreadPool? = nil) throws
    -> [Float]
  {
    var copy = rows
    var span = copy.mutableSpan
    try angles.rotate(&span, heads: heads, dimension: dimension, on: pool)
    return copy
  }

  private func dot(_ a: [Float], _ b: [Float]) -> Double { zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) } }

  @Test(arguments: [RotaryEmbedding.Pairing.halves, .interleaved])
  func scoresDependOnTheDistanceAlone(pairing: RotaryEmbedding.Pairing) throws {
    var random = SeededGenerator(seed: 1)
    let (q, k) = ((0..<64).map { _ in Float.random(in: -1...1, using: &random) }, (0..<64).map { Float($0 % 7) - 3 })
    let embedding = try RotaryEmbedding(rotated: 64, theta: 10000, pairing: pairing)
    func score(_ queryPosition: Int, _ keyPosition: Int) throws -> Double {
      dot(
        try rotated(q, embedding.angles(at: [queryPosition]), heads: 1, dimension: 64),
        try rotated(k, embedding.angles(at: [keyPosition]), heads: 1, dimension: 64))
    }
    let near = try score(12, 5)
    for shift in [1, 31, 32, 4000, 65504] { #expect(abs(try score(12 + shift, 5 + shift) - near) < 1e-4) }
    #expect(abs(try score(12, 6) - near) > 1e-3)
    #expect(try rotated(q, embedding.angles(at: [0]), heads: 1, dimension: 64) == q)
  }

  @Test func pairingsAreTheSameButForTheOrder() throws {
    let row = (0..<16).map { Float($0 * $0 % 11) }
    let interleaved = (0..<16).map { row[$0 / 2 + $0 % 2 * 8] }
    let halves = try rotated(row, RotaryEmbedding(rotated: 16, theta: 100).angles(at: [3]), heads: 1, dimension: 16)
    let other = try rotated(
      interleaved, RotaryEmbedding(rotated: 16, theta: 100, pairing: .interleaved).angles(at: [3]), heads: 1, dimension: 16)
    let reordered: [Float] = (0..<16).map { halves[$0 / 2 + $0 % 2 * 8] }
    #expect(reordered == other)
  }

  @Test func partialRotationLeavesTheRest() throws {
    let row = (0..<40).map { Float($0 + 1) }
    let turned = try rotated(row, RotaryEmbedding(rotated: 8, theta: 10000).angles(at: [9, 10]), heads: 1, dimension: 20)
    #expect(turned[8..<20] == row[8..<20] && turned[28...] == row[28...])
    #expect(turned[..<8] != row[..<8])
  }

  /// Llama 3.1: factor 8, low 1, high 4, original context 8192: wavelengths above 8192 are divided by 8, below 2048 kept.
  @Test func llama3ScalingBlendsBetweenItsLimits() throws {
    let plain = try RotaryEmbedding(rotated: 128, theta: 500_000)
    let scaled = try RotaryEmbedding(
      rotated: 128, theta: 500_000, scaling: .llama3(factor: 8, lowFactor: 1, highFactor: 4, originalContext: 8192))
    for (before, after) in zip(plain.frequencies, scaled.frequencies) {
      let wavelength = 2 * Double.pi / before
      if wavelength > 8192 {
        #expect(abs(after / before - 0.125) < 1e-12)
      } else if wavelength < 2048 {
        #expect(after == before)
      } else {
        let a = (8192 / wavelength - 1) / 3
        #expect(abs(after - ((1 - a) * before / 8 + a * before)) < 1e-15)
      }
    }
    let linear = try RotaryEmbedding(rotated: 128, theta: 500_000, scaling: .linear(factor: 4))
    #expect(linear.frequencies[5] == plain.frequencies[5] / 4)
  }

  @Test func prunedPairsKeepTheirFrequencies() throws {
    let whole = try RotaryEmbedding(rotated: 16, theta: 10000)
    let kept = try whole.keeping(pairs: [0, 3, 5])
    #expect(kept.rotated == 6)
    #expect(kept.frequencies == [0, 3, 5].map { whole.frequencies[$0] })
    #expect(throws: TesseraError.invalidPosition(what: "of a rotated pair", position: 8, count: 8)) {
      try whole.keeping(pairs: [8])
    }
    #expect(throws: TesseraError.self) { try whole.keeping(pairs: []) }
  }

  @Test func threadsChangeNothing() throws {
    let rows = (0..<33 * 2 * 10).map { Float($0 % 13) }
    let angles = try RotaryEmbedding(rotated: 10, theta: 77).angles(at: 5..<38)
    let pool = try ThreadPool(threads: 2, allowed: 2)
    #expect(try rotated(rows, angles, heads: 2, dimension: 10, on: pool) == rotated(rows, angles, heads: 2, dimension: 10))
  }

  @Test(arguments: [0, -2, 7, 5000])
  func numbersOfElementsThatCannotBe(rotated: Int) {
    #expect(throws: TesseraError.self) { try RotaryEmbedding(rotated: rotated, theta: 10000) }
  }

  @Test(arguments: [0, -1, Double.nan, .infinity])
  func basesAndFactorsThatCannotBe(value: Double) {
    #expect(throws: TesseraError.self) { try RotaryEmbedding(rotated: 8, theta: value) }
    #expect(throws: TesseraError.self) { try RotaryEmbedding(rotated: 8, theta: 100, scaling: .linear(factor: value)) }
    #expect(throws: TesseraError.self) {
      try RotaryEmbedding(
        rotated: 8, theta: 100, scaling: .llama3(factor: 8, lowFactor: 4, highFactor: value, originalContext: 8192))
    }
  }

  @Test func rowsThatDoNotFit() throws {
    let angles = try RotaryEmbedding(rotated: 8, theta: 100).angles(at: [1, 2])
    #expect(throws: TesseraError.sizeMismatch(what: "rows to rotate", expected: 32, got: 31)) {
      try rotated([Float](repeating: 0, count: 31), angles, heads: 2, dimension: 8)
    }
    #expect(throws: TesseraError.self) { try rotated([Float](repeating: 0, count: 24), angles, heads: 2, dimension: 6) }
  }
}
