internal import CKernelChecks
internal import CKernels
internal import KernelChecks
internal import Testing

@testable internal import Tessera

/// The checks themselves: kernels that are wrong in one way each must not pass.
@Suite struct KernelChecksTests {
  /// A kernel that does something besides what the scalar reference does.
  struct BrokenKernel: Sendable, CustomTestStringConvertible {
    let name: String
    /// Part of the reason that some failure must give.
    let expectedReason: String
    let variant: KernelVariant

    var testDescription: String { name }

    typealias Run =
      @convention(c) (
        UnsafePointer<ck_gemm_call>, UnsafePointer<ck_dense_weights>, Int, Int, UnsafeMutableRawPointer?
      ) -> Void

    init(_ name: StaticString, _ expectedReason: String, scratch: Int = 0, _ run: Run) {
      self.name = "\(name)"
      self.expectedReason = expectedReason
      let bytes: @convention(c) (UnsafePointer<ck_gemm_call>) -> Int = scratch == 0 ? { _ in 0 } : { _ in 64 }
      let symbol = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
      variant = KernelVariant(ck_dense_gemm_variant(name: symbol, isa: 0, min_m: 1, scratch_bytes: bytes, run: run))
    }

    static let all: [BrokenKernel] = [
      BrokenKernel("does_nothing_scalar", "instead of") { _, _, _, _, _ in },
      BrokenKernel("drops_the_bias_scalar", "instead of") { call, w, begin, end, _ in
        var bare = call.pointee
        bare.bias = nil
        runScalar(&bare, w, begin, end)
      },
      BrokenKernel("drops_the_last_k_scalar", "instead of") { call, w, begin, end, _ in
        var shorter = call.pointee
        if shorter.k % 32 > 1 { shorter.k -= 1 }
        runScalar(&shorter, w, begin, end)
      },
      BrokenKernel("rounds_too_often_scalar", "the error") { call, w, begin, end, _ in
        runScalar(call, w, begin, end)
        forEachFloat(call, begin, end) { value, _, _ in value = value * (1 + 0x1p-20) }
      },
      BrokenKernel("writes_one_column_too_many_scalar", "SIGSEGV 0 bytes beyond y") { call, w, begin, end, _ in
        runScalar(call, w, begin, end)
        let last = (call.pointee.m - 1) * call.pointee.y_stride + call.pointee.n
        if call.pointee.y_type == .CK_F32 { call.pointee.y.assumingMemoryBound(to: Float.self)[last] = 0 }
      },
      BrokenKernel("writes_between_rows_scalar", "wrote y") { call, w, begin, end, _ in
        runScalar(call, w, begin, end)
        let call = call.pointee
        guard call.m > 1, call.y_stride > call.n, call.y_type == .CK_F32 else { return }
        call.y.assumingMemoryBound(to: Float.self)[call.n] = 0
      },
      BrokenKernel("writes_before_y_scalar", "outside y") { call, w, begin, end, _ in
        runScalar(call, w, begin, end)
        // Within the page, where only the pattern tells.
        if UInt(bitPattern: call.pointee.y) % 4096 != 0 { call.pointee.y.assumingMemoryBound(to: UInt16.self)[-1] = 0 }
      },
      BrokenKernel("computes_all_panels_scalar", "does not belong") { call, w, begin, end, _ in
        if begin < end { runScalar(call, w, 0, (call.pointee.n + 15) / 16) }
      },
      BrokenKernel("reads_beyond_x_scalar", "SIGSEGV 0 bytes beyond x") { call, w, begin, end, _ in
        runScalar(call, w, begin, end)
        let call = call.pointee
        let row = (call.k + 31) / 32 * 64
        let beyond = (call.x + ((call.m - 1) * call.x_stride + row)).load(as: UInt16.self)
        if beyond == 0x1234 { call.y.assumingMemoryBound(to: UInt16.self)[0] = beyond }
      },
      BrokenKernel("writes_to_x_scalar", "SIGSEGV at byte 0 of x") { call, w, begin, end, _ in
        UnsafeMutableRawPointer(mutating: call.pointee.x).storeBytes(of: 0, as: UInt16.self)
        runScalar(call, w, begin, end)
      },
      BrokenKernel("writes_beyond_its_scratch_scalar", "scratch", scratch: 64) { call, w, begin, end, scratch in
        runScalar(call, w, begin, end)
        guard let scratch, UInt(bitPattern: scratch) % 4096 == 0 else { return }
        scratch.storeBytes(of: 0, toByteOffset: 64, as: UInt16.self)
      },
      BrokenKernel("rows_depend_on_their_number_scalar", "computed alone") { call, w, begin, end, _ in
        runScalar(call, w, begin, end)
        if call.pointee.m > 1 { forEachFloat(call, begin, end) { value, _, _ in value = value.nextUp } }
      },
      BrokenKernel("panels_depend_on_the_split_scalar", "split at") { call, w, begin, end, _ in
        runScalar(call, w, begin, end)
        if begin > 0 { forEachFloat(call, begin, end) { value, _, _ in value = value.nextUp } }
      },
      BrokenKernel("swallows_nan_scalar", "nan") { call, w, begin, end, _ in
        runScalar(call, w, begin, end)
        forEachFloat(call, begin, end) { value, _, _ in value = value.isNaN ? 0 : value }
      },
    ]

