/// How a token's attention output is made of a sum of value latents, without rebuilding values.
///
/// With y = p H, the sum of a query head's value latents under its probabilities, the head adds y B Wo to the output. Decoding
/// reads every weight once per token, so the form that has fewer weights is faster.
public enum ValueForm: String, Sendable, Hashable, CaseIterable {
  /// y (B Wo), multiplied out offline for each query head: `queryHeads x rank x hidden` weights.
  case fused
  /// (y B) Wo: `keyValueHeads x rank x headDimension` weights of B and `queryHeads x headDimension x hidden` of Wo.
  case deferred

  /// Weights that a token reads.
  /// - Parameters:
  ///   - ranks: of the groups, each of which has as many heads as the others.
  ///   - hidden: outputs of Wo.
  public func weightCount(
    ranks: [Int], queryHeads: Int, keyValueHeads: Int, headDimension: Int, hidden: Int
  ) -> Int {
    precondition(
      !ranks.isEmpty && keyValueHeads % ranks.count == 0 && queryHeads % keyValueHeads == 0,
      "\(ranks.count) groups of \(keyValueHeads) heads, \(queryHeads) query heads")
    let rankSum = ranks.reduce(0, +)
    switch self {
    case .fused: return rankSum * (queryHeads / ranks.count) * hidden
    case .deferred:
      return rankSum * (keyValueHeads / ranks.count) * headDimension + queryHeads * headDimension * hidden
    }
  }

  /// The form that reads fewer weights, `deferred` of equal ones: `fused` where the mean rank is below
  /// headDimension x queryHeads x hidden / (queryHeads x hidden - keyValueHeads x headDimension).
  public static func fastest(
    ranks: [Int], queryHeads: Int, keyValueHeads: Int, headDimension: Int, hidden: Int
  ) -> ValueForm {
    func count(_ form: ValueForm) -> Int {
      form.weightCount(
        ranks: ranks, queryHeads: queryHeads, keyValueHeads: keyValueHeads, headDimension: headDimension, hidden: hidden)
    }
    return count(.fused) < count(.deferred) ? .fused : .deferred
  }
}
