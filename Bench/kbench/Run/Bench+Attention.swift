internal import Tessera

/// Attention of a preset's heads over caches of some lengths, all formats and kernels of a length in turn.
extension Bench {
  func runAttention() throws(BenchError) {
    guard settings.operations.contains(.attention), !settings.attentionFormats.isEmpty else { return }
    for preset in settings.presets {
      let shape = try attempt { () throws(TesseraError) in
        try AttentionShape(
          queryHeads: preset.queryHeads, keyValueHeads: preset.keyValueHeads, keyDimension: preset.headDimension)
      }
      for context in settings.contexts {
        try checkMemory(shape, context: context)
        let rows = AttentionRows(shape, context: context, seed: settings.seed)
        let caches = try caches(of: rows, title: "\(preset.name), \(context) tokens")
        for queries in settings.rows where queries <= context {
          try measure(caches, rows, queries: queries, preset: preset)
          try checkpoint(report)
        }
      }
    }
  }

  private func caches(of rows: AttentionRows, title: String) throws(BenchError) -> [AttentionCaches] {
    var result: [AttentionCaches] = []
    for format in settings.attentionFormats {
      console.progress("\(title): filling \(format.rawValue)")
      result.append(
        try attempt { () throws(TesseraError) in
          try AttentionCaches(format, rows, byteCount: workingSetBytes, on: executor)
        })
    }
    return result
  }

  private func checkMemory(_ shape: AttentionShape, context: Int) throws(BenchError) {
    let one = 4 * Double(context) * Double(shape.keyWidth)
    let needed = Double(settings.attentionFormats.count) * max(one, Double(workingSetBytes))
    guard let available = availableMemory(), needed > Double(available) * 0.9 else { return }
    throw BenchError.failed(
      "caches of \(context) tokens in \(settings.attentionFormats.count) formats need \(binarySize(needed)),"
        + " \(binarySize(available)) are free; choose fewer with --format or --context")
  }

  private func measure(
    _ caches: [AttentionCaches], _ rows: AttentionRows, queries: Int, preset: ModelPreset
  ) throws(BenchError) {
    let title = "\(preset.name) attention, \(rows.context) tokens, M = \(queries)"
    console.progress("\(title): checking")
    let q = rows.queries(tokens: queries)
    let y = OutputBuffer(count: queries * rows.shape.outputWidth)
    var results: [ResultRow] = []
    var cases: [TimedCase<TesseraError>] = []
    for cache in caches {
      let kernelRows = queries * rows.shape.queriesPerHead
      for selection in settings.isa.attentionSelections(for: cache.format, rows: kernelRows, selection: executor.selection) {
        let accuracy = try attempt { () throws(TesseraError) in
          try AttentionVerdict.check(selection, on: cache, rows, queries: queries, executor: executor)
        }
        let kernels = cache.format.kernels(of: selection, rows: kernelRows)
        guard accuracy.isWithinBound else {
          reportWrongKernel(
            "\(kernels) over \(cache.format.rawValue), M = \(queries): error \(scientific(accuracy.error)) is above its bound"
              + " \(scientific(accuracy.bound)); not timed")
          continue
        }
        results.append(row(cache, rows, kernels, queries: queries, preset: preset, accuracy: accuracy))
        cases.append(
          TimedCase { [self] () throws(TesseraError) in
            var target = y.elements.mutableSpan
            try executor.attend(q.span, to: [cache.next()], tokens: [queries], into: &target, selection: selection)
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

  private func row(
    _ caches: AttentionCaches, _ rows: AttentionRows, _ kernels: [AttentionKernel], queries: Int, preset: ModelPreset,
    accuracy: Accuracy
  ) -> ResultRow {
    let shape = rows.shape
    return ResultRow(
      op: BenchOperation.attention.rawValue, format: caches.format.rawValue, isa: kernels[0].isaTag,
      variant: kernels.map(\.name).joined(separator: "+"),
      shape: "\(shape.queryHeads)/\(shape.keyValueHeads)x\(shape.keyDimension)@\(contextName(rows.context))", m: queries,
      threads: pool.threadCount, context: rows.context, samples: Samples(), bytes: caches.bytesRead,
      flops: 2 * queries * rows.context * shape.queryHeads * (shape.keyDimension + shape.valueDimension), accuracy: accuracy,
      workingSetBytes: caches.byteCount, isHot: settings.isHot)
  }

  private func contextName(_ tokens: Int) -> String { tokens % 1024 == 0 ? "\(tokens / 1024)K" : "\(tokens)" }
}
