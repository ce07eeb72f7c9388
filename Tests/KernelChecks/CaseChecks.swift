internal import CKernels
internal import Tessera

/// The four checks, on one case.
struct CaseChecks {
  let kernelCase: KernelCase
  private let kernel: CheckedKernel
  private let oracle: Oracle
  private let pools: Pools

  init(
    _ kernelCase: KernelCase, on variant: KernelVariant, pools: Pools, modelFault: @escaping @Sendable () -> String?
  ) throws(CheckFailure) {
    let elements = Elements(kernelCase, of: variant)
    guard let operands = Operands(kernelCase, activations: variant.activations, elements: elements) else {
      throw CheckFailure(reason: "the system refused memory for the operands")
    }
    self.kernelCase = kernelCase
    self.pools = pools
    kernel = CheckedKernel(variant: variant, operands: operands, modelFault: modelFault)
    oracle = Oracle(kernelCase, elements: elements, isaTag: variant.isaTag)
  }

  func run() throws(CheckFailure) -> Oracle.Shares {
    let y = try kernel.makeOutput(rows: kernelCase.m)
    try kernel.run(rows: kernelCase.m, into: y)
    try kernel.checkPoison(around: 0..<kernelCase.n, rows: kernelCase.m, of: y)
    let shares = try compareWithOracle(y)
    switch kernelCase.check {
    case .values: break
    case .splits: try compareWithSplits(y)
    case .rows: try compareWithSingleRows(y)
    case .threads: try compareWithPool(y)
    }
    return shares
  }

  private func compareWithOracle(_ y: GuardedBuffer) throws(CheckFailure) -> Oracle.Shares {
    var worst = Oracle.Shares()
    for row in 0..<kernelCase.m {
      for column in 0..<kernelCase.n {
        let value = kernel.value(y, row: row, column: column)
        if let complaint = oracle.complaint(at: row * kernelCase.n + column, value: value, worst: &worst) {
          throw CheckFailure(reason: "y[\(row), \(column)] is \(complaint)")
        }
      }
    }
    return worst
  }

  private func compareWithSplits(_ y: GuardedBuffer) throws(CheckFailure) {
    let panels = ck_panels(kernelCase.n)
    for boundary in 0...panels {
      let parts = try kernel.makeOutput(rows: kernelCase.m)
      try kernel.run(rows: kernelCase.m, panels: 0..<boundary, into: parts)
      let columns = 0..<min(boundary * Int(CK_PANEL_ROWS), kernelCase.n)
      try kernel.checkPoison(around: columns, rows: kernelCase.m, of: parts)
      try kernel.run(rows: kernelCase.m, panels: boundary..<panels, into: parts)
      try compareBits(y, row: 0, with: parts, rows: kernelCase.m, "panels split at \(boundary)")
    }
  }

  private func compareWithSingleRows(_ y: GuardedBuffer) throws(CheckFailure) {
    for row in 0..<kernelCase.m {
      let alone = try kernel.makeOutput(rows: 1)
      try kernel.run(row: row, rows: 1, into: alone)
      try compareBits(y, row: row, with: alone, rows: 1, "computed alone")
    }
  }

  private func compareWithPool(_ y: GuardedBuffer) throws(CheckFailure) {
    let shared = try kernel.makeOutput(rows: kernelCase.m)
    try kernel.run(on: pools.pool(threads: kernelCase.threads), into: shared)
    try kernel.checkPoison(around: 0..<kernelCase.n, rows: kernelCase.m, of: shared)
    try compareBits(y, row: 0, with: shared, rows: kernelCase.m, "computed by \(kernelCase.threads) threads")
  }

  private func compareBits(
    _ y: GuardedBuffer, row: Int, with other: GuardedBuffer, rows: Int, _ circumstance: String
  ) throws(CheckFailure) {
    for at in 0..<rows {
      for column in 0..<kernelCase.n {
        let bits = kernel.bits(y, row: row + at, column: column)
        let otherBits = kernel.bits(other, row: at, column: column)
        guard bits != otherBits else { continue }
        let (one, two) = (String(bits, radix: 16), String(otherBits, radix: 16))
        throw CheckFailure(reason: "y[\(row + at), \(column)] has the bits \(one), but \(two) when \(circumstance)")
      }
    }
  }
}

/// Thread pools by their size, made when first needed; more threads than the machine has CPUs are fine here.
final class Pools {
  private var pools: [Int: ThreadPool] = [:]

  func pool(threads: Int) throws(CheckFailure) -> ThreadPool {
    if let pool = pools[threads] { return pool }
    do throws(TesseraError) {
      let pool = try ThreadPool(threads: threads, allowed: max(threads, 64), spinMicroseconds: 0)
      pools[threads] = pool
      return pool
    } catch {
      throw CheckFailure(reason: "no pool of \(threads) threads: \(error)")
    }
  }
}
