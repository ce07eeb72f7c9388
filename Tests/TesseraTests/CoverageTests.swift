internal import Testing

@testable internal import Tessera

/// No kernel ships that was never executed.
@Suite struct CoverageTests {
  /// The suites of the operations check everything in `CheckedVariant.all` and fail when a check ran no case.
  @Test(arguments: KernelVariant.all.map(\.name))
  func everyVariantIsCheckedHere(name: String) {
    #expect(
      CheckedVariant.all.contains { $0.variant.name == name },
      "\(name) can neither run on this machine nor be emulated: give it a model in Tests/EmulatedKernels")
  }

  @Test func everyEmulatedVariantShips() {
    for checked in CheckedVariant.all {
      let shipped = KernelVariant.all.first { $0.name == checked.variant.name }
      #expect(shipped?.instructionSets == checked.variant.instructionSets, "\(checked.variant)")
      #expect(shipped?.minRows == checked.variant.minRows, "\(checked.variant)")
    }
  }

  @Test(arguments: WeightFormat.allCases)
  func everyFormatEndsWithAScalarReference(format: WeightFormat) throws {
    for activations in format.activations {
      let last = try #require(KernelVariant.all(for: format, activations: activations).last)
      #expect(last.isaTag == "scalar")
      #expect(last.instructionSets.isEmpty)
      #expect(last.minRows == 1)
    }
  }

  @Test func namesAreUniqueAndSayWhatTheyAre() {
    #expect(Set(KernelVariant.all.map(\.name)).count == KernelVariant.all.count)
    for variant in KernelVariant.all {
      #expect(variant.name.hasPrefix(variant.operation.rawValue), "\(variant)")
      #expect(variant.instructionSets.isEmpty || variant.instructionSets.tags.contains(variant.isaTag), "\(variant)")
    }
  }
}
