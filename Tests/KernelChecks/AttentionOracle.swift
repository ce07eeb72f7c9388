internal import CKernelChecks
internal import CKernels
internal import Tessera

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

extension Oracle {
  /// Scores, or sums of values, from what the cache holds and what the kernel makes of its other operand (Docs/Numerics.md).
  init(_ operands: AttentionOperands, kernel: AttentionKernel) {
    let attentionCase = operands.attentionCase
    let (rows, tokens, dimension) = (attentionCase.rows, attentionCase.tokens, attentionCase.dimension)
    let isKeys = kernel.step == .keys
    let terms = isKeys ? dimension : tokens
    let count = isKeys ? tokens : dimension
    var left = operands.elements.left
    if Oracle.roundsToBFloat16(kernel) { left = left.map { Float(BFloat16($0)) } }
    let right = isKeys ? operands.held : Oracle.transposed(operands.held, rows: tokens)
    var exact = [Double](repeating: 0, count: rows * count)
    var magnitude = exact
    ck_check_dot(left, right, rows, count, terms, &exact, &magnitude)

    // Rows of whole numbers that are held as they were written have exact sums.
    let isExact = [.integers, .extremes].contains(attentionCase.elements) && operands.held == operands.elements.stored
    let d = Double(Oracle.attentionRoundings(isaTag: kernel.isaTag, terms: terms))
    let worst = isExact ? 0 : d * Oracle.roundoff / (1 - d * Oracle.roundoff)
    let likely = min(worst, 4 * d.squareRoot() * Oracle.roundoff)
    let leftSum = Oracle.sums(of: left, rows: rows)
    let rightSum = Oracle.sums(of: right, rows: count)
    let flushed = magnitude.indices.map { at in
      isExact ? 0 : 0x1p-126 * (Double(terms) + leftSum[at / count] + rightSum[at % count])
    }
    self.init(
      exact: exact, hard: magnitude.indices.map { worst * magnitude[$0] + flushed[$0] },
      alarm: magnitude.indices.map { likely * magnitude[$0] + flushed[$0] },
      measuresRounding: attentionCase.elements != .denormals)
  }

  /// Kernels whose multiplications take bf16 round queries and probabilities first.
  private static func roundsToBFloat16(_ kernel: AttentionKernel) -> Bool {
    ["avx512bf16", "amxbf16"].contains(kernel.isaTag)
  }

  /// The largest number of roundings that a product passes through. What the cache holds is itself read with one.
  private static func attentionRoundings(isaTag: String, terms: Int) -> Int {
    switch isaTag {
    case "scalar": 3
    case "amxbf16": (terms + 31) / 32 + 19
    default: (terms + 63) / 64 * 64 + 3  // any order of additions
    }
  }

  private static func transposed(_ matrix: [Float], rows: Int) -> [Float] {
    let columns = matrix.count / rows
    return (0..<matrix.count).map { matrix[$0 % rows * columns + $0 / rows] }
  }
}

/// What the softmax must give of a row.
struct SoftmaxOracle {
  private let operands: AttentionOperands
  private let isExact: Bool

  init(_ operands: AttentionOperands) {
    self.operands = operands
    isExact = operands.attentionCase.elements == .integers
  }

  func check(_ output: AttentionOutput) throws(CheckFailure) -> Oracle.Shares {
    var worst = Oracle.Shares()
    for row in 0..<operands.attentionCase.rows { try check(row: row, of: output, &worst) }
    return worst
  }

  private func check(row: Int, of output: AttentionOutput, _ worst: inout Oracle.Shares) throws(CheckFailure) {
    let (tokens, view) = (operands.attentionCase.tokens, operands.elements.view)
    let scores = (0..<tokens).map { operands.elements.left[row * tokens + $0] }
    let seen = (0..<tokens).filter { view.sees(row: row, token: $0) }
    for column in 0..<output.extent where column >= tokens || !view.sees(row: row, token: column) {
      let p = output.value(row: row, column)
      guard p.bitPattern == 0 else { throw CheckFailure(reason: "p[\(row), \(column)] is \(p) though the row does not see it") }
    }
    let numbers = seen.map { view.scale * scores[$0] }.filter { !$0.isNaN }
    let largest = numbers.max() ?? -.infinity
    let (max, sum) = (output.max.pointer(to: Float.self)[row], output.sum.pointer(to: Float.self)[row])
    guard max == largest else { throw CheckFailure(reason: "max[\(row)] is \(max) instead of \(largest)") }
    if seen.isEmpty {
      guard sum == 0 else { throw CheckFailure(reason: "sum[\(row)] is \(sum), but the row sees nothing") }
    } else if numbers.count < seen.count || !largest.isFinite {
      guard sum.isNaN else { throw CheckFailure(reason: "sum[\(row)] is \(sum) instead of nan") }
    } else {
      var total = 0.0
      for token in seen {
        let p = output.value(row: row, token)
        let x = Double(view.scale) * Double(scores[token]) - Double(max)
        if let complaint = complaint(p, power: x, &worst) {
          throw CheckFailure(reason: "p[\(row), \(token)] is \(complaint)")
        }
        total += Double(p)
      }
      let allowed = isExact ? 0 : Double(seen.count) * Oracle.roundoff * total
      guard abs(Double(sum) - total) <= allowed else {
        throw CheckFailure(reason: "sum[\(row)] is \(sum), but the probabilities add up to \(total)")
      }
    }
  }

  /// x is rounded once, which moves 2^x by at most ln 2 |x| roundoffs; the power is within two units in the last place.
  private func complaint(_ p: Float, power x: Double, _ worst: inout Oracle.Shares) -> String? {
    let exact = exp2(x)
    let allowed = isExact ? 0 : (min(abs(x), 1000) * 0.6932 + 4.1) * Oracle.roundoff * exact + 0x1p-126
    let error = abs(Double(p) - exact)
    guard error <= allowed else { return "\(p) instead of \(exact): the error \(error) exceeds the bound, \(allowed)" }
    if allowed > 0, exact > 0x1p-100 { worst.add(Oracle.Shares(hard: error / allowed, alarm: error / allowed)) }
    return nil
  }
}
