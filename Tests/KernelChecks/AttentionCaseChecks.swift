internal import CKernels
internal import Tessera

/// The checks of attention's kernels, on one case.
struct AttentionCaseChecks {
  private let attentionCase: AttentionCase
  private let operands: AttentionOperands
  private let kernel: CheckedAttention

  init(
    _ attentionCase: AttentionCase, on kernel: AttentionKernel, modelFault: @escaping @Sendable () -> String?
  ) throws(CheckFailure) {
    guard let operands = AttentionOperands(attentionCase, kernel) else {
      throw CheckFailure(reason: "the system refused memory for the operands")
    }
    self.attentionCase = attentionCase
    self.operands = operands
    self.kernel = CheckedAttention(kernel: kernel, operands: operands, modelFault: modelFault)
  }

  func run() throws(CheckFailure) -> Oracle.Shares {
    let rows = 0..<attentionCase.rows
    let output = try kernel.run(rows, tokens: attentionCase.tokens)
    switch attentionCase.check {
    case .values: break
    case .rows:
      for row in rows {
        let alone = try kernel.run(row..<row + 1, tokens: attentionCase.tokens)
        try compareBits(output, row: row, with: alone, rows: 1, "computed alone")
      }
    case .prefix:
      let prefix = operands.elements.prefix
      let shorter = try kernel.run(rows, tokens: prefix)
      try compareBits(output, row: 0, with: shorter, rows: rows.count, "computed for \(prefix) tokens")
    }
    if kernel.kernel.step == .softmax { return try SoftmaxOracle(operands).check(output) }
    return try compareWithOracle(output)
  }

  private func compareWithOracle(_ output: AttentionOutput) throws(CheckFailure) -> Oracle.Shares {
    let oracle = Oracle(operands, kernel: kernel.kernel)
    var worst = Oracle.Shares()
    for row in 0..<attentionCase.rows {
      for column in 0..<output.count {
        let value = output.value(row: row, column)
        if let complaint = oracle.complaint(at: row * output.count + column, value: value, worst: &worst) {
          throw CheckFailure(reason: "output [\(row), \(column)] is \(complaint)")
        }
      }
    }
    return worst
  }

  private func compareBits(
    _ output: AttentionOutput, row: Int, with other: AttentionOutput, rows: Int, _ circumstance: String
  ) throws(CheckFailure) {
    func compare(_ name: String, _ one: Float, _ two: Float) throws(CheckFailure) {
      // Adding +0 makes +0 of a sum that underflowed to -0.
      if attentionCase.check == .prefix, one == 0, two == 0 { return }
      guard one.bitPattern != two.bitPattern, !(one.isNaN && two.isNaN) else { return }
      let (bits, others) = (String(one.bitPattern, radix: 16), String(two.bitPattern, radix: 16))
      throw CheckFailure(reason: "\(name) has the bits \(bits), but \(others) when \(circumstance)")
    }
    for at in 0..<rows {
      for column in 0..<min(output.count, other.count) {
        try compare("output [\(row + at), \(column)]", output.value(row: row + at, column), other.value(row: at, column))
      }
      guard kernel.kernel.step == .softmax else { continue }
      for (name, one, two) in [("max", output.max, other.max), ("sum", output.sum, other.sum)] {
        try compare("\(name)[\(row + at)]", one.pointer(to: Float.self)[row + at], two.pointer(to: Float.self)[at])
      }
    }
  }
}
