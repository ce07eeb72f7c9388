internal import ProgramSupport
internal import Tessera
internal import TesseraModels

/// Multiplications by one matrix at a time, all formats and kernels of a shape in turn.
extension Bench {
  func runMultiplications(_ sources: [MatrixSource]) throws(BenchError) {
    guard !settings.packings.isEmpty else { return }
    for source in sources {
      let budget = try copyBytes(for: source.shape)
      let matrix = try source.load()
      let copies = try packedCopies(of: matrix, budget: budget)
      for (index, rows) in settings.rows.enumerated() {
        let title = "\(matrix.shape) M = \(rows)  (\(index + 1) of \(settings.rows.count))"
        try measure(matrix, copies, rows: rows, title: title)
        try checkpoint(report)
      }
    }
  }

  /// A matrix in one format at one sparsity.
  private struct Packing {
    let choice: PackingChoice
    let copies: WeightCopies
  }

  private func packedCopies(of matrix: SourceMatrix, budget: Int) throws(BenchError) -> [Packing] {
    var result: [Packing] = []
    for choice in settings.packings {
      console.progress("\(matrix.shape): packing \(choice.format)")
      let packed = try matrix.packed(choice, seed: settings.seed, on: executor)
      let copies = try attempt { () throws(TesseraError) in try WeightCopies(of: packed, byteCount: budget, on: pool) }
      result.append(Packing(choice: choice, copies: copies))
    }
    return result
  }

  /// Memory for the copies of each packing: the working set, less when memory is short. Known before the matrix is made.
  private func copyBytes(for shape: Shape) throws(BenchError) -> Int {
    let packings = settings.packings.count
    let available = Double(availableMemory() ?? .max)
    // Packing needs the matrix in other forms beside it: pruned, as Float and as codes.
    let others = 4 * shape.denseBytes + activationBytes(inputs: shape.inputs, outputs: shape.outputs)
    let limit = (available - others) * 0.9 / Double(packings)
    guard limit >= shape.denseBytes else {
      throw BenchError.failed(
        "\(shape), M = \(settings.mostRows), in \(packings) packings needs"
          + " \(binarySize(shape.denseBytes * Double(packings) + others)), \(binarySize(available)) are free;"
          + " choose fewer with --format or --m")
    }
    if limit < Double(workingSetBytes) {
      note("\(shape) rotates through \(binarySize(limit)) instead of \(binarySize(workingSetBytes)), for want of memory")
    }
    return Int(min(limit, Double(workingSetBytes)))
  }

  /// What the largest M needs: x and y as Float, x once more as the kernels read it, y once more for its check.
  func activationBytes(inputs: Int, outputs: Int) -> Double { Double(settings.mostRows) * 8 * (Double(inputs) + Double(outputs)) }

  private func measure(_ matrix: SourceMatrix, _ packings: [Packing], rows: Int, title: String) throws(BenchError) {
    console.progress("\(title): checking")
    let x = TestActivations(rows: rows, inputs: matrix.shape.inputs, seed: settings.seed)
    let y = OutputBuffer(count: rows * matrix.shape.outputs)
    var results: [ResultRow] = []
    var cases: [TimedCase<TesseraError>] = []
    for packing in packings {
      let variants = try attempt { () throws(TesseraError) in
        try settings.isa.variants(
          for: packing.choice.format, packing.choice.activations, rows: rows, selection: executor.selection)
      }
      for variant in variants {
        let accuracy = try attempt { () throws(TesseraError) in
          try KernelVerdict.check(variant, on: packing.copies.next(), x: x, executor: executor, seed: settings.seed)
        }
        guard accuracy.isWithinBound else {
          reportWrongKernel(
            "\(variant) on \(matrix.shape), M = \(rows): error \(scientific(accuracy.error)) of sum |w||x| is above its bound"
              + " \(scientific(accuracy.bound)); not timed")
          continue
        }
        results.append(row(matrix, packing, variant, rows: rows, accuracy: accuracy))
        let copies = packing.copies
        cases.append(
          TimedCase { [self] () throws(TesseraError) in
            var target = y.elements.mutableSpan
            try executor.multiply(x.values.span, rows: rows, by: copies.next(), into: &target, variant: variant)
          })
      }
    }
    guard !cases.isEmpty else { return }
    let (best, foreign) = try time(cases, title: title)
    for index in results.indices {
      results[index].samples = cases[index].samples
      results[index].rooflineBandwidth = best
      results[index].foreignCPUs = foreign
    }
    results.fillSpeedups()
    add(results)
  }

  /// Times cases in turn; the roofline of the meantime and what others used of the CPUs.
  func time<Failure: Error>(
    _ cases: [TimedCase<Failure>], title: String
  ) throws(BenchError) -> (bandwidth: Double?, foreignCPUs: Double?) {
    let load = ForeignLoad()
    let firstSample = bandwidth?.samples.count ?? 0
    try attempt { () throws(Failure) in
      let budget = TimeBudget(seconds: settings.secondsPerCase, fewestRounds: 5)
      try interleave(cases, budget: budget, bandwidth: bandwidth) { done in
        console.progress("\(title): \(fixed(done * 100, 0))%")
      }
    }
    return (bandwidth?.best(since: firstSample), load.cpus)
  }

  private func row(
    _ matrix: SourceMatrix, _ packing: Packing, _ variant: KernelVariant, rows: Int, accuracy: Accuracy
  ) -> ResultRow {
    ResultRow(
      op: variant.operation.rawValue, format: packing.choice.format.rawValue, isa: variant.isaTag, variant: variant.name,
      shape: matrix.shape.description, n: matrix.shape.outputs, k: matrix.shape.inputs, m: rows, threads: pool.threadCount,
      activations: packing.choice.activations, sparsity: packing.choice.sparsity, tensor: matrix.tensor, samples: Samples(),
      bytes: packing.copies.original.byteCount,
      flops: 2 * rows * matrix.shape.outputs * matrix.shape.inputs, accuracy: accuracy,
      workingSetBytes: packing.copies.byteCount, isHot: settings.isHot)
  }
}

/// Room for y, at one address for a whole group of cases.
final class OutputBuffer {
  let elements: UnsafeMutableBufferPointer<Float>

  init(count: Int) {
    elements = .allocate(capacity: count)
    elements.initialize(repeating: 0)
  }

  deinit { elements.deallocate() }
}
