public import Tessera

/// Runs the randomised checks of attention's kernels, as `runKernelChecks` does those of the linear ones. Kernels of latent keys
/// are left out: they have other operands.
public func runAttentionChecks(
  of kernels: [AttentionKernel] = AttentionKernel.all, features: InstructionSet = .detect(), seed: UInt64, rounds: Int = 100,
  every: Int = 1, modelFault: @escaping @Sendable () -> String? = { nil }, progress: (KernelCheckProgress) -> Void = { _ in }
) -> KernelCheckReport {
  let kernels = kernels.filter { $0.step != .latentKeys }
  let runnable = kernels.filter { features.isSuperset(of: $0.instructionSets) }
  var report = KernelCheckReport(seed: seed)
  report.notRun = kernels.filter { !features.isSuperset(of: $0.instructionSets) }.map {
    KernelCheckReport.NotRun(variant: $0.name, missing: features.missingTags(for: $0.instructionSets))
  }
  let clock = ContinuousClock()
  for (index, kernel) in runnable.enumerated() {
    var result = KernelCheckReport.Variant(name: kernel.name)
    let start = clock.now
    let sweep = AttentionCase.sweep(of: kernel, seed: seed).enumerated()
      .filter { (UInt64($0.offset) &+ seed) % UInt64(every) == 0 }
      .map { $0.element }
    for attentionCase in sweep + (0..<rounds / every).map({ .random(of: kernel, seed: seed &+ UInt64($0)) }) {
      let line = attentionCase.description
      progress(KernelCheckProgress(variant: kernel.name, index: index, count: runnable.count, case: line))
      result.add(
        check: attentionCase.check.rawValue, line: line, outcome(of: attentionCase, on: kernel, modelFault: modelFault))
    }
    result.duration = clock.now - start
    report.variants.append(result)
  }
  return report
}

/// Runs one case again.
/// - Returns: nil when it passes, or what is wrong.
public func repeatAttentionCheck(
  _ attentionCase: AttentionCase, on kernel: AttentionKernel, modelFault: @escaping @Sendable () -> String? = { nil }
) -> String? {
  switch outcome(of: attentionCase, on: kernel, modelFault: modelFault) {
  case .success: nil
  case .failure(let failure): failure.reason
  }
}

private func outcome(
  of attentionCase: AttentionCase, on kernel: AttentionKernel, modelFault: @escaping @Sendable () -> String?
) -> Result<Oracle.Shares, CheckFailure> {
  Result { () throws(CheckFailure) in
    try AttentionCaseChecks(attentionCase, on: kernel, modelFault: modelFault).run()
  }
}
