internal import CKernelChecks
internal import CKernels
internal import Synchronization
internal import Tessera

/// Why a check failed, in one sentence.
struct CheckFailure: Error {
  let reason: String
}

/// A kernel called on a case's operands, with everything around its outputs watched.
struct CheckedKernel {
  let variant: KernelVariant
  let operands: Operands
  /// Asked after every call, on its thread: what an emulated machine would have faulted on.
  let modelFault: @Sendable () -> String?

  private var kernelCase: KernelCase { operands.kernelCase }
  private var panelCount: Int { ck_panels(kernelCase.n) }
  private var elementBytes: Int { kernelCase.output == .float32 ? 4 : 2 }
  private var yStride: Int { kernelCase.n + kernelCase.yGap }

  /// A poisoned y for `rows` rows, its last row ending with its last element.
  func makeOutput(rows: Int) throws(CheckFailure) -> GuardedBuffer {
    let byteCount = ((rows - 1) * yStride + kernelCase.n) * elementBytes
    guard let y = GuardedBuffer(byteCount: byteCount, guardPage: kernelCase.guardPage) else {
      throw CheckFailure(reason: "the system refused \(byteCount) bytes for y")
    }
    return y
  }

  /// Computes some panels of some rows of x into `y`, whose first row is row `row`.
  func run(row: Int = 0, rows: Int, panels: Range<Int>? = nil, into y: GuardedBuffer) throws(CheckFailure) {
    let panels = panels ?? 0..<panelCount
    var call = operands.call(row: row, rows: rows, into: y)
    guard let scratchBytes = scratchByteCount(of: &call) else {
      throw CheckFailure(reason: "the kernel reads other weights than \(kernelCase.format)")
    }
    guard let scratch = GuardedBuffer(byteCount: scratchBytes, guardPage: kernelCase.guardPage) else {
      throw CheckFailure(reason: "the system refused \(scratchBytes) bytes of scratch")
    }
    var address: UInt = 0
    let room = scratchBytes == 0 ? nil : scratch.base
    let outcome: UnsafePointer<CChar>?? =
      switch variant.kernel {
      case .dense(var kernel):
        operands.withDense { weights in
          ck_check_run_dense(&kernel, &call, weights, panels.lowerBound, panels.upperBound, room, &address)
        }
      case .bitmap(var kernel):
        operands.withBitmap { weights in
          ck_check_run_bitmap(&kernel, &call, weights, panels.lowerBound, panels.upperBound, room, &address)
        }
      case .code4(var kernel):
        operands.withCode4 { weights in
          ck_check_run_code4(&kernel, &call, weights, panels.lowerBound, panels.upperBound, room, &address)
        }
      }
    guard let outcome else { throw CheckFailure(reason: "the kernel reads other weights than \(kernelCase.format)") }
    if let complaint = outcome.map({ String(cString: $0) }) {
      let place = operands.place(of: address) ?? y.place(of: address, name: "y") ?? scratch.place(of: address, name: "scratch")
      throw CheckFailure(reason: "\(complaint)\(place.map { " \($0)" } ?? ""), panels \(panels), \(rows) rows")
    }
    if let fault = modelFault() { throw CheckFailure(reason: "\(fault), panels \(panels), \(rows) rows") }
    guard scratch.surroundingsAreUntouched else {
      throw CheckFailure(reason: "wrote beyond its \(scratchBytes) bytes of scratch")
    }
  }

  private func scratchByteCount(of call: inout ck_gemm_call) -> Int? {
    switch variant.kernel {
    case .dense(let kernel): kernel.scratch_bytes(&call)
    case .bitmap(let kernel): kernel.scratch_bytes(&call)
    case .code4(let kernel): operands.withCode4 { kernel.scratch_bytes(&call, $0) }
    }
  }

  /// The same on all threads of a pool, each with an equal share of the panels.
  func run(on pool: ThreadPool, into y: GuardedBuffer) throws(CheckFailure) {
    let failure = Mutex<CheckFailure?>(nil)
    let parts = pool.threadCount
    pool.run(parts: parts) { part, _ in
      do throws(CheckFailure) {
        try run(rows: kernelCase.m, panels: panelCount * part / parts..<panelCount * (part + 1) / parts, into: y)
      } catch {
        failure.withLock { $0 = error }
      }
    }
    if let failure = failure.withLock({ $0 }) { throw failure }
  }

  /// Checks that nothing but the outputs of `columns` was written.
  func checkPoison(around columns: Range<Int>, rows: Int, of y: GuardedBuffer) throws(CheckFailure) {
    guard y.surroundingsAreUntouched else { throw CheckFailure(reason: "wrote outside y") }
    for row in 0..<rows {
      let end = row + 1 == rows ? kernelCase.n : yStride
      for column in 0..<end where !columns.contains(column) {
        guard bits(y, row: row, column: column) == poison else {
          throw CheckFailure(reason: "wrote y[\(row), \(column)], which does not belong to columns \(columns)")
        }
      }
    }
  }

  /// The number in y and, for a message, its bits.
  func value(_ y: GuardedBuffer, row: Int, column: Int) -> Float {
    let bits = bits(y, row: row, column: column)
    return kernelCase.output == .float32 ? Float(bitPattern: bits) : Float(BFloat16(bits: UInt16(bits)))
  }

  func bits(_ y: GuardedBuffer, row: Int, column: Int) -> UInt32 {
    let at = row * yStride + column
    return kernelCase.output == .float32 ? y.pointer(to: UInt32.self)[at] : UInt32(y.pointer(to: UInt16.self)[at])
  }

  private var poison: UInt32 { kernelCase.output == .float32 ? GuardedBuffer.poison32 : UInt32(GuardedBuffer.poison) }
}
