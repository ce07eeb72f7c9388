import Tessera
import TesseraCalibration
import Testing

@testable import TesseraCompression

/// Factors on their way into attention.
@Suite struct PaluAttentionTests {
  private static func factors(hasBias: Bool) throws -> LowRankFactors {
    let heads = try HeadGroups(heads: 4, headDimension: 8, .perGroup(heads: 2))
    let groups = [5, 12].map { rank in
      LowRankFactors.Group(
        rank: rank, a: randomFloats(20 * rank, seed: UInt64(rank)), b: randomFloats(rank * 16, seed: UInt64(2 * rank)))
    }
    return try LowRankFactors(
      inputs: 20, heads: heads, groups: groups, bias: hasBias ? randomFloats(32, seed: 7) : nil)
  }

  @Test func liftMatricesServeAttention() throws {
    let factors = try PaluAttentionTests.factors(hasBias: true)
    let matrices = factors.liftMatrices()
    #expect(matrices.map(\.count) == [80, 192])
    #expect(matrices[1][3 * 12 + 4] == factors.groups[1].b[4 * 16 + 3])
    let shape = try AttentionShape(queryHeads: 8, keyValueHeads: 4, keyDimension: 8)
    let keys = try LatentKeys(
      matrices, ranks: factors.ranks, bias: factors.bias, rotary: RotaryEmbedding(rotated: 8, theta: 10000), shape: shape)
    #expect(keys.headsPerGroup == 2)
    #expect(try LatentValues(matrices, ranks: factors.ranks, bias: factors.bias, shape: shape).ranks == [5, 12])
  }

  /// Rebuilding values, lifting sums of latents, and the fused projection give the same output.
  @Test(arguments: [4, 8], [false, true])
  func fusedOutputsAreThoseOfRebuiltValues(queryHeads: Int, hasBias: Bool) throws {
    let (tokens, hidden) = (9, 6)
    let factors = try PaluAttentionTests.factors(hasBias: hasBias)
    let projection = randomFloats(hidden * queryHeads * 8, seed: 3)
    let fused = try factors.fused(into: projection.span, hidden: hidden, queryHeads: queryHeads)
    #expect(fused.inputs == queryHeads / 2 * (5 + 12))
    #expect((fused.bias != nil) == hasBias)
    for pool in try pools() {
      #expect(try factors.fused(into: projection.span, hidden: hidden, queryHeads: queryHeads, on: pool) == fused)
    }

    var values = [Double](repeating: 0, count: queryHeads * 8)
    var sums: [Double] = []
    let shared = queryHeads / 4
    for query in 0..<queryHeads {
      let group = factors.groups[query / shared / 2]
      var random = SeededGenerator(seed: UInt64(query + 50))
      let weights = (0..<tokens).map { _ in random.uniform() }
      let total = weights.reduce(0, +)
      var sum = [Double](repeating: 0, count: group.rank)
      for token in 0..<tokens {
        let x = randomFloats(20, seed: UInt64(token + 100))
        var latent = [Double](repeating: 0, count: group.rank)
        for input in 0..<20 {
          for channel in 0..<group.rank { latent[channel] += Double(x[input]) * Double(group.a[input * group.rank + channel]) }
        }
        for channel in 0..<group.rank { sum[channel] += weights[token] / total * latent[channel] }
      }
      for element in 0..<8 {
        let output = query / shared % 2 * 8 + element
        var value = Double(factors.bias?[query / shared * 8 + element] ?? 0)
        for channel in 0..<group.rank { value += sum[channel] * Double(group.b[channel * 16 + output]) }
        values[query * 8 + element] = value
      }
      sums += sum
    }
    for row in 0..<hidden {
      var (rebuilt, direct) = (0.0, Double(fused.bias?[row] ?? 0))
      for index in values.indices { rebuilt += values[index] * Double(projection[row * values.count + index]) }
      for index in sums.indices { direct += sums[index] * Double(fused.weights[row * sums.count + index]) }
      #expect(abs(rebuilt - direct) < 1e-4, "\(rebuilt), \(direct)")
    }
  }

  @Test func badProjectionsAreNamed() throws {
    let factors = try PaluAttentionTests.factors(hasBias: false)
    let projection = randomFloats(6 * 32, seed: 3)
    #expect(throws: CompressionError.invalidGrouping(heads: 6, headsPerGroup: 4)) {
      try factors.fused(into: projection.span, hidden: 6, queryHeads: 6)
    }
    #expect(throws: CompressionError.sizeMismatch(what: "output projection", expected: 160, got: 192)) {
      try factors.fused(into: projection.span, hidden: 5, queryHeads: 4)
    }
  }

  /// A product for the factors' own sake: what is wrong with each part is named.
  @Test func badFactorsAreNamed() throws {
    let good = try PaluAttentionTests.factors(hasBias: false)
    func make(_ change: (inout [LowRankFactors.Group]) -> Void, bias: [Float]? = nil) -> CompressionError? {
      var groups = good.groups
      change(&groups)
      return #expect(throws: CompressionError.self) {
        try LowRankFactors(inputs: 20, heads: good.heads, groups: groups, bias: bias)
      }
    }
    #expect(make { $0.removeLast() } == .sizeMismatch(what: "groups of factors", expected: 2, got: 1))
    #expect(make { $0[1].a.removeLast() } == .sizeMismatch(what: "A of group 1", expected: 240, got: 239))
    #expect(make { $0[0].b.removeLast() } == .sizeMismatch(what: "B of group 0", expected: 80, got: 79))
    #expect(make { $0[0].b[33] = .nan } == .nonFiniteWeight(row: 2, column: 1))
    #expect(make { $0[0] = .init(rank: 17, a: [], b: []) } == .invalidRank(group: 0, rank: 17, limit: 16))
    #expect(make({ _ in }, bias: [1]) == .sizeMismatch(what: "bias", expected: 32, got: 1))
  }
}
