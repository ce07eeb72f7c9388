internal import CKernels
internal import EmulatedKernels
internal import KernelChecks
internal import Testing

@testable internal import Tessera

/// One of attention's kernels that this machine can check: it has the instructions, or there is a model of them in C.
struct CheckedAttentionKernel: Sendable, CustomTestStringConvertible {
  let kernel: AttentionKernel
  let isEmulated: Bool

  var testDescription: String { isEmulated ? "\(kernel) emulated" : "\(kernel)" }

  static let all: [CheckedAttentionKernel] = {
    let features = InstructionSet.detect()
    let native = shipped.filter { features.isSuperset(of: $0.instructionSets) }
    return native.map { CheckedAttentionKernel(kernel: $0, isEmulated: false) }
      + emulated.map { CheckedAttentionKernel(kernel: $0, isEmulated: true) }
  }()

  /// Kernels of latent keys have a suite of their own.
  static let shipped = AttentionKernel.all.filter { $0.step != .latentKeys }

  private static let emulated: [AttentionKernel] = {
    var (keys, softmax, values) = (0, 0, 0)
    let first = UnsafeBufferPointer(start: ck_attention_keys_emulated(&keys), count: keys)
    let second = UnsafeBufferPointer(start: ck_attention_softmax_emulated(&softmax), count: softmax)
    let third = UnsafeBufferPointer(start: ck_attention_values_emulated(&values), count: values)
    return first.map { AttentionKernel($0) } + second.map { AttentionKernel($0) } + third.map { AttentionKernel($0) }
  }()
}

@Suite struct AttentionKernelTests {
  @Test(arguments: CheckedAttentionKernel.all)
  func passesTheChecks(checked: CheckedAttentionKernel) {
    let report = runAttentionChecks(
      of: [checked.kernel], features: checked.kernel.instructionSets, seed: checkSeed, rounds: 40, every: checkEvery,
      modelFault: CheckedVariant.modelFault)
    for result in report.variants { Coverage.note(result, isEmulated: checked.isEmulated) }
    #expect(report.passed, "\(report)")
  }

  /// No kernel ships that was never executed.
  @Test(arguments: CheckedAttentionKernel.shipped.map(\.name))
  func everyKernelIsCheckedHere(name: String) {
    #expect(
      CheckedAttentionKernel.all.contains { $0.kernel.name == name },
      "\(name) can neither run on this machine nor be emulated: give it a model in Tests/EmulatedKernels")
  }

  @Test func everyEmulatedKernelShips() {
    for checked in CheckedAttentionKernel.all {
      let shipped = AttentionKernel.all.first { $0.name == checked.kernel.name }
      #expect(shipped?.instructionSets == checked.kernel.instructionSets, "\(checked.kernel)")
      #expect(shipped?.minRows == checked.kernel.minRows, "\(checked.kernel)")
    }
  }

  @Test func namesAreUniqueAndSayWhatTheyAre() {
    #expect(Set(AttentionKernel.all.map(\.name)).count == AttentionKernel.all.count)
    for kernel in CheckedAttentionKernel.shipped {
      #expect(kernel.name.hasPrefix("attention_\(kernel.step)_"), "\(kernel)")
      #expect(kernel.instructionSets.isEmpty || kernel.instructionSets.tags.contains(kernel.isaTag), "\(kernel)")
    }
  }

  @Test(arguments: [AttentionKernel.Step.keys, .softmax, .values], KVFormat.allCases)
  func everyListEndsWithAScalarReference(step: AttentionKernel.Step, format: KVFormat) throws {
    guard step != .keys || KVFormat.ofWholeKeys.contains(format) else { return }
    let last = try #require(AttentionKernel.all(step, format).last)
    #expect(last.isaTag == "scalar" && last.instructionSets.isEmpty && last.minRows == 1)
  }
}

/// The checks themselves: kernels that are wrong in one way each must not pass.
@Suite struct AttentionChecksTests {
  struct BrokenKernel: Sendable, CustomTestStringConvertible {
    /// Part of the reason that some failure must give.
    let expectedReason: String
    let kernel: AttentionKernel

    var testDescription: String { kernel.name }

    typealias Keys =
      @convention(c) (
        UnsafePointer<ck_kv_span>, UnsafePointer<ck_attention_queries>, UnsafeMutablePointer<Float>, Int, UnsafeMutableRawPointer?
      ) -> Void
    typealias Values =
      @convention(c) (
        UnsafePointer<ck_kv_span>, Int, UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>, Int, UnsafeMutableRawPointer?
      ) -> Void

