/// One check of one kernel, complete: its description is the line that repeats it.
public struct KernelCase: Sendable, Hashable {
  /// What is compared.
  public enum Check: String, Sendable, CaseIterable {
    /// The outputs with the oracle's.
    case values
    /// The outputs with those of calls for two ranges of panels, split at every boundary.
    case splits
    /// The outputs with those of a call for each row of x alone.
    case rows
    /// The outputs with those of a thread pool.
    case threads
  }

  /// Where the elements of x and of the weights come from. Kernels of int8 and int16 read `integers`,
  /// `extremes` and `special`.
  public enum Elements: String, Sendable, CaseIterable {
    /// Integers whose sums are exact in fp32: no tolerance. int8 and some int16 of the full range, where that can be too much.
    case integers
    /// Every element the largest or the smallest integer.
    case extremes
    /// -1...1.
    case uniform
    /// 0...1: rounding errors drift instead of cancelling.
    case positive
    /// Normal, one in 500 elements 200 times as large, as activations are.
    case outliers
    /// Near and below the smallest normal number.
    case denormals
    /// `uniform`, with one signed zero, denormal, huge, infinite or NaN element.
    case special
  }

  /// The fraction of weights that are stored.
  public enum Density: Sendable, Hashable {
    case all(Double)
    /// Another fraction for each row.
    case ragged
  }

  public enum Output: String, Sendable, CaseIterable {
    case float32 = "f32"
    case bfloat16 = "bf16"
  }

  /// The inaccessible page that every operand touches.
  public enum Guard: String, Sendable, CaseIterable {
    case after, before
  }

  public var variant: String
  /// The format of the weights.
  public var format: String
  public var check: Check
  public var seed: UInt64
  public var m: Int
  public var n: Int
  public var k: Int
  public var elements: Elements
  public var density: Density
  public var hasBias: Bool
  public var output: Output
  /// Elements between the rows of y.
  public var yGap: Int
  /// Lines of 64 bytes between the rows of x.
  public var xGap: Int
  public var guardPage: Guard
  public var threads: Int
}

extension KernelCase: LosslessStringConvertible {
  public var description: String {
    """
    variant=\(variant) format=\(format) check=\(check.rawValue) seed=\(seed) m=\(m) n=\(n) k=\(k) elements=\(elements.rawValue) \
    density=\(density) bias=\(hasBias) output=\(output.rawValue) y_gap=\(yGap) x_gap=\(xGap) guard=\(guardPage.rawValue) \
    threads=\(threads)
    """
  }

  /// The case that a description names, or nil when a field is missing, unknown or out of range.
  public init?(_ description: String) {
    guard let fields = CaseFields(description), fields.count == 15,
      let variant: String = fields["variant"], let format: String = fields["format"],
      let check: Check = fields[choice: "check"], let seed: UInt64 = fields["seed"],
      let m = fields[size: "m", 1], let n = fields[size: "n", 1], let k = fields[size: "k", 1],
      let elements: Elements = fields[choice: "elements"], let density: Density = fields["density"],
      let hasBias: Bool = fields["bias"], let output: Output = fields[choice: "output"],
      let yGap = fields[size: "y_gap", 0], let xGap = fields[size: "x_gap", 0],
      let guardPage: Guard = fields[choice: "guard"], let threads = fields[size: "threads", 1], threads <= 64
    else { return nil }
    self.init(
      variant: variant, format: format, check: check, seed: seed, m: m, n: n, k: k, elements: elements, density: density,
      hasBias: hasBias, output: output, yGap: yGap, xGap: xGap, guardPage: guardPage, threads: threads)
  }
}

extension KernelCase.Density: LosslessStringConvertible {
  public var description: String {
    switch self {
    case .all(let fraction): "\(fraction)"
    case .ragged: "ragged"
    }
  }

  public init?(_ description: String) {
    if description == "ragged" {
      self = .ragged
    } else {
      guard let fraction = Double(description), (0...1).contains(fraction) else { return nil }
      self = .all(fraction)
    }
  }
}
