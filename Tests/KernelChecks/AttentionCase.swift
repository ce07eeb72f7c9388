/// One check of one of attention's kernels, complete: its description is the line that repeats it.
public struct AttentionCase: Sendable, Hashable {
  /// What is compared.
  public enum Check: String, Sendable, CaseIterable {
    /// The outputs with the oracle's.
    case values
    /// The outputs with those of a call for each row of queries alone.
    case rows
    /// The outputs with those of a call for the first tokens alone, where no row looks beyond them.
    case prefix
  }

  /// What the softmax leaves out.
  public enum Mask: String, Sendable, CaseIterable {
    case all, causal, tree
  }

  public var variant: String
  public var check: Check
  public var seed: UInt64
  /// Rows of queries, of scores, of probabilities.
  public var rows: Int
  public var tokens: Int
  /// Elements of a key or a value; 1 for the softmax.
  public var dimension: Int
  public var elements: KernelCase.Elements
  public var mask: Mask
  /// Floats between rows of queries, scores, probabilities and outputs.
  public var gap: Int
  public var guardPage: KernelCase.Guard
}

extension AttentionCase: LosslessStringConvertible {
  public var description: String {
    """
    variant=\(variant) check=\(check.rawValue) seed=\(seed) rows=\(rows) tokens=\(tokens) dim=\(dimension) \
    elements=\(elements.rawValue) mask=\(mask.rawValue) gap=\(gap) guard=\(guardPage.rawValue)
    """
  }

  /// The case that a description names, or nil when a field is missing, unknown or out of range.
  public init?(_ description: String) {
    guard let fields = CaseFields(description), fields.count == 10,
      let variant: String = fields["variant"], let check: Check = fields[choice: "check"], let seed: UInt64 = fields["seed"],
      let rows = fields[size: "rows", 1], let tokens = fields[size: "tokens", 1], tokens <= AttentionCase.mostTokens,
      let dimension = fields[size: "dim", 1], let elements: KernelCase.Elements = fields[choice: "elements"],
      let mask: Mask = fields[choice: "mask"], let gap = fields[size: "gap", 0],
      let guardPage: KernelCase.Guard = fields[choice: "guard"]
    else { return nil }
    self.init(
      variant: variant, check: check, seed: seed, rows: rows, tokens: tokens, dimension: dimension, elements: elements,
      mask: mask, gap: gap, guardPage: guardPage)
  }
}
