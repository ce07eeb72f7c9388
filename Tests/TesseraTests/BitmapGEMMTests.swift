internal import KernelChecks
internal import Testing

@testable internal import Tessera

@Suite struct BitmapGEMMTests {
  @Test(arguments: CheckedVariant.all(for: .bitmapGEMM))
  func passesTheChecks(checked: CheckedVariant) {
    let report = checked.runChecks(seed: checkSeed)
    #expect(report.passed, "\(report)")
  }
}