    static func keys(
      _ name: StaticString, _ expectedReason: String, type: ck_kv_type = .CK_KV_BF16,
      scratch: @escaping @convention(c) (Int, Int) -> Int = { _, _ in 0 }, _ run: Keys
    ) -> BrokenKernel {
      let variant = ck_attention_keys_variant(
        name: symbol(name), type: type, isa: 0, min_rows: 1, scratch_bytes: scratch, run: run)
      return BrokenKernel(expectedReason: expectedReason, kernel: AttentionKernel(variant))
    }

    static func values(_ name: StaticString, _ expectedReason: String, _ run: Values) -> BrokenKernel {
      let variant = ck_attention_values_variant(
        name: symbol(name), type: .CK_KV_INT8, isa: 0, min_rows: 1, scratch_bytes: { _, _ in 0 }, run: run)
      return BrokenKernel(expectedReason: expectedReason, kernel: AttentionKernel(variant))
    }

    static func softmax(
      _ name: StaticString, _ expectedReason: String, _ run: @convention(c) (UnsafePointer<ck_attention_softmax_call>) -> Void
    ) -> BrokenKernel {
      let variant = ck_attention_softmax_variant(name: symbol(name), isa: 0, run: run)
      return BrokenKernel(expectedReason: expectedReason, kernel: AttentionKernel(variant))
    }

    private static func symbol(_ name: StaticString) -> UnsafePointer<CChar> {
      UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
    }

    static let all: [BrokenKernel] = [
      .keys("drops_the_last_channel_scalar", "instead of") { keys, queries, scores, stride, _ in
        var shorter = queries.pointee
        let row = [Float](unsafeUninitializedCapacity: shorter.rows * keys.pointee.dim) { copy, count in
          for at in 0..<shorter.rows * keys.pointee.dim {
            let (row, channel) = at.quotientAndRemainder(dividingBy: keys.pointee.dim)
            copy[at] = channel + 1 == keys.pointee.dim ? 0 : shorter.q[row * shorter.stride + channel]
          }
          count = shorter.rows * keys.pointee.dim
        }
        row.withUnsafeBufferPointer { row in
          guard let base = row.baseAddress else { return }
          shorter.q = base
          shorter.stride = keys.pointee.dim
          scalarKeys(keys, &shorter, scores, stride)
        }
      },
      .keys("rounds_too_often_scalar", "the error") { keys, queries, scores, stride, _ in
        scalarKeys(keys, queries, scores, stride)
        for row in 0..<queries.pointee.rows {
          for token in 0..<keys.pointee.tokens { scores[row * stride + token] *= 1 + 0x1p-20 }
        }
      },
      .keys("writes_between_rows_scalar", "wrote column") { keys, queries, scores, stride, _ in
        scalarKeys(keys, queries, scores, stride)
        let extent = (keys.pointee.tokens + 15) / 16 * 16
        if queries.pointee.rows > 1, stride > extent { scores[extent] = 0 }
      },
      .keys("writes_beyond_scores_scalar", "bytes beyond the output") { keys, queries, scores, stride, _ in
        scalarKeys(keys, queries, scores, stride)
        scores[(queries.pointee.rows - 1) * stride + (keys.pointee.tokens + 15) / 16 * 16] = 0
      },
      .keys("rows_depend_on_their_number_scalar", "computed alone") { keys, queries, scores, stride, _ in
        scalarKeys(keys, queries, scores, stride)
        if queries.pointee.rows > 1 { scores[0] = scores[0].nextUp }
      },
      .keys("tokens_depend_on_their_number_scalar", "tokens") { keys, queries, scores, stride, _ in
        scalarKeys(keys, queries, scores, stride)
        if keys.pointee.tokens % 2 == 1 { scores[0] = scores[0].nextUp }
      },
      .keys("wants_odd_scratch_scalar", "no multiple of 64", scratch: { _, _ in 65 }) { _, _, _, _, _ in },
      .keys("keeps_queries_as_they_are_avx2", "the error", type: .CK_KV_INT8) { keys, queries, scores, stride, _ in
        scalarKeys(keys, queries, scores, stride, type: .CK_KV_INT8)
      },
      .keys("forgets_a_scale_scalar", "the error", type: .CK_KV_INT8) { keys, queries, scores, stride, _ in
        scalarKeys(keys, queries, scores, stride, type: .CK_KV_INT8)
        for row in 0..<queries.pointee.rows { scores[row * stride] *= 1.25 }
      },
      .keys("forgets_an_exponent_scalar", "the error", type: .CK_KV_RAZER_KEYS, scratch: { _, dim in (dim + 15) / 16 * 64 }) {
        keys, queries, scores, stride, scratch in
        scalarKeys(keys, queries, scores, stride, type: .CK_KV_RAZER_KEYS, scratch: scratch)
        for row in 0..<queries.pointee.rows { scores[row * stride] *= 2 }
      },
      .values("rounds_weights_by_the_chunk_avx2", "the error") { values, rows, p, pStride, y, yStride, _ in
        let tokens = values.pointee.tokens
        let rounded = (0..<rows).flatMap { row -> [Float] in
          let own = (0..<pStride).map { $0 < tokens ? p[row * pStride + $0] : 0 }
          let step = (own.max() ?? 0) / 32639
          return own.map { step > 0 ? ($0 / step).rounded() * step : $0 }
        }
        rounded.withUnsafeBufferPointer { rounded in
          if let base = rounded.baseAddress { scalarValues(values, rows, base, pStride, y, yStride) }
        }
      },
      .values("reads_later_tokens_scalar", "nan") { values, rows, p, pStride, y, yStride, _ in
        var longer = values.pointee
        longer.tokens = (longer.tokens + 63) / 64 * 64
        scalarValues(&longer, rows, p, pStride, y, yStride)
      },
      .values("writes_to_the_cache_scalar", "of part 0") { values, rows, p, pStride, y, yStride, _ in
        UnsafeMutableRawPointer(mutating: values.pointee.parts[0]).storeBytes(of: 0, as: UInt8.self)
        scalarValues(values, rows, p, pStride, y, yStride)
      },
      .softmax("forgets_the_padding_scalar", "though the row does not see it") { call in
        let end = call.pointee.tokens - 1
        let last = call.pointee.scores[end]
        scalarSoftmax(call)
        if call.pointee.visible[0] < call.pointee.first + call.pointee.tokens { call.pointee.scores[end] = last }
      },
      .softmax("ignores_the_tree_scalar", "the row") { call in
        var bare = call.pointee
        bare.tree = nil
        scalarSoftmax(&bare)
      },
      .softmax("adds_up_loosely_scalar", "add up to") { call in
        scalarSoftmax(call)
        for row in 0..<call.pointee.rows { call.pointee.sum[row] *= 1.001 }
      },
    ]
  }

