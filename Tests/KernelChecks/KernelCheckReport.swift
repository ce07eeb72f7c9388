internal import Tessera

/// What the checks found.
public struct KernelCheckReport: Sendable {
  public let seed: UInt64
  public internal(set) var variants: [Variant] = []
  /// What this machine cannot run.
  public internal(set) var notRun: [NotRun] = []

  public struct Variant: Sendable {
    public let name: String
    public internal(set) var cases = 0
    public internal(set) var failureCount = 0
    /// The first few of each kind of check.
    public internal(set) var failures: [Failure] = []
    /// The largest rounding error, as a fraction of the bound that Docs/Numerics.md proves; 0 for exact arithmetic.
    public internal(set) var worstShareOfBound = 0.0
    /// The same of the alarm, the smaller error that no random data should reach.
    public internal(set) var worstShareOfAlarm = 0.0
    public internal(set) var duration: Duration = .zero

    init(name: String) { self.name = name }

    private static let mostFailuresOfAKind = 3

    /// - Parameters:
    ///   - check: the kind of check, of which only the first failures are kept.
    ///   - line: the line that repeats the case.
    mutating func add(check: String, line: String, _ outcome: Result<Oracle.Shares, CheckFailure>) {
      cases += 1
      switch outcome {
      case .success(let shares):
        worstShareOfBound = max(worstShareOfBound, shares.hard)
        worstShareOfAlarm = max(worstShareOfAlarm, shares.alarm)
      case .failure(let failure):
        failureCount += 1
        let ofTheKind = failures.count { $0.check == check }
        if ofTheKind < Variant.mostFailuresOfAKind {
          failures.append(Failure(check: check, case: line, reason: failure.reason))
        }
      }
    }
  }

  public struct Failure: Sendable, CustomStringConvertible {
    /// What was compared.
    public let check: String
    /// The line that repeats it.
    public let `case`: String
    public let reason: String

    public var description: String { "\(reason)\n  repeat: \(`case`)" }
  }

  public struct NotRun: Sendable {
    public let variant: String
    public let missing: [String]
  }

  init(seed: UInt64) { self.seed = seed }

  /// Adds what other checks found.
  public mutating func append(_ other: KernelCheckReport) {
    variants += other.variants
    notRun += other.notRun
  }

  public var passed: Bool { !variants.isEmpty && variants.allSatisfy { $0.failureCount == 0 && $0.cases > 0 } }
}

extension KernelCheckReport: CustomStringConvertible {
  /// A line for each variant, each failure and each variant that was not run.
  public var description: String {
    var lines = ["seed \(seed)"]
    for variant in variants {
      let verdict = variant.failureCount == 0 ? "passed" : "\(variant.failureCount) FAILED"
      lines.append(
        "\(variant.name): \(variant.cases) cases, \(verdict), largest error \(percent(variant.worstShareOfBound)) of the bound")
      lines += variant.failures.map { "  \($0)" }
    }
    lines += notRun.map { "\($0.variant): NOT RUN, needs \($0.missing.joined(separator: ", "))" }
    return lines.joined(separator: "\n")
  }

  private func percent(_ fraction: Double) -> String {
    let tenths = Int((fraction * 1000).rounded(.up))
    return "\(tenths / 10).\(tenths % 10) %"
  }
}
