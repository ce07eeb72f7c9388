import Tessera
import TesseraCalibration
import Testing

@testable import TesseraCompression

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Calibration data, a projection, and errors by their definitions.
private struct Example {
  let heads: HeadGroups
  let inputs: Int
  let tokens: Int
  let weights: [Float]
  let x: [Float]

  /// Inputs that move together, so that directions differ in energy.
  init(heads: HeadGroups, inputs: Int, tokens: Int, seed: UInt64) {
    self.heads = heads
    self.inputs = inputs
    self.tokens = tokens
    weights = randomFloats(heads.outputs * inputs, seed: seed)
    let mixture = randomFloats(inputs * inputs, seed: seed + 1)
    let causes = randomFloats(tokens * inputs, seed: seed + 2)
    x = (0..<tokens * inputs).map { index in
      let (token, input) = (index / inputs, index % inputs)
      return (0..<inputs).reduce(Float(0)) { sum, cause in
        sum + mixture[input * inputs + cause] * causes[token * inputs + cause] / Float(1 + cause)
      }
    }
  }

  func moments() throws -> SecondMoments {
    var moments = try SecondMoments(inputs: inputs)
    try moments.add(x)
    return moments
  }

  func decompose(
    ranks: [Int], minimizing objective: LowRankObjective = .weights, on pool: ThreadPool? = nil
  ) throws -> LowRankDecomposition {
    try LowRankFactors.decompose(
      weights.span, inputs: inputs, heads: heads, ranks: ranks, minimizing: objective, on: pool)
  }

  /// W - W', of the rows of a group.
  func difference(_ factors: LowRankFactors, group: Int) -> [Float] {
    let size = heads.groupOutputs * inputs
    let range = group * size..<(group + 1) * size
    return zip(weights[range], factors.product()[range]).map { $0 - $1 }
  }

  /// (W - W') x of a token, in the rows of a group.
  func errors(_ difference: [Float], token: Int) -> [Double] {
    (0..<heads.groupOutputs).map { output in
      var sum = 0.0
      for input in 0..<inputs { sum += Double(difference[output * inputs + input]) * Double(x[token * inputs + input]) }
      return sum
    }
  }

  /// ||(W - W') x||^2 in sum over the tokens.
  func outputError(_ factors: LowRankFactors, group: Int) -> Double {
    let difference = difference(factors, group: group)
    return (0..<tokens).reduce(0.0) { total, token in
      errors(difference, token: token).reduce(total) { $0 + $1 * $1 }
    }
  }
}

private func squares(_ values: [Float]) -> Double { values.reduce(0) { $0 + Double($1) * Double($1) } }

@Suite struct PaluDecompositionTests {
  private static func example(_ granularity: HeadGroups.Granularity, tokens: Int = 300, seed: UInt64 = 1) throws -> Example {
    Example(heads: try HeadGroups(heads: 4, headDimension: 8, granularity), inputs: 40, tokens: tokens, seed: seed)
  }

  private static let granularities: [HeadGroups.Granularity] = [.perHead, .perGroup(heads: 2), .joint]

  private static func ranks(_ heads: HeadGroups) -> [Int] {
    (0..<heads.groupCount).map { max(1, heads.groupOutputs / 2 - $0) }
  }

  @Test(arguments: granularities)
  func discardedSingularValuesAreTheErrorOfWeights(granularity: HeadGroups.Granularity) throws {
    let example = try PaluDecompositionTests.example(granularity)
    let ranks = PaluDecompositionTests.ranks(example.heads)
    let result = try example.decompose(ranks: ranks)
    #expect(result.factors.ranks == ranks)
    for (group, energy) in result.discardedEnergies.enumerated() {
      let error = squares(example.difference(result.factors, group: group))
      #expect(abs(error / energy - 1) < 1e-4, "group \(group): \(error), \(energy)")
    }
  }

  @Test(arguments: granularities)
  func discardedSingularValuesAreTheErrorOfOutputs(granularity: HeadGroups.Granularity) throws {
    let example = try PaluDecompositionTests.example(granularity)
    let whitening = try Whitening(example.moments())
    #expect(whitening.shift == 0)
    let ranks = PaluDecompositionTests.ranks(example.heads)
    let plain = try example.decompose(ranks: ranks)
    let whitened = try example.decompose(ranks: ranks, minimizing: .outputs(whitening))
    for (group, energy) in whitened.discardedEnergies.enumerated() {
      let error = example.outputError(whitened.factors, group: group)
      #expect(abs(error / energy - 1) < 1e-3, "group \(group): \(error), \(energy)")
      let other = example.outputError(plain.factors, group: group)
      #expect(error < 0.9 * other, "group \(group): \(error), without calibration \(other)")
    }
  }

