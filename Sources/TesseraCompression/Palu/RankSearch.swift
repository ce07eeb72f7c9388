/// Gives away a budget of ranks: how much of each key and value projection is kept.
///
/// The budget is `ratio` of all outputs, rounded to the nearest multiple of 32; kernels read latents in steps of 32. Each group
/// first has its share of the budget in real numbers, proportional to score x outputs of the group and limited to 32 and to the
/// largest multiple of 32 within its outputs; what limits cut off or add, the others share in the same proportion. Shares are
/// then rounded down to multiples of 32, and what is left is handed out in steps of 32 by decreasing remainder, of equal ones
/// to the first. So the ranks sum up to the budget exactly. The method's authors round each share to the nearest multiple of 32
/// by itself instead, and their sum drifts off the budget.
public struct RankSearch: Sendable, Equatable {
  public enum Rule: String, Sendable, CaseIterable {
    /// All groups keep the same fraction; neighbouring multiples of 32, spread evenly, where the budget does not allow that.
    case uniform
    /// By the score of each group.
    case fisher
    /// By the mean score of each projection, whose groups all have the same rank. A step is 32 for each of its groups, so the
    /// sum stays below the budget by less than the largest step.
    case fisherUniform = "fisher_uniform"
  }

  /// A projection whose ranks are looked for.
  public struct Candidate: Sendable, Equatable {
    public let name: String
    public let heads: HeadGroups
    /// One for each group, or one for the projection; not looked at by `uniform`.
    public let scores: [Double]

    public init(name: String, heads: HeadGroups, scores: [Double] = []) {
      self.name = name
      self.heads = heads
      self.scores = scores
    }
  }

  /// Ranks are multiples of it.
  public static let step = 32

  public let rule: Rule
  /// Of all outputs, what the ranks sum up to; above 0 and at most 1.
  public let ratio: Double

  /// - Throws: `invalidOption`.
  public init(keeping ratio: Double, by rule: Rule) throws(CompressionError) {
    guard ratio > 0, ratio <= 1 else { throw .invalidOption(name: "the ratio of ranks to keep", value: ratio) }
    self.rule = rule
    self.ratio = ratio
  }

  /// - Throws: `invalidShape` for groups of fewer than 32 outputs, `sizeMismatch` and `invalidScore` naming the scores,
  ///   `unreachableBudget`.
  public func ranks(of candidates: [Candidate]) throws(CompressionError) -> RankPlan {
    var shares: [Share] = []
    for candidate in candidates { shares += try self.shares(of: candidate) }
    let outputs = candidates.reduce(0) { $0 + $1.heads.outputs }
    let step = Double(RankSearch.step)
    let budget = Int((ratio * Double(outputs) / step).rounded() * step)
    try divide(budget, among: &shares)
    if rule == .uniform { spread(over: &shares) } else { round(budget, among: &shares) }

    var rest = shares[...]
    var projections: [RankPlan.Projection] = []
    for candidate in candidates {
      let count = rule == .fisherUniform ? 1 : candidate.heads.groupCount
      let ranks = rest.prefix(count).map(\.rank)
      rest = rest.dropFirst(count)
      projections.append(
        try RankPlan.Projection(
          name: candidate.name, heads: candidate.heads,
          ranks: rule == .fisherUniform ? [Int](repeating: ranks[0], count: candidate.heads.groupCount) : ranks))
    }
    return RankPlan(projections)
  }
}

/// What gets a rank: a group, or a whole projection whose groups get equal ones.
private struct Share {
  /// By which the budget is divided.
  var weight: Double
  /// Groups that share it.
  let groups: Int
  /// Multiples of `unit`, in sums over the groups.
  let limits: ClosedRange<Int>
  /// Before rounding.
  var exact = 0.0
  /// In sum over the groups.
  var ranks = 0

  var unit: Int { groups * RankSearch.step }
  var rank: Int { ranks / groups }

