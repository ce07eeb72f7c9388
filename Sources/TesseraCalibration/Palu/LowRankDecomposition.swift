public import Tessera
public import TesseraCompression

/// A projection's factors, with what they lose.
public struct LowRankDecomposition: Sendable, Equatable {
  public let factors: LowRankFactors
  /// Of each group: all singular values of what was decomposed, descending.
  public let singularValues: [[Double]]

  /// Sum of the squared singular values that were left out, of each group: the squared error of the objective.
  public var discardedEnergies: [Double] {
    zip(singularValues, factors.ranks).map { values, rank in values.dropFirst(rank).reduce(0) { $0 + $1 * $1 } }
  }

  /// Of all squared singular values, the part that was left out.
  public var discardedFraction: Double {
    let total = singularValues.joined().reduce(0) { $0 + $1 * $1 }
    return total > 0 ? discardedEnergies.reduce(0, +) / total : 0
  }
}

/// What the error of low-rank factors is measured by.
public enum LowRankObjective: Sendable {
  /// ||W - W'||_F^2: the singular value decomposition of W.
  case weights
  /// Sum over calibration tokens x of ||(W - W') x||^2, after SVD-LLM (Wang et al., arXiv 2403.07378) and Palu.
  case outputs(Whitening)
  /// Sum over inputs x and queries u of (u . (W - W') x)^2, as if they were independent: the squared error of attention scores,
  /// for keys.
  ///
  /// A score is (R_m q) . (R_t k) = u . k with u = R_(m - t) q, q and k being query and key before their rotary embedding R, at
  /// positions m and t. So `queries`, one for each key-value head, are factors of the second moments of u: summed over the query
  /// heads that read it, averaged over distances m - t. `SecondMoments.averagedOverRotations` makes them of those of q.
  case scores(Whitening, queries: [Whitening])
}

extension LowRankFactors {
  /// Factorises a row-major matrix of `heads.outputs x inputs` weights so that the objective is least for the given ranks.
  ///
  /// Everything is computed in double; the factors are rounded to Float in the end. The pool's threads share the groups; LAPACK
  /// may use threads of its own beside them, which can change last bits.
  /// - Parameters:
  ///   - ranks: one for each group, at most `heads.groupOutputs` and `inputs`.
  ///   - bias: of the projection, kept as it is.
  /// - Throws: `sizeMismatch` naming weights, ranks, bias or moments, `invalidShape`, `invalidRank`, `nonFiniteWeight`,
  ///   `noConvergence`, `cancelled`.
  public static func decompose(
    _ weights: Span<Float>, inputs: Int, heads: HeadGroups, ranks: [Int], bias: [Float]? = nil,
    minimizing objective: LowRankObjective = .weights, on pool: ThreadPool? = nil,
    progress: Code4Quantizer.Progress? = nil
  ) throws(CompressionError) -> LowRankDecomposition {
    let count = try checkedCount("weights to decompose", rows: heads.outputs, columns: inputs)
    guard weights.count == count else {
      throw .sizeMismatch(what: "weights to decompose", expected: count, got: weights.count)
    }
    guard ranks.count == heads.groupCount else {
      throw .sizeMismatch(what: "ranks", expected: heads.groupCount, got: ranks.count)
    }
    for (group, rank) in ranks.enumerated() {
      guard (1...min(heads.groupOutputs, inputs)).contains(rank) else {
        throw .invalidRank(group: group, rank: rank, limit: min(heads.groupOutputs, inputs))
      }
    }
    for index in weights.indices where !weights[index].isFinite {
      throw .nonFiniteWeight(row: index / inputs, column: index % inputs)
    }
    try objective.check(inputs: inputs, heads: heads)

    let results = GroupResults(count: heads.groupCount)
    try weights.withUnsafeBufferPointer { weights throws(CompressionError) in
      try runParts(heads.groupCount, on: pool, progress: progress) { group, _ in
        let size = heads.groupOutputs * inputs
        let rows = UnsafeBufferPointer(rebasing: weights[group * size..<(group + 1) * size])
        results[group] = GroupDecomposition(
          rows, inputs: inputs, rank: ranks[group], moments: objective.moments,
          queries: objective.queries.dropFirst(group * heads.headsPerGroup).prefix(heads.headsPerGroup))
      }
    }
    let groups = try results.all()
    return LowRankDecomposition(
      factors: try LowRankFactors(inputs: inputs, heads: heads, groups: groups.map(\.factors), bias: bias),
      singularValues: groups.map(\.singularValues))
  }
}

extension LowRankObjective {
  fileprivate var moments: Whitening? {
    switch self {
    case .weights: nil
    case .outputs(let moments), .scores(let moments, _): moments
    }
  }

  fileprivate var queries: [Whitening] { if case .scores(_, let queries) = self { queries } else { [] } }

  fileprivate func check(inputs: Int, heads: HeadGroups) throws(CompressionError) {
    if let moments { try check(moments, what: "second moments of inputs", size: inputs) }
    guard case .scores(_, let queries) = self else { return }
    guard queries.count == heads.heads else {
      throw .sizeMismatch(what: "second moments of queries, of all heads", expected: heads.heads, got: queries.count)
    }
    for (head, moments) in queries.enumerated() {
      try check(moments, what: "second moments of the queries of head \(head)", size: heads.headDimension)
    }
  }

  private func check(_ moments: Whitening, what: String, size: Int) throws(CompressionError) {
    guard moments.size == size else {
      throw .sizeMismatch(what: what, expected: size * size, got: moments.size * moments.size)
    }
  }
}

/// A place for each group, filled by whichever thread decomposes it.
private final class GroupResults {
  private let places: UnsafeMutablePointer<GroupDecomposition?>
  private let count: Int

  init(count: Int) {
    self.count = count
    places = .allocate(capacity: count)
    places.initialize(repeating: nil, count: count)
  }

  deinit {
    places.deinitialize(count: count)
    places.deallocate()
  }

  subscript(group: Int) -> GroupDecomposition? {
    get { places[group] }
    set { places[group] = newValue }
  }

  func all() throws(CompressionError) -> [GroupDecomposition] {
    var all: [GroupDecomposition] = []
    for group in 0..<count {
      guard let result = places[group] else { throw .noConvergence(group: group) }
      all.append(result)
    }
    return all
  }
}
