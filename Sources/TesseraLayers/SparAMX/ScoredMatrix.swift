internal import Tessera

/// A matrix of weights, ranked by |weight| * norm of its column, that can drop the lowest of them in linear time.
///
/// The selection is a radix select: it never sorts. A score becomes a key of 31 bits, read as three digits from the top. Counting
/// how often each value of a digit occurs tells in which value the threshold lies, and only keys that begin like the threshold
/// are counted for the next digit.
struct ScoredMatrix {
  let weights: UnsafeMutablePointer<BFloat16>
  let norms: UnsafePointer<Float>
  let outputs: Int
  let inputs: Int

  /// 0 for a zero weight, otherwise 1 + the bits of the score. Floats that are not negative are ordered as their bits are, and
  /// the largest score, infinity, gives 0x7F80_0001, so 31 bits hold every key. The 1 puts zeros before weights whose norm is 0.
  @inline(__always)
  private func key(_ weight: BFloat16, _ norm: Float) -> UInt32 {
    let magnitude = BFloat16(bits: weight.bits & 0x7FFF)
    return magnitude.bits == 0 ? 0 : (Float(magnitude) * norm).bitPattern + 1
  }

  /// Sets the `count` lowest of the given rows to +0; of equal ones the first.
  func dropLowest(_ count: Int, ofRows rows: Range<Int>, tally: Tally, on executor: Executor?) {
    guard count > 0 else { return }
    var threshold: UInt32 = 0
    var rest = count
    for digit in Digit.all {
      run(parts: tally.parts, on: executor) { part, _ in
        countKeys(beginningWith: threshold, digit, ofRows: rows.part(part, of: tally.parts), into: tally[part])
      }
      let (value, below) = tally.value(holding: rest, of: digit)
      threshold = threshold << digit.bits | UInt32(value)
      rest -= below
    }
    // What is left of the count are ties; the counts of the last digit say how many of them each part has.
    let equal = Int(threshold & Digit.last.mask)
    var quotas: [Int] = []
    for part in 0..<tally.parts {
      quotas.append(min(rest, tally[part][equal]))
      rest -= quotas[part]
    }
    run(parts: tally.parts, on: executor) { part, _ in
      zero(below: threshold, ties: quotas[part], ofRows: rows.part(part, of: tally.parts))
    }
  }

  private func countKeys(
    beginningWith prefix: UInt32, _ digit: Digit, ofRows rows: Range<Int>, into counts: UnsafeMutablePointer<Int>
  ) {
    counts.update(repeating: 0, count: digit.valueCount)
    for row in rows {
      let weights = weights + row * inputs
      for column in 0..<inputs {
        let key = key(weights[column], norms[column]) >> digit.shift
        if key >> digit.bits == prefix { counts[Int(key & digit.mask)] += 1 }
      }
    }
  }

  private func zero(below threshold: UInt32, ties: Int, ofRows rows: Range<Int>) {
    var ties = ties
    for row in rows {
      let weights = weights + row * inputs
      for column in 0..<inputs {
        let key = key(weights[column], norms[column])
        if key < threshold {
          weights[column] = .zero
        } else if key == threshold, ties > 0 {
          weights[column] = .zero
          ties -= 1
        }
      }
    }
  }
}

/// 11 + 10 + 10 bits of a key: the counts of one digit fit the L1 cache.
private struct Digit {
  let shift: UInt32
  let bits: UInt32

  static let all = [Digit(shift: 20, bits: 11), Digit(shift: 10, bits: 10), last]
  static let last = Digit(shift: 0, bits: 10)
  static let mostValues = 1 << 11

  var valueCount: Int { 1 << Int(bits) }
  var mask: UInt32 { 1 << bits - 1 }
}

/// How often each value of a digit occurs, counted by each part of the work for itself.
final class Tally {
  let parts: Int
  private let counts: UnsafeMutablePointer<Int>

  init(parts: Int) {
    self.parts = parts
    counts = .allocate(capacity: parts * Digit.mostValues)
    counts.initialize(repeating: 0, count: parts * Digit.mostValues)
  }

  deinit { counts.deallocate() }

  subscript(part: Int) -> UnsafeMutablePointer<Int> { counts + part * Digit.mostValues }

  /// The value whose keys hold the `rank`-th lowest, counted from 1, and how many keys have lower values.
  fileprivate func value(holding rank: Int, of digit: Digit) -> (value: Int, below: Int) {
    var below = 0
    for value in 0..<digit.valueCount {
      let count = (0..<parts).reduce(0) { $0 + self[$1][value] }
      if below + count >= rank { return (value, below) }
      below += count
    }
    preconditionFailure("the \(rank)-th lowest of \(below) keys")
  }
}

extension Range<Int> {
  /// Part `part` of `parts` nearly equal ones.
  fileprivate func part(_ part: Int, of parts: Int) -> Range<Int> {
    lowerBound + count * part / parts..<lowerBound + count * (part + 1) / parts
  }
}
