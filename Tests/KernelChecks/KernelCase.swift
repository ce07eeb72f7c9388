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
    var fields: [Substring: Substring] = [:]
    for word in description.split(separator: " ") {
      let parts = word.split(separator: "=", maxSplits: 1)
      guard parts.count == 2, fields.updateValue(parts[1], forKey: parts[0]) == nil else { return nil }
    }
    func size(_ name: Substring, from least: Int) -> Int? {
      fields[name].flatMap { Int($0) }.flatMap { $0 >= least && $0 <= 1 << 20 ? $0 : nil }
    }
    guard fields.count == 15, let variant = fields["variant"], let format = fields["format"],
      let check = fields["check"].flatMap({ Check(rawValue: String($0)) }),
      let seed = fields["seed"].flatMap({ UInt64($0) }),
      let m = size("m", from: 1), let n = size("n", from: 1), let k = size("k", from: 1),
      let elements = fields["elements"].flatMap({ Elements(rawValue: String($0)) }),
      let density = fields["density"].flatMap({ Density(String($0)) }),
      let hasBias = fields["bias"].flatMap({ Bool(String($0)) }),
      let output = fields["output"].flatMap({ Output(rawValue: String($0)) }),
      let yGap = size("y_gap", from: 0), let xGap = size("x_gap", from: 0),
      let guardPage = fields["guard"].flatMap({ Guard(rawValue: String($0)) }),
      let threads = size("threads", from: 1), threads <= 64
    else { return nil }
    self.init(
      variant: String(variant), format: String(format), check: check, seed: seed, m: m, n: n, k: k, elements: elements,
      density: density,
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