  /// Fewer tokens than inputs: the moments have no Cholesky factor as they are.
  @Test func aShiftMakesUpForFewTokens() throws {
    let example = try PaluDecompositionTests.example(.perGroup(heads: 2), tokens: 20)
    let whitening = try Whitening(example.moments())
    #expect(whitening.shift >= 1e-3 && whitening.shift < 2e-3)
    let result = try example.decompose(ranks: [9, 7], minimizing: .outputs(whitening))
    for (group, energy) in result.discardedEnergies.enumerated() {
      let error = example.outputError(result.factors, group: group)
      let shifted = error + whitening.shift * squares(example.difference(result.factors, group: group))
      #expect(abs(shifted / energy - 1) < 1e-3, "group \(group): \(error), with the shift \(shifted), \(energy)")
    }
  }

  @Test(arguments: granularities, [300, 20, 1])
  func fullRankGivesTheWeights(granularity: HeadGroups.Granularity, tokens: Int) throws {
    let example = try PaluDecompositionTests.example(granularity, tokens: tokens)
    let whitening = try Whitening(example.moments())
    let queries = try PaluDecompositionTests.queryMoments(example, seed: 9).map { try Whitening($0) }
    let ranks = [Int](repeating: example.heads.groupOutputs, count: example.heads.groupCount)
    for objective in [LowRankObjective.weights, .outputs(whitening), .scores(whitening, queries: queries)] {
      let result = try example.decompose(ranks: ranks, minimizing: objective)
      for (weight, product) in zip(example.weights, result.factors.product()) {
        if abs(weight - product) > 1e-4 { Issue.record("\(weight) became \(product)") }
      }
      #expect(result.discardedFraction == 0)
    }
  }

  @Test func moreOutputsThanInputs() throws {
    let example = Example(heads: try HeadGroups(heads: 2, headDimension: 16, .joint), inputs: 12, tokens: 50, seed: 4)
    let result = try example.decompose(ranks: [12], minimizing: .outputs(try Whitening(example.moments())))
    #expect(result.singularValues[0].count == 12)
    #expect(squares(example.difference(result.factors, group: 0)) < 1e-6)
    #expect(throws: CompressionError.invalidRank(group: 0, rank: 13, limit: 12)) { try example.decompose(ranks: [13]) }
  }

  // MARK: Queries

  private static func queryMoments(_ example: Example, seed: UInt64) throws -> [SecondMoments] {
    try (0..<example.heads.heads).map { head in
      let dimension = example.heads.headDimension
      var moments = try SecondMoments(inputs: dimension)
      let queries = randomFloats(50 * dimension, seed: seed + UInt64(head))
      try moments.add(queries.enumerated().map { $1 * Float(1 + $0 % dimension % 5) })
      return moments
    }
  }

  /// The objective, from its definition: sum of (u . D x)^2 = trace(E D C D^T).
  private func scoreError(_ example: Example, _ factors: LowRankFactors, _ queries: [SecondMoments], group: Int) -> Double {
    let dimension = example.heads.headDimension
    let difference = example.difference(factors, group: group)
    var total = 0.0
    for token in 0..<example.tokens {
      let errors = example.errors(difference, token: token)
      for head in 0..<example.heads.headsPerGroup {
        let moments = queries[group * example.heads.headsPerGroup + head].elements
        for (i, first) in errors[head * dimension..<(head + 1) * dimension].enumerated() {
          for (j, second) in errors[head * dimension..<(head + 1) * dimension].enumerated() {
            total += moments[i * dimension + j] * first * second
          }
        }
      }
    }
    return total
  }

