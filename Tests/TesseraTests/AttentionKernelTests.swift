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
    let native = AttentionKernel.all.filter { features.isSuperset(of: $0.instructionSets) }
    return native.map { CheckedAttentionKernel(kernel: $0, isEmulated: false) }
      + emulated.map { CheckedAttentionKernel(kernel: $0, isEmulated: true) }
  }()

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
  @Test(arguments: AttentionKernel.all.map(\.name))
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
    for kernel in AttentionKernel.all {
      #expect(kernel.name.hasPrefix("attention_\(kernel.step)_"), "\(kernel)")
      #expect(kernel.instructionSets.isEmpty || kernel.instructionSets.tags.contains(kernel.isaTag), "\(kernel)")
    }
  }

  @Test(arguments: AttentionKernel.Step.allCases, KVFormat.allCases)
  func everyListEndsWithAScalarReference(step: AttentionKernel.Step, format: KVFormat) throws {
    let last = try #require(AttentionKernel.all(step, format).last)
    #expect(last.isaTag == "scalar" && last.instructionSets.isEmpty && last.minRows == 1)
  }
}
