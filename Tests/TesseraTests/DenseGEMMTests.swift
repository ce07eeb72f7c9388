internal import KernelChecks
internal import Testing

@testable internal import Tessera

@Suite struct DenseGEMMTests {
  @Test(arguments: CheckedVariant.all(for: .denseGEMM))
  func passesTheChecks(checked: CheckedVariant) {
    let report = checked.runChecks(seed: checkSeed)
    #expect(report.passed, "\(report)")
  }
}
