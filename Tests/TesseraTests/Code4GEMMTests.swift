@testable internal import KernelChecks
internal import Testing

@testable internal import Tessera

@Suite struct Code4GEMMTests {
  @Test(arguments: CheckedVariant.all(for: .code4GEMM))
  func passesTheChecks(checked: CheckedVariant) {
    let report = checked.runChecks(seed: checkSeed)
    #expect(report.passed, "\(report)")
  }
}

/// Integer sums of groups are exact, and both AVX-512 VNNI and the tile unit add them up in the order of the groups.
@Suite struct Code4EqualBitsTests {
  @Test(arguments: [ActivationType.int8, .int16], WeightFormat.allCases.filter { ($0.code4?.group ?? 0) >= 64 })
  func theTileUnitAndVNNIGiveTheSameBits(type: ActivationType, format: WeightFormat) throws {
    guard format.activations.contains(type) else { return }
    let kernels = CheckedVariant.all(for: .code4GEMM).filter {
      $0.variant.activations == type && ["avx512vnni", "amxint8"].contains($0.variant.isaTag)
    }
    #expect(kernels.isEmpty || Set(kernels.map(\.variant.isaTag)).count == 2)
    for seed in checkSeed..<checkSeed + 40 {
      var kernelCase = try #require(kernels.first.map { KernelCase.random(of: $0.variant, seed: seed) })
      kernelCase.format = format.rawValue
      let outputs = try kernels.map { try bytes(of: $0.variant, on: kernelCase) }
      for output in outputs { #expect(output == outputs[0], "\(kernelCase)") }
    }
  }

  private func bytes(of variant: KernelVariant, on kernelCase: KernelCase) throws -> [UInt8] {
    let elements = Elements(kernelCase, of: variant)
    let operands = try #require(Operands(kernelCase, activations: variant.activations, elements: elements))
    let kernel = CheckedKernel(variant: variant, operands: operands, modelFault: CheckedVariant.modelFault)
    let y = try kernel.makeOutput(rows: kernelCase.m)
    try kernel.run(rows: kernelCase.m, into: y)
    return Array(UnsafeBufferPointer(start: y.pointer(to: UInt8.self), count: y.byteCount))
  }
}
