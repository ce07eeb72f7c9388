public import Tessera

/// Runs the randomised checks of kernels: a sweep over shapes, then random cases. The test suite and `kbench --check` share it.
///
/// - Parameters:
///   - variants: What to check. Emulated kernels come with features that have everything.
///   - operations: Narrows `variants`.
///   - features: A variant that needs more is not run and is named in the report.
///   - seed: The same seed gives the same cases, however many of the random ones time allows.
///   - rounds: Random cases for each variant after its sweep.
///   - every: Of the sweep and of the rounds, one in so many cases, others with another seed: for slow builds.
///   - timeLimit: When given, random cases go on until it is used up, shared equally, whatever `rounds` says.
///   - modelFault: Asked after every call, on its thread: what an emulated machine would have faulted on.
///   - progress: Called before each case.
public func runKernelChecks(
  of variants: [KernelVariant] = KernelVariant.all, operations: [Operation] = Operation.allCases,
  features: InstructionSet = .detect(), seed: UInt64, rounds: Int = 100, every: Int = 1, timeLimit: Duration? = nil,
  modelFault: @escaping @Sendable () -> String? = { nil }, progress: (KernelCheckProgress) -> Void = { _ in }
) -> KernelCheckReport {
  let wanted = variants.filter { operations.contains($0.operation) }
  let runnable = wanted.filter { features.isSuperset(of: $0.instructionSets) }
  var report = KernelCheckReport(seed: seed)
  report.notRun = wanted.filter { !features.isSuperset(of: $0.instructionSets) }.map {
    KernelCheckReport.NotRun(variant: $0.name, missing: features.missingTags(for: $0.instructionSets))
  }
  let pools = Pools()
  let clock = ContinuousClock()
  for (index, variant) in runnable.enumerated() {
    var result = KernelCheckReport.Variant(name: variant.name)
    func check(_ kernelCase: KernelCase) {
      progress(KernelCheckProgress(variant: variant.name, index: index, count: runnable.count, case: kernelCase.description))
      result.add(
        check: kernelCase.check.rawValue, line: kernelCase.description,
        outcome(of: kernelCase, on: variant, pools: pools, modelFault: modelFault))
    }
    let start = clock.now
    for (number, kernelCase) in KernelCase.sweep(of: variant, seed: seed).enumerated()
    where (UInt64(number) &+ seed) % UInt64(every) == 0 {
      check(kernelCase)
    }
    var round = 0
    while timeLimit.map({ clock.now - start < $0 / runnable.count }) ?? (round < rounds / every) {
      check(.random(of: variant, seed: seed &+ UInt64(round)))
      round += 1
    }
    result.duration = clock.now - start
    report.variants.append(result)
  }
  return report
}

/// Runs one case again.
/// - Returns: nil when it passes, or what is wrong.
public func repeatKernelCheck(
  _ kernelCase: KernelCase, on variant: KernelVariant, modelFault: @escaping @Sendable () -> String? = { nil }
) -> String? {
  switch outcome(of: kernelCase, on: variant, pools: Pools(), modelFault: modelFault) {
  case .success: nil
  case .failure(let failure): failure.reason
  }
}

/// What runs next.
public struct KernelCheckProgress: Sendable {
  public let variant: String
  /// Of the variants that run, counted from 0.
  public let index: Int
  public let count: Int
  /// The line that repeats the case.
  public let `case`: String
}

private func outcome(
  of kernelCase: KernelCase, on variant: KernelVariant, pools: Pools, modelFault: @escaping @Sendable () -> String?
) -> Result<Oracle.Shares, CheckFailure> {
  Result { () throws(CheckFailure) in
    try CaseChecks(kernelCase, on: variant, pools: pools, modelFault: modelFault).run()
  }
}
