import Testing

@testable import TesseraCompression

@Suite struct PaluRankTests {
  private typealias Candidate = RankSearch.Candidate

  /// Keys and values of a model like Llama-3.1-8B, values with higher scores and later layers with lower ones.
  private static func candidates(
    layers: Int = 32, _ granularity: HeadGroups.Granularity = .perGroup(heads: 4), seed: UInt64 = 1
  ) throws -> [RankSearch.Candidate] {
    let heads = try HeadGroups(heads: 8, headDimension: 128, granularity)
    var random = SeededGenerator(seed: seed)
    return (0..<2 * layers).map { index in
      let isValue = index % 2 == 1
      return RankSearch.Candidate(
        name: "model.layers.\(index / 2).self_attn.\(isValue ? "v" : "k")_proj", heads: heads,
        scores: (0..<heads.groupCount).map { _ in (isValue ? 3 : 1) * (0.3 + random.uniform()) / Double(2 + index / 2) })
    }
  }

  private static let ratios = [0.1, 0.25, 0.3, 0.5, 0.7, 0.9, 1]

  @Test(arguments: RankSearch.Rule.allCases, ratios)
  func ranksSumUpToTheBudget(rule: RankSearch.Rule, ratio: Double) throws {
    let candidates = try PaluRankTests.candidates()
    let plan = try RankSearch(keeping: ratio, by: rule).ranks(of: candidates)
    let outputs = candidates.count * 1024
    let budget = Int((ratio * Double(outputs) / 32).rounded()) * 32
    if rule == .fisherUniform {
      #expect(plan.rankSum <= budget && plan.rankSum > budget - 64, "\(plan.rankSum) of \(budget)")
    } else {
      #expect(plan.rankSum == budget)
    }
    #expect(abs(plan.keptRatio - ratio) < 64 / Double(outputs))
    #expect(plan.projections.map(\.name) == candidates.map(\.name))
    for rank in plan.projections.flatMap(\.ranks) { #expect(rank % 32 == 0 && (32...512).contains(rank)) }
    if rule == .fisherUniform {
      for projection in plan.projections { #expect(Set(projection.ranks).count == 1) }
    }
  }

  /// Rounding each by itself, as the authors' code does, misses the same budget.
  @Test func eachByItselfWouldDrift() throws {
    let candidates = try PaluRankTests.candidates(layers: 12, .perHead, seed: 3)
    let plan = try RankSearch(keeping: 0.6, by: .fisher).ranks(of: candidates)
    let scores = candidates.flatMap(\.scores)
    let budget = 0.6 * Double(scores.count * 128)
    let sum = scores.reduce(0, +)
    let rounded = scores.map { score in
      let share = min(128, budget * score / sum)
      return max(32, Int((share / 32).rounded(.toNearestOrEven)) * 32)
    }
    #expect(plan.rankSum == Int((budget / 32).rounded()) * 32)
    #expect(abs(Double(rounded.reduce(0, +)) - budget) > 1000, "\(rounded.reduce(0, +)) of \(budget)")
  }

  @Test(arguments: [0.25, 0.5, 0.625, 0.75, 1])
  func uniformRanksAreEqual(ratio: Double) throws {
    let plan = try RankSearch(keeping: ratio, by: .uniform).ranks(of: PaluRankTests.candidates())
    #expect(Set(plan.projections.flatMap(\.ranks)) == [Int(512 * ratio)])
  }

  /// 0.7 of 128 is 2.8 steps.
  @Test func uniformRanksAreSpreadEvenly() throws {
    let candidates = try PaluRankTests.candidates(layers: 10, .perHead)
    let plan = try RankSearch(keeping: 0.7, by: .uniform).ranks(of: candidates)
    for projection in plan.projections { #expect(abs(Double(projection.rankSum) - 716.8) < 32) }
    #expect(Set(plan.projections.flatMap(\.ranks)) == [64, 96])
    #expect(plan.rankSum == 14336)
  }

  @Test func ranksFollowScores() throws {
    let heads = try HeadGroups(heads: 4, headDimension: 128, .perHead)
    let candidate = Candidate(name: "k", heads: heads, scores: [1, 2, 3, 4])
    #expect(try RankSearch(keeping: 0.625, by: .fisher).ranks(of: [candidate]).projections[0].ranks == [32, 64, 96, 128])
    // 19.2, 38.4, 57.6, 76.8 of 192: the first is lifted to 32, the others share 160 as 2 : 3 : 4.
    #expect(try RankSearch(keeping: 0.375, by: .fisher).ranks(of: [candidate]).projections[0].ranks == [32, 32, 64, 64])
    // 38.4, 76.8, 115.2, 153.6 of 384: the last is cut to 128, the others share 256 as 1 : 2 : 3.
    #expect(try RankSearch(keeping: 0.75, by: .fisher).ranks(of: [candidate]).projections[0].ranks == [32, 96, 128, 128])
  }

  @Test func groupsOfDifferentSizesKeepTheSameFractionAtTheSameScore() throws {
    let keys = Candidate(name: "k", heads: try HeadGroups(heads: 8, headDimension: 128, .perHead), scores: [2])
    let values = Candidate(name: "v", heads: try HeadGroups(heads: 8, headDimension: 128, .joint), scores: [2])
    let plan = try RankSearch(keeping: 0.5, by: .fisherUniform).ranks(of: [keys, values])
    #expect(plan["k"]?.ranks == [Int](repeating: 64, count: 8))
    #expect(plan["v"]?.ranks == [512])
    #expect(plan["q"] == nil)
    #expect(plan.keptRatio == 0.5)
  }

  @Test func scoresOfZeroAreEqual() throws {
    let heads = try HeadGroups(heads: 4, headDimension: 128, .perHead)
    let silent = Candidate(name: "k", heads: heads, scores: [0, 0, 0, 0])
    #expect(try RankSearch(keeping: 0.5, by: .fisher).ranks(of: [silent]).projections[0].ranks == [64, 64, 64, 64])
    let one = Candidate(name: "k", heads: heads, scores: [0, 0, 5, 0])
    #expect(try RankSearch(keeping: 0.75, by: .fisher).ranks(of: [one]).projections[0].ranks == [96, 96, 128, 64])
  }

  /// Heads of 80: two steps of 32 at most.
  @Test func ranksStayWithinOddHeads() throws {
    let heads = try HeadGroups(heads: 2, headDimension: 80, .perHead)
    let candidate = Candidate(name: "k", heads: heads, scores: [1, 9])
    #expect(try RankSearch(keeping: 0.6, by: .fisher).ranks(of: [candidate]).projections[0].ranks == [32, 64])
    #expect(throws: CompressionError.unreachableBudget(ranks: 160, least: 64, most: 128)) {
      try RankSearch(keeping: 1, by: .fisher).ranks(of: [candidate])
    }
    #expect(throws: CompressionError.unreachableBudget(ranks: 32, least: 64, most: 128)) {
      try RankSearch(keeping: 0.2, by: .uniform).ranks(of: [candidate])
    }
  }

  @Test func badInputIsNamed() throws {
    let heads = try HeadGroups(heads: 4, headDimension: 128, .perHead)
    func search(_ scores: [Double], _ rule: RankSearch.Rule) throws {
      _ = try RankSearch(keeping: 0.5, by: rule).ranks(of: [Candidate(name: "k", heads: heads, scores: scores)])
    }
    for ratio in [0, -0.5, 1.01, .nan] {
      #expect(throws: CompressionError.self) { try RankSearch(keeping: ratio, by: .uniform) }
    }
    #expect(throws: CompressionError.invalidScore(matrix: "k", group: 2, value: -1)) { try search([1, 1, -1, 1], .fisher) }
    #expect(throws: CompressionError.invalidScore(matrix: "k", group: 0, value: .infinity)) {
      try search([.infinity], .fisherUniform)
    }
    #expect(throws: CompressionError.sizeMismatch(what: "scores of k", expected: 4, got: 1)) { try search([1], .fisher) }
    #expect(throws: CompressionError.sizeMismatch(what: "scores of k", expected: 4, got: 0)) { try search([], .fisherUniform) }
    let narrow = try HeadGroups(heads: 4, headDimension: 16, .perHead)
    #expect(throws: CompressionError.invalidShape(what: "a group of heads", rows: 1, columns: 16)) {
      try RankSearch(keeping: 0.5, by: .uniform).ranks(of: [Candidate(name: "k", heads: narrow)])
    }
  }
}