  init(_ heads: HeadGroups, groups: Int, score: Double) throws(CompressionError) {
    let most = heads.groupOutputs / RankSearch.step
    guard most > 0 else {
      throw .invalidShape(what: "a group of heads", rows: heads.headsPerGroup, columns: heads.headDimension)
    }
    weight = score * Double(groups * heads.groupOutputs)
    self.groups = groups
    limits = groups * RankSearch.step...groups * RankSearch.step * most
  }
}

extension RankSearch {
  private func shares(of candidate: Candidate) throws(CompressionError) -> [Share] {
    let heads = candidate.heads
    let scores = rule == .uniform ? [Double](repeating: 1, count: heads.groupCount) : candidate.scores
    guard scores.count == heads.groupCount || (rule == .fisherUniform && scores.count == 1) else {
      throw .sizeMismatch(what: "scores of \(candidate.name)", expected: heads.groupCount, got: scores.count)
    }
    for (group, score) in scores.enumerated() where !(score >= 0 && score.isFinite) {
      throw .invalidScore(matrix: candidate.name, group: group, value: score)
    }
    if rule == .fisherUniform {
      return [try Share(heads, groups: heads.groupCount, score: scores.reduce(0, +) / Double(scores.count))]
    }
    var shares: [Share] = []
    for score in scores { shares.append(try Share(heads, groups: 1, score: score)) }
    return shares
  }

  /// Rounds each sum from the first share on down, so that steps which shares do not fill go to evenly spaced ones.
  private func spread(over shares: inout [Share]) {
    var (sum, given) = (0.0, 0)
    for index in shares.indices {
      sum += shares[index].exact
      // A share that fills its steps exactly may lie a rounding error below them.
      let target = Int((sum / Double(RankSearch.step) + 1e-6).rounded(.down)) * RankSearch.step
      shares[index].ranks = target - given
      given = target
    }
  }

  /// By the largest remainder.
  private func round(_ budget: Int, among shares: inout [Share]) {
    var remainders: [Double] = []
    for index in shares.indices {
      let steps = shares[index].exact / Double(shares[index].unit)
      shares[index].ranks = Int(steps) * shares[index].unit
      remainders.append(steps - steps.rounded(.down))
    }
    var left = budget - shares.reduce(0) { $0 + $1.ranks }
    let order = shares.indices.sorted { (remainders[$0], $1) > (remainders[$1], $0) }
    var isGiven = true
    while isGiven {
      isGiven = false
      for index in order where shares[index].unit <= left && shares[index].ranks < shares[index].limits.upperBound {
        shares[index].ranks += shares[index].unit
        left -= shares[index].unit
        isGiven = true
      }
    }
  }

  /// Sets `exact`: proportional to the weights within the limits. Of the shares beyond a limit those on the side that they
  /// exceed by more in sum are fixed there, and the rest is divided among the others, until all lie within theirs.
  private func divide(_ budget: Int, among shares: inout [Share]) throws(CompressionError) {
    let least = shares.reduce(0) { $0 + $1.limits.lowerBound }
    let most = shares.reduce(0) { $0 + $1.limits.upperBound }
    guard (least...most).contains(budget) else { throw .unreachableBudget(ranks: budget, least: least, most: most) }
    var open = Array(shares.indices)
    var left = Double(budget)
    while !open.isEmpty {
      let sum = open.reduce(0) { $0 + shares[$1].weight }
      for index in open {
        // Shares without a score are equal.
        shares[index].exact = left * (sum > 0 ? shares[index].weight / sum : 1 / Double(open.count))
      }
      let below = open.reduce(0) { $0 + max(0, Double(shares[$1].limits.lowerBound) - shares[$1].exact) }
      let above = open.reduce(0) { $0 + max(0, shares[$1].exact - Double(shares[$1].limits.upperBound)) }
      if below == 0, above == 0 { return }
      open = open.filter { index in
        let limits = shares[index].limits
        let limit = Double(below >= above ? limits.lowerBound : limits.upperBound)
        let isWithin = below >= above ? shares[index].exact >= limit : shares[index].exact <= limit
        if !isWithin {
          shares[index].exact = limit
          left -= limit
        }
        return isWithin
      }
    }
  }
}
