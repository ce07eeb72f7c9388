/// Which tokens of the cache a query sees. The queries of a call are always the last tokens of the cache.
public enum AttentionMask: Sendable, Hashable {
  /// Every token up to its own.
  case causal
  /// The last tokens are a tree of guesses (speculative decoding): a query sees all tokens before the tree, and of the tree those
  /// whose bit is set. `ancestors[i]`, bit j: token i of the tree sees token j of it. At most 64 tokens.
  case tree(ancestors: [UInt64])
  /// Every token: for selected tokens, and for encoders.
  case all

  static let mostTreeTokens = 64

  /// What each token of a tree sees of it; nil for other masks.
  var ancestors: [UInt64]? { if case .tree(let ancestors) = self { ancestors } else { nil } }

  /// - Throws: `invalidMask` for bits beyond a token's own, or a token that does not see itself; `sizeMismatch` for another
  ///   number of tokens.
  func validate(queries: Int) throws(TesseraError) {
    guard let ancestors else { return }
    guard ancestors.count == queries, queries <= AttentionMask.mostTreeTokens else {
      throw .sizeMismatch(
        what: "rows of the tree mask", expected: min(queries, AttentionMask.mostTreeTokens), got: ancestors.count)
    }
    for (row, bits) in ancestors.enumerated() {
      let own = UInt64(1) << UInt64(row)
      if bits & own == 0 { throw .invalidMask(row: row, token: row) }
      let beyond = bits & ~(own | (own - 1))
      if beyond != 0 { throw .invalidMask(row: row, token: beyond.trailingZeroBitCount) }
    }
  }
}