  @Test(arguments: granularities)
  func discardedSingularValuesAreTheErrorOfScores(granularity: HeadGroups.Granularity) throws {
    let example = try PaluDecompositionTests.example(granularity)
    let whitening = try Whitening(example.moments())
    let queries = try PaluDecompositionTests.queryMoments(example, seed: 20)
    let ranks = PaluDecompositionTests.ranks(example.heads)
    let outputs = try example.decompose(ranks: ranks, minimizing: .outputs(whitening))
    let scores = try example.decompose(
      ranks: ranks, minimizing: .scores(whitening, queries: queries.map { try Whitening($0) }))
    for (group, energy) in scores.discardedEnergies.enumerated() {
      let error = scoreError(example, scores.factors, queries, group: group)
      #expect(abs(error / energy - 1) < 1e-3, "group \(group): \(error), \(energy)")
      let other = scoreError(example, outputs.factors, queries, group: group)
      #expect(error < 0.99 * other, "group \(group): \(error), without queries \(other)")
    }
  }

  // MARK: Threads and bad input

  /// Large enough for LAPACK's own threads.
  @Test func threadsChangeNothing() throws {
    let heads = try HeadGroups(heads: 4, headDimension: 128, .perHead)
    let weights = randomFloats(heads.outputs * 768, seed: 30)
    // 1 on the diagonal, half as much with each step away from it.
    let moments = (0..<768 * 768).map { Double(sign: .plus, exponent: -abs($0 / 768 - $0 % 768), significand: 1) }
    let whitening = try Whitening(SecondMoments(inputs: 768, elements: moments))
    #expect(whitening.shift == 0)
    var fractions: [Double] = []
    let decompose = { (pool: ThreadPool?) in
      try LowRankFactors.decompose(
        weights.span, inputs: 768, heads: heads, ranks: [32, 64, 96, 128], minimizing: .outputs(whitening), on: pool,
        progress: {
          fractions.append($0)
          return true
        })
    }
    let alone = try decompose(nil)
    #expect(fractions == [0.25, 0.5, 0.75, 1])
    for pool in try pools() { #expect(try decompose(pool) == alone) }
  }

  @Test func workCanBeStopped() throws {
    let example = try PaluDecompositionTests.example(.perHead)
    #expect(throws: CompressionError.cancelled) {
      try LowRankFactors.decompose(
        example.weights.span, inputs: 40, heads: example.heads, ranks: [1, 1, 1, 1], progress: { $0 < 0.5 })
    }
  }

  @Test func zerosHaveFactors() throws {
    let heads = try HeadGroups(heads: 1, headDimension: 4, .joint)
    let zeros = [Float](repeating: 0, count: 4 * 6)
    let whitening = try Whitening(SecondMoments(inputs: 6))
    #expect(whitening.shift == 1e-3)
    let result = try LowRankFactors.decompose(
      zeros.span, inputs: 6, heads: heads, ranks: [3], minimizing: .outputs(whitening))
    #expect(result.factors.product() == zeros)
    #expect(result.discardedFraction == 0)
  }

