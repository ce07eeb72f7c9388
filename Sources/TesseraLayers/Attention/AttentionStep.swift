public import Tessera

/// What the rows of one step of a model are: tokens that come next in one or several sequences, one sequence after the other.
public struct AttentionStep: Sendable {
  /// For each sequence how many tokens it has in this step, at least 1.
  public let tokens: [Int]
  /// The position of every token in its sequence.
  public let positions: [Int]
  /// The model's rotation at these positions, made once for all layers.
  public let angles: RotaryAngles
  /// What each token sees.
  public let mask: AttentionMask

  /// Rows of the step.
  public var rows: Int { positions.count }

  /// - Parameters:
  ///   - tokens: how many tokens come next, for each sequence.
  ///   - counts: how many each has already.
  ///   - rotary: how the model turns queries and keys.
  ///   - mask: what each token sees. A tree's tokens have the position of their depth.
  /// - Precondition: as many counts as sequences.
  public init(tokens: [Int], after counts: [Int], rotary: RotaryEmbedding, mask: AttentionMask = .causal) {
    precondition(tokens.count == counts.count, "\(tokens.count) sequences, of which \(counts.count) have a count")
    self.tokens = tokens
    self.mask = mask
    positions = zip(tokens, counts).flatMap { tokens, count in
      (0..<tokens).map { count + mask.depth(ofToken: $0) }
    }
    angles = rotary.angles(at: positions)
  }
}

extension AttentionMask {
  /// How many of the step's tokens come before a token in its text.
  fileprivate func depth(ofToken token: Int) -> Int {
    guard case .tree(let ancestors) = self, ancestors.indices.contains(token) else { return token }
    return ancestors[token].nonzeroBitCount - 1
  }
}