  @Test(arguments: BrokenKernel.all)
  func aBrokenKernelDoesNotPass(broken: BrokenKernel) throws {
    let report = runAttentionChecks(of: [broken.kernel], seed: 1, rounds: 0)
    let failures = report.variants.flatMap(\.failures)
    let failure = try #require(
      failures.first { $0.reason.contains(broken.expectedReason) }, "\(broken.kernel): \(failures.map(\.reason))")
    let again = try #require(AttentionCase(failure.case))
    #expect(repeatAttentionCheck(again, on: broken.kernel) == failure.reason, "\(failure.case)")
  }

  @Test func aCaseIsItsLine() throws {
    let line =
      "variant=attention_keys_bf16_avx2 check=prefix seed=42 rows=3 tokens=17 dim=33 elements=uniform mask=all gap=1 guard=before"
    #expect(try #require(AttentionCase(line)).description == line)
    for damaged in [
      "", "rows=3", line + " rows=4", line + " more=1", line.replacing("rows=3", with: "rows=0"),
      line.replacing("prefix", with: "columns"), line.replacing("tokens=17", with: "tokens=513"),
      line.replacing("mask=all", with: "mask=some"),
    ] {
      #expect(AttentionCase(damaged) == nil, "\(damaged)")
    }
  }
}

private func scalarKeys(
  _ keys: UnsafePointer<ck_kv_span>, _ queries: UnsafePointer<ck_attention_queries>, _ scores: UnsafeMutablePointer<Float>,
  _ stride: Int, type: ck_kv_type = .CK_KV_BF16, scratch: UnsafeMutableRawPointer? = nil
) {
  var count = 0
  let variants = UnsafeBufferPointer(start: ck_attention_keys_variants(&count), count: count)
  variants.first { $0.isa == 0 && $0.type == type }?.run(keys, queries, scores, stride, scratch)
}

private func scalarValues(
  _ values: UnsafePointer<ck_kv_span>, _ rows: Int, _ p: UnsafePointer<Float>, _ pStride: Int,
  _ y: UnsafeMutablePointer<Float>, _ yStride: Int
) {
  var count = 0
  let variants = UnsafeBufferPointer(start: ck_attention_values_variants(&count), count: count)
  variants.first { $0.isa == 0 && $0.type == .CK_KV_INT8 }?.run(values, rows, p, pStride, y, yStride, nil)
}

private func scalarSoftmax(_ call: UnsafePointer<ck_attention_softmax_call>) {
  var count = 0
  let variants = UnsafeBufferPointer(start: ck_attention_softmax_variants(&count), count: count)
  variants.first { $0.isa == 0 }?.run(call)
}
