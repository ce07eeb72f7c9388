/// The ranks of the low-rank projections of a model.
public struct RankPlan: Sendable, Equatable {
  public struct Projection: Sendable, Equatable {
    /// For example `model.layers.0.self_attn.k_proj`.
    public let name: String
    public let heads: HeadGroups
    /// One for each group.
    public let ranks: [Int]

    /// - Throws: `sizeMismatch`, `invalidRank`.
    public init(name: String, heads: HeadGroups, ranks: [Int]) throws(CompressionError) {
      guard ranks.count == heads.groupCount else {
        throw .sizeMismatch(what: "ranks of \(name)", expected: heads.groupCount, got: ranks.count)
      }
      for (group, rank) in ranks.enumerated() { try heads.checkRank(rank, group: group) }
      self.name = name
      self.heads = heads
      self.ranks = ranks
    }

    public var rankSum: Int { ranks.reduce(0, +) }
  }

  public let projections: [Projection]

  public init(_ projections: [Projection]) { self.projections = projections }

  public var rankSum: Int { projections.reduce(0) { $0 + $1.rankSum } }

  /// The sum of ranks over the sum of outputs: 1 minus what the method's authors call the compression rate.
  public var keptRatio: Double {
    let outputs = projections.reduce(0) { $0 + $1.heads.outputs }
    return outputs == 0 ? 1 : Double(rankSum) / Double(outputs)
  }

  public subscript(name: String) -> Projection? { projections.first { $0.name == name } }
}
