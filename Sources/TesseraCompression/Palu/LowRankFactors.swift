/// A key or value projection W of `outputs x inputs` weights as a product of two thin matrices for each group of heads.
///
///     h = x A          the latent of a token, rank numbers: what the cache holds
///     y = h B + bias   the outputs of the group's heads, before rotary embedding
///
/// A is `inputs x rank`, B is `rank x groupOutputs`, both row after row; (A B)^T stands for the group's rows of W.
public struct LowRankFactors: Sendable, Equatable {
  public struct Group: Sendable, Equatable {
    public let rank: Int
    /// `inputs x rank`.
    public internal(set) var a: [Float]
    /// `rank x groupOutputs`.
    public internal(set) var b: [Float]

    /// Sizes are checked by `LowRankFactors`.
    public init(rank: Int, a: [Float], b: [Float]) {
      self.rank = rank
      self.a = a
      self.b = b
    }
  }

  public let inputs: Int
  public let heads: HeadGroups
  /// In the order of their heads; ranks may differ.
  public internal(set) var groups: [Group]
  /// Of all outputs, added to h B: it stays out of the cache.
  public let bias: [Float]?

  /// - Throws: `invalidShape`, `sizeMismatch`, `invalidRank` for a rank outside 1...groupOutputs, `nonFiniteWeight` naming the
  ///   row and column of A or B.
  public init(inputs: Int, heads: HeadGroups, groups: [Group], bias: [Float]? = nil) throws(CompressionError) {
    _ = try checkedCount("projection", rows: heads.outputs, columns: inputs)
    guard groups.count == heads.groupCount else {
      throw .sizeMismatch(what: "groups of factors", expected: heads.groupCount, got: groups.count)
    }
    for (index, group) in groups.enumerated() {
      try heads.checkRank(group.rank, group: index)
      try checkFactor("A of group \(index)", group.a, rows: inputs, columns: group.rank)
      try checkFactor("B of group \(index)", group.b, rows: group.rank, columns: heads.groupOutputs)
    }
    if let bias { try checkFactor("bias", bias, rows: 1, columns: heads.outputs) }
    self.inputs = inputs
    self.heads = heads
    self.groups = groups
    self.bias = bias
  }

  public var ranks: [Int] { groups.map(\.rank) }

  /// The weights of the linear layer that gives all latents of a token, group after group: the transposes of all A, `sum of
  /// ranks x inputs`.
  public func latentProjection() -> [Float] {
    var rows: [Float] = []
    rows.reserveCapacity(ranks.reduce(0, +) * inputs)
    for group in groups {
      for channel in 0..<group.rank {
        for input in 0..<inputs { rows.append(group.a[input * group.rank + channel]) }
      }
    }
    return rows
  }

  /// What the factors stand for: `outputs x inputs` weights, row after row, summed in double.
  public func product() -> [Float] {
    var weights: [Float] = []
    weights.reserveCapacity(heads.outputs * inputs)
    for group in groups {
      for output in 0..<heads.groupOutputs {
        for input in 0..<inputs {
          var sum = 0.0
          for channel in 0..<group.rank {
            sum += Double(group.a[input * group.rank + channel]) * Double(group.b[channel * heads.groupOutputs + output])
          }
          weights.append(Float(sum))
        }
      }
    }
    return weights
  }
}

extension HeadGroups {
  /// - Throws: `invalidRank` unless the rank lies in 1...groupOutputs.
  package func checkRank(_ rank: Int, group: Int) throws(CompressionError) {
    guard (1...groupOutputs).contains(rank) else { throw .invalidRank(group: group, rank: rank, limit: groupOutputs) }
  }
}

private func checkFactor(_ what: String, _ values: [Float], rows: Int, columns: Int) throws(CompressionError) {
  let count = try checkedCount(what, rows: rows, columns: columns)
  guard values.count == count else { throw .sizeMismatch(what: what, expected: count, got: values.count) }
  if let bad = values.firstIndex(where: { !$0.isFinite }) {
    throw .nonFiniteWeight(row: bad / columns, column: bad % columns)
  }
}
