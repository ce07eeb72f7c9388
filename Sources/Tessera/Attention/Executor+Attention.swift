internal import CKernels
internal import Synchronization

extension Executor {
  /// softmax(scale Q K^T) V over caches: one step of attention for a batch of sequences of any lengths.
  ///
  /// The queries of a sequence are those of the last tokens of its cache, so their keys and values go in first. The bits of a row
  /// depend neither on the batch, nor on how many queries come together, nor on the threads, as long as the kernels are the same
  /// (`KernelSelection.pinnedRows`).
  ///
  /// - Parameters:
  ///   - queries: for each sequence in turn, tokens x `shape.queryWidth` elements, rotated where the model rotates.
  ///   - batch: the caches' contents.
  ///   - tokens: how many query tokens each sequence has; nil means 1 each.
  ///   - mask: what each query sees.
  ///   - y: for each sequence in turn, tokens x the contents' `outputWidth` elements, all overwritten.
  ///   - selection: kernels to choose from instead of the executor's.
  /// - Throws: `sizeMismatch` naming queries, y or the counts of tokens; `emptyCache`; `invalidPosition` for more queries than
  ///   tokens in a cache; `invalidMask`; `overlappingMemory`; `outOfMemory`.
  public func attend(
    _ queries: Span<Float>, to batch: [AttentionContents], tokens: [Int]? = nil, mask: AttentionMask = .causal,
    into y: inout MutableSpan<Float>, selection: KernelSelection? = nil
  ) throws(TesseraError) {
    try check(queries.count, y.count, batch: batch, tokens: tokens, mask: mask)
    try queries.withUnsafeBufferPointer { queries throws(TesseraError) in
      try y.withUnsafeMutableBufferPointer { y throws(TesseraError) in
        guard let q = queries.baseAddress, let target = y.baseAddress else { return }
        guard q + queries.count <= UnsafePointer(target) || UnsafePointer(target) + y.count <= q else {
          throw .overlappingMemory(what: "y")
        }
        var sequences: [AttentionSequence] = []
        var (qPlace, yPlace) = (0, 0)
        for (index, contents) in batch.enumerated() {
          let count = tokens?[index] ?? 1
          sequences.append(
            AttentionSequence(contents: contents, queries: count, mask: mask, q: q + qPlace, y: target + yPlace))
          qPlace += count * contents.shape.queryWidth
          yPlace += count * contents.outputWidth
        }
        try run(sequences, selection: selection ?? self.selection)
      }
    }
  }

  private func check(
    _ queryCount: Int, _ yCount: Int, batch: [AttentionContents], tokens: [Int]?, mask: AttentionMask
  ) throws(TesseraError) {
    if let tokens, tokens.count != batch.count {
      throw .sizeMismatch(what: "counts of query tokens", expected: batch.count, got: tokens.count)
    }
    var (expectedQ, expectedY) = (0, 0)
    for (index, contents) in batch.enumerated() {
      let count = tokens?[index] ?? 1
      guard contents.count > 0 else { throw .emptyCache }
      guard count >= 1, mask == .all || count <= contents.count else {
        throw .invalidPosition(what: "of a query", position: count, count: contents.count)
      }
      try mask.validate(queries: count)
      expectedQ += count * contents.shape.queryWidth
      expectedY += count * contents.outputWidth
    }
    guard queryCount == expectedQ else { throw .sizeMismatch(what: "queries", expected: expectedQ, got: queryCount) }
    guard yCount == expectedY else { throw .sizeMismatch(what: "y", expected: expectedY, got: yCount) }
  }

  private func run(_ sequences: [AttentionSequence], selection: KernelSelection) throws(TesseraError) {
    guard !sequences.isEmpty else { return }
    precondition(
      machine.instructionSets.isSuperset(of: selection.features), "kernels selected for a machine with more than this one has")
    let plan = AttentionPlan(sequences, threads: pool.threadCount)
    let kernels = sequences.map { sequence in
      AttentionKernels(sequence.contents, rows: sequence.headRows, from: selection)
    }
    let layout = AttentionScratch.Layout(sequences, kernels: kernels)
    try attentionWorkspace.withLock { workspace throws(TesseraError) in
      let scratch = try workspace.layOutScratch(byteCount: layout.byteCount, threads: pool.threadCount)
      let states = try workspace.layOutStates(plan, sequences: sequences)
      let sources = try workspace.layOutSources(sequences)
      sequences.withUnsafeBufferPointer { sequences in
        kernels.withUnsafeBufferPointer { kernels in
          let call = AttentionCall(
            plan: plan, sequences: sequences, sources: sources, kernels: kernels, states: states, scratch: scratch, layout: layout
          )
          call.run(on: pool)
        }
      }
    }
  }
}
