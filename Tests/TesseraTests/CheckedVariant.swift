internal import CKernels
internal import EmulatedKernels
internal import KernelChecks
internal import Synchronization
internal import Testing

@testable internal import Tessera

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// A kernel that this machine can check: it has the instructions, or there is a model of them in C.
struct CheckedVariant: Sendable, CustomTestStringConvertible {
  let variant: KernelVariant
  let isEmulated: Bool

  var testDescription: String { isEmulated ? "\(variant) emulated" : "\(variant)" }

  static let all: [CheckedVariant] = {
    let features = InstructionSet.detect()
    let native = KernelVariant.all.filter { features.isSuperset(of: $0.instructionSets) }
    return native.map { CheckedVariant(variant: $0, isEmulated: false) }
      + emulated.map { CheckedVariant(variant: $0, isEmulated: true) }
  }()

  static func all(for operation: Tessera.Operation) -> [CheckedVariant] { all.filter { $0.variant.operation == operation } }

  private static let emulated: [KernelVariant] = {
    var denseCount = 0
    var bitmapCount = 0
    let dense = UnsafeBufferPointer(start: ck_dense_gemm_emulated(&denseCount), count: denseCount)
    var code4Count = 0
    let bitmap = UnsafeBufferPointer(start: ck_bitmap_gemm_emulated(&bitmapCount), count: bitmapCount)
    let code4 = UnsafeBufferPointer(start: ck_code4_gemm_emulated(&code4Count), count: code4Count)
    return dense.map { KernelVariant($0) } + bitmap.map { KernelVariant($0) } + code4.map { KernelVariant($0) }
  }()

  /// What the emulated machine would have faulted on since the last question.
  @Sendable static func modelFault() -> String? { ck_model_take_fault().map { String(cString: $0) } }

  /// Runs the checks that `kbench --check` runs, and notes that they ran.
  func runChecks(seed: UInt64) -> KernelCheckReport {
    let report = runKernelChecks(
      of: [variant], features: variant.instructionSets, seed: seed, rounds: 40, every: checkEvery,
      modelFault: CheckedVariant.modelFault)
    for result in report.variants { Coverage.note(result, isEmulated: isEmulated) }
    return report
  }
}

/// Which kernels the run has checked; said in its last lines.
enum Coverage {
  private static let ran = Mutex<[String: [String]]>([:])

  static func note(_ result: KernelCheckReport.Variant, isEmulated: Bool) {
    guard result.cases > 0 else { return }
    let share = Int((result.worstShareOfBound * 1000).rounded(.up))
    let way = "\(isEmulated ? "emulated" : "ran native"), \(result.cases) cases, error \(share) / 1000 of the bound"
    ran.withLock { $0[result.name, default: []].append(way) }
    _ = sayAtExit
  }

  /// A line for each kernel of the library.
  private static var lines: [String] {
    let ran = ran.withLock { $0 }
    return (KernelVariant.all.map(\.name) + CheckedAttentionKernel.shipped.map(\.name)).map {
      "\($0): \(ran[$0]?.joined(separator: "; ") ?? "NOT RUN")"
    }
  }

  /// The tests run in any order, so only the process's end knows what was skipped.
  private static let sayAtExit: Bool = {
    atexit { for line in ["Kernel coverage:"] + Coverage.lines { puts(line) } }
    return true
  }()
}

/// `TESSERA_CHECK_EVERY=3` runs a third of the kernel checks, another third with another seed.
let checkEvery: Int = {
  guard let text = getenv("TESSERA_CHECK_EVERY").map({ String(cString: $0) }) else { return 1 }
  guard let every = Int(text), every > 0 else { preconditionFailure("TESSERA_CHECK_EVERY=\(text) is no number above 0") }
  return every
}()

/// Different in every run; `TESSERA_SEED` repeats one.
let checkSeed: UInt64 = {
  let seed = getenv("TESSERA_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0..<1 << 32)
  print("kernel checks: TESSERA_SEED=\(seed)")
  return seed
}()
