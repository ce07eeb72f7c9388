internal import CKernelChecks
internal import CKernels
internal import Tessera

/// What a call wrote.
struct AttentionOutput {
  /// Scores, probabilities or sums of values, a row every `stride` floats.
  let values: GuardedBuffer
  let stride: Int
  /// Of a row that mean something, and that may be written.
  let count: Int
  let extent: Int
  /// Of the softmax, one for each row.
  let max: GuardedBuffer
  let sum: GuardedBuffer

  func value(row: Int, _ column: Int) -> Float { values.pointer(to: Float.self)[row * stride + column] }
}

/// One of attention's kernels called on a case's operands, with everything around its outputs watched.
struct CheckedAttention {
  let kernel: AttentionKernel
  let operands: AttentionOperands
  /// Asked after every call, on its thread: what an emulated machine would have faulted on.
  let modelFault: @Sendable () -> String?

  private var attentionCase: AttentionCase { operands.attentionCase }

  /// Computes some rows over the first `tokens` tokens.
  func run(_ rows: Range<Int>, tokens: Int) throws(CheckFailure) -> AttentionOutput {
    let output = try makeOutput(rows, tokens: tokens)
    let scratch = try makeScratch(rows: rows.count)
    let room = scratch.byteCount == 0 ? nil : scratch.base
    var span = operands.span(tokens: tokens)
    var queries = operands.queries(rows)
    var softmax = operands.softmax(rows, tokens: tokens, into: output)
    let target = output.values.pointer(to: Float.self)
    var address: UInt = 0
    let complaint =
      switch kernel.function {
      case .keys(var variant):
        ck_check_run_attention_keys(&variant, &span, &queries, target, output.stride, room, &address)
      case .latentKeys: preconditionFailure("\(kernel) is not checked here")
      case .softmax(var variant): ck_check_run_attention_softmax(&variant, &softmax, &address)
      case .values(var variant):
        ck_check_run_attention_values(
          &variant, &span, rows.count, queries.q, queries.stride, target, output.stride, room, &address)
      }
    if let complaint {
      let place =
        operands.place(of: address) ?? output.values.place(of: address, name: "the output")
        ?? scratch.place(of: address, name: "scratch")
      throw CheckFailure(
        reason: "\(String(cString: complaint))\(place.map { " \($0)" } ?? ""), rows \(rows), \(tokens) tokens")
    }
    if let fault = modelFault() { throw CheckFailure(reason: "\(fault), rows \(rows), \(tokens) tokens") }
    guard scratch.surroundingsAreUntouched else {
      throw CheckFailure(reason: "wrote beyond its \(scratch.byteCount) bytes of scratch")
    }
    try checkPoison(of: output, rows: rows.count)
    return output
  }

  private func makeScratch(rows: Int) throws(CheckFailure) -> GuardedBuffer {
    let byteCount =
      switch kernel.function {
      case .keys(let variant): variant.scratch_bytes(rows, attentionCase.dimension)
      case .values(let variant): variant.scratch_bytes(rows, attentionCase.dimension)
      case .softmax, .latentKeys: 0
      }
    guard byteCount % 64 == 0 else { throw CheckFailure(reason: "asks for \(byteCount) bytes of scratch, no multiple of 64") }
    return try memory(byteCount)
  }

  private func makeOutput(_ rows: Range<Int>, tokens: Int) throws(CheckFailure) -> AttentionOutput {
    let count = kernel.step == .values ? attentionCase.dimension : tokens
    let extent =
      switch kernel.step {
      case .keys, .latentKeys: (tokens + 15) / 16 * 16
      case .softmax: (tokens - 1) / Int(CK_KV_TOKENS) * Int(CK_KV_TOKENS) + Int(CK_KV_TOKENS)
      case .values: attentionCase.dimension
      }
    let stride = extent + attentionCase.gap
    let values = try memory(((rows.count - 1) * stride + extent) * 4)
    if kernel.step == .softmax {
      for (index, row) in rows.enumerated() {
        let source = operands.left.pointer(to: Float.self) + row * operands.leftStride
        (values.pointer(to: Float.self) + index * stride).update(from: source, count: tokens)
      }
    }
    return AttentionOutput(
      values: values, stride: stride, count: count, extent: extent, max: try memory(rows.count * 4),
      sum: try memory(rows.count * 4))
  }

  private func memory(_ byteCount: Int) throws(CheckFailure) -> GuardedBuffer {
    guard let buffer = GuardedBuffer(byteCount: byteCount, guardPage: attentionCase.guardPage) else {
      throw CheckFailure(reason: "the system refused \(byteCount) bytes")
    }
    return buffer
  }

  private func checkPoison(of output: AttentionOutput, rows: Int) throws(CheckFailure) {
    guard [output.values, output.max, output.sum].allSatisfy(\.surroundingsAreUntouched) else {
      throw CheckFailure(reason: "wrote outside its output")
    }
    for row in 0..<rows - 1 {
      for column in output.extent..<output.stride
      where output.value(row: row, column).bitPattern != GuardedBuffer.poison32 {
        throw CheckFailure(reason: "wrote column \(column) of row \(row), beyond \(output.extent)")
      }
    }
  }
}
