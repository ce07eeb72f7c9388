internal import KernelChecks
internal import Testing

@testable internal import Tessera

@Suite struct Code4GEMMTests {
  @Test(arguments: CheckedVariant.all(for: .code4GEMM))
  func passesTheChecks(checked: CheckedVariant) {
    let report = checked.runChecks(seed: checkSeed)
    #expect(report.passed, "\(report)")
  }
}