  @Test func badInputIsNamed() throws {
    let example = try PaluDecompositionTests.example(.perGroup(heads: 2))
    let whitening = try Whitening(example.moments())
    func decompose(
      _ weights: [Float]? = nil, ranks: [Int] = [4, 4], bias: [Float]? = nil, _ objective: LowRankObjective = .weights
    ) throws {
      let weights = weights ?? example.weights
      _ = try LowRankFactors.decompose(
        weights.span, inputs: 40, heads: example.heads, ranks: ranks, bias: bias, minimizing: objective)
    }
    func expect(_ error: CompressionError, _ body: () throws -> Void) { #expect(throws: error) { try body() } }
    expect(.sizeMismatch(what: "weights to decompose", expected: 1280, got: 1279)) {
      try decompose(Array(example.weights.dropLast()))
    }
    expect(.sizeMismatch(what: "ranks", expected: 2, got: 3)) { try decompose(ranks: [4, 4, 4]) }
    expect(.invalidRank(group: 1, rank: 17, limit: 16)) { try decompose(ranks: [4, 17]) }
    expect(.invalidRank(group: 0, rank: 0, limit: 16)) { try decompose(ranks: [0, 4]) }
    expect(.sizeMismatch(what: "bias", expected: 32, got: 31)) { try decompose(bias: [Float](repeating: 0, count: 31)) }
    var weights = example.weights
    weights[83] = .nan
    expect(.nonFiniteWeight(row: 2, column: 3)) { try decompose(weights) }
    let small = try Whitening(SecondMoments(inputs: 8))
    expect(.sizeMismatch(what: "second moments of inputs", expected: 1600, got: 64)) { try decompose(nil, .outputs(small)) }
    expect(.sizeMismatch(what: "second moments of queries, of all heads", expected: 4, got: 1)) {
      try decompose(nil, .scores(whitening, queries: [small]))
    }
    expect(.sizeMismatch(what: "second moments of the queries of head 3", expected: 64, got: 1600)) {
      try decompose(nil, .scores(whitening, queries: [small, small, small, whitening]))
    }
    expect(.invalidGrouping(heads: 8, headsPerGroup: 3)) {
      _ = try HeadGroups(heads: 8, headDimension: 4, .perGroup(heads: 3))
    }
  }
}

@Suite struct PaluQueryTests {
  /// The mean of R_n M R_n^T, turn by turn.
  private func average(_ moments: SecondMoments, _ embedding: RotaryEmbedding, distances: Int) -> [Double] {
    let size = moments.inputs
    var sum = [Double](repeating: 0, count: size * size)
    for distance in 0..<distances {
      var rotation = (0..<size * size).map { $0 / size == $0 % size ? 1.0 : 0 }
      for (pair, frequency) in embedding.frequencies.enumerated() {
        let (low, high) =
          embedding.pairing == .halves ? (pair, pair + embedding.frequencies.count) : (2 * pair, 2 * pair + 1)
        let (cosine, sine) = (cos(Double(distance) * frequency), sin(Double(distance) * frequency))
        rotation[low * size + low] = cosine
        rotation[low * size + high] = -sine
        rotation[high * size + low] = sine
        rotation[high * size + high] = cosine
      }
      let half = product(rotation, moments.elements, size)
      let turned = product(half, transposed(rotation, size), size)
      for index in sum.indices { sum[index] += turned[index] / Double(distances) }
    }
    return sum
  }

  private func product(_ a: [Double], _ b: [Double], _ size: Int) -> [Double] {
    var result = [Double](repeating: 0, count: size * size)
    for row in 0..<size {
      for k in 0..<size {
        for column in 0..<size { result[row * size + column] += a[row * size + k] * b[k * size + column] }
      }
    }
    return result
  }

  private func transposed(_ a: [Double], _ size: Int) -> [Double] {
    (0..<size * size).map { a[$0 % size * size + $0 / size] }
  }

  @Test(arguments: [RotaryEmbedding.Pairing.halves, .interleaved], [1, 2, 37])
  func averagesAreThoseOfAllDistances(pairing: RotaryEmbedding.Pairing, distances: Int) throws {
    let size = 10
    var moments = try SecondMoments(inputs: size)
    try moments.add(randomFloats(20 * size, seed: 40))
    for rotated in [10, 6] {
      let embedding = try RotaryEmbedding(rotated: rotated, theta: 100, pairing: pairing)
      let averaged = try moments.averagedOverRotations(by: embedding, distances: distances)
      for (got, expected) in zip(averaged.elements, average(moments, embedding, distances: distances)) {
        #expect(abs(got - expected) < 1e-9, "\(got), not \(expected)")
      }
    }
  }

  @Test func longContextsLeaveTheEnergyOfPairs() throws {
    let size = 8
    var moments = try SecondMoments(inputs: size)
    try moments.add(randomFloats(20 * size, seed: 41))
    let embedding = try RotaryEmbedding(rotated: size, theta: 10, pairing: .halves)
    let averaged = try moments.averagedOverRotations(by: embedding, distances: 1_000_000)
    for row in 0..<size {
      for column in 0..<size {
        let pair = row % 4
        let energy = (moments.elements[pair * (size + 1)] + moments.elements[(pair + 4) * (size + 1)]) / 2
        #expect(abs(averaged.elements[row * size + column] - (row == column ? energy : 0)) < 1e-3)
      }
    }
  }

  @Test func headsMustHoldWhatTurns() throws {
    let embedding = try RotaryEmbedding(rotated: 8, theta: 100)
    for inputs in [6, 9] {
      let moments = try SecondMoments(inputs: inputs)
      #expect(throws: CompressionError.sizeMismatch(what: "elements of a head", expected: 8, got: inputs)) {
        try moments.averagedOverRotations(by: embedding, distances: 4)
      }
    }
  }
}