    /// Where there are tiles.
    static let usesTiles = BrokenKernel("leaves_its_tiles_scalar", "not released") { call, w, begin, end, _ in
      runScalar(call, w, begin, end)
      ck_check_use_tiles()
    }
    static let hasTiles = Machine.current.instructionSets.contains(.amxtile)
  }

  @Test(arguments: BrokenKernel.all + (BrokenKernel.hasTiles ? [.usesTiles] : []))
  func aBrokenKernelDoesNotPass(kernel: BrokenKernel) throws {
    var reasons: [KernelCheckReport.Failure] = []
    for seed in UInt64(1)...8 {
      let report = runKernelChecks(of: [kernel.variant], seed: seed, rounds: 0)
      reasons += report.variants.flatMap(\.failures)
      if reasons.contains(where: { $0.reason.contains(kernel.expectedReason) }) { break }
    }
    let failure = try #require(
      reasons.first { $0.reason.contains(kernel.expectedReason) }, "\(kernel.name): \(reasons.map(\.reason))")
    let line = failure.case
    let again = try #require(KernelCase(line))
    #expect(repeatKernelCheck(again, on: kernel.variant) == failure.reason, "\(line)")
  }

  @Test func theReportNamesWhatItCouldNotRun() throws {
    let needy = KernelVariant.all.filter { !$0.instructionSets.isEmpty }
    let report = runKernelChecks(of: needy, features: [], seed: 1)
    #expect(report.notRun.map(\.variant) == needy.map(\.name))
    #expect(!report.passed, "a run without a single case proves nothing")
    for variant in needy { #expect(report.description.contains("\(variant): NOT RUN, needs ")) }
  }

  @Test func aCaseIsItsLine() throws {
    let line =
      "variant=dense_gemm_avx2 format=bf16 check=rows seed=42 m=3 n=17 k=33 elements=uniform density=ragged bias=true "
      + "output=bf16 y_gap=1 x_gap=2 guard=before threads=1"
    #expect(try #require(KernelCase(line)).description == line)
    #expect(KernelCase(line.replacing("density=ragged", with: "density=0.5"))?.density == .all(0.5))
    for damaged in [
      "", "m=3", line + " m=4", line + " more=1", line.replacing("m=3", with: "m=0"), line.replacing("rows", with: "columns"),
      line.replacing("density=ragged", with: "density=2"), line.replacing("threads=1", with: "threads=65"),
    ] {
      #expect(KernelCase(damaged) == nil, "\(damaged)")
    }
  }
}

private func runScalar(
  _ call: UnsafePointer<ck_gemm_call>, _ w: UnsafePointer<ck_dense_weights>, _ begin: Int, _ end: Int
) {
  var count = 0
  let variants = ck_dense_gemm_variants(&count)
  variants[count - 1].run(call, w, begin, end, nil)
}

private func forEachFloat(
  _ call: UnsafePointer<ck_gemm_call>, _ begin: Int, _ end: Int, _ body: (inout Float, Int, Int) -> Void
) {
  let call = call.pointee
  guard call.y_type == .CK_F32 else { return }
  let y = call.y.assumingMemoryBound(to: Float.self)
  for row in 0..<call.m {
    for column in begin * 16..<max(begin * 16, min(end * 16, call.n)) { body(&y[row * call.y_stride + column], row, column) }
  }
}
