internal import CKernels

/// A cell's chunks, from the cache to its part of y: what one thread does.
///
/// Its query rows lie in the order of key-value heads, then of tokens, then of query heads, so that those that share a part of
/// keys or of values follow each other.
struct AttentionWork {
  let sequence: AttentionSequence
  let cell: AttentionPlan.Cell
  let scratch: AttentionScratch
  let kernels: AttentionKernels

  private var contents: AttentionContents { sequence.contents }
  private var shape: AttentionShape { contents.shape }
  /// Query rows of each key-value head.
  private var headRows: Int { cell.queries.count * shape.queriesPerHead }
  private var rows: Int { headRows * cell.heads.count }
  /// Elements from row to row of y.
  private var stride: Int { contents.values.mostDimension }

  /// One chunk, for a later `fold`.
  func run(chunk: Int, into state: AttentionState) {
    gatherQueries()
    compute(chunk: chunk, into: state)
  }

  /// All chunks in order, and the cell's part of y.
  func runAllChunks() {
    gatherQueries()
    scratch.total.clear(rows: rows)
    for chunk in 0..<cell.chunks {
      compute(chunk: chunk, into: scratch.chunk)
      add(scratch.chunk)
    }
    finish()
  }

  /// The chunks that were computed apart, in order, and the cell's part of y.
  func fold(_ states: [AttentionState]) {
    scratch.total.clear(rows: rows)
    for chunk in 0..<cell.chunks { add(states[cell.firstUnit + chunk]) }
    finish()
  }

  private func add(_ chunk: AttentionState) {
    for (index, head) in cell.heads.enumerated() {
      let dimension = contents.values.parts[head / contents.values.headsPerPart].dimension
      scratch.total.fold(chunk, rows: index * headRows..<(index + 1) * headRows, dimension: dimension, stride: stride)
    }
  }

  /// Copies the cell's queries together and notes what each sees.
  private func gatherQueries() {
    let (group, dimension) = (shape.queriesPerHead, shape.keyDimension)
    for (index, head) in cell.heads.enumerated() {
      for (place, query) in cell.queries.enumerated() {
        let row = index * headRows + place * group
        let source = sequence.q + query * shape.queryWidth + head * group * dimension
        (scratch.q + row * dimension).update(from: source, count: group * dimension)
        (scratch.visible + row).update(repeating: UInt32(sequence.visible(to: query)), count: group)
        if case .tree(let ancestors) = sequence.mask { (scratch.tree + row).update(repeating: ancestors[query], count: group) }
      }
    }
  }

  /// The three kernels over a chunk.
  private func compute(chunk: Int, into state: AttentionState) {
    let first = chunk * AttentionPlan.chunk
    let tokens = min(AttentionPlan.chunk, cell.visible - first)
    for part in parts(contents.keys) { score(part, first: first, tokens: tokens) }
    normalize(first: first, tokens: tokens, into: state)
    for part in parts(contents.values) {
      var span = span(contents.values, part, first: first, tokens: tokens, room: scratch.gatheredValues)
      kernels.values.run(
        &span, part.rows.count, scratch.scores + part.rows.lowerBound * AttentionPlan.chunk, AttentionPlan.chunk,
        state.y + part.rows.lowerBound * stride, stride, scratch.kernel)
    }
  }

  private func score(_ part: Part, first: Int, tokens: Int) {
    var span = span(contents.keys, part, first: first, tokens: tokens, room: scratch.gatheredKeys)
    var queries = ck_attention_queries(
      rows: part.rows.count, q: scratch.q + part.rows.lowerBound * shape.keyDimension, stride: shape.keyDimension)
    let scores = scratch.scores + part.rows.lowerBound * AttentionPlan.chunk
    switch kernels.keys {
    case .rows(let kernel): kernel.run(&span, &queries, scores, AttentionPlan.chunk, scratch.kernel)
    case .latents(let kernel, let keys):
      contents.latents.origins.withUnsafeBufferPointer { origins in
        guard let base = origins.baseAddress else { preconditionFailure("latents without angles") }
        var group = keys.operands(part.index)
        var angles = keys.angles(origin: base + first / AttentionPlan.chunk * keys.originCount)
        kernel.run(&group, &angles, &span, &queries, scores, AttentionPlan.chunk, scratch.kernel)
      }
    }
  }

  private func normalize(first: Int, tokens: Int, into state: AttentionState) {
    let isTree = if case .tree = sequence.mask { true } else { false }
    var call = ck_attention_softmax_call(
      rows: rows, tokens: tokens, first: first, scale: shape.scale * Float(1.4426950408889634), visible: scratch.visible,
      tree_first: contents.count - sequence.queries, tree: isTree ? UnsafePointer(scratch.tree) : nil, scores: scratch.scores,
      stride: AttentionPlan.chunk, max: state.max, sum: state.sum)
    kernels.softmax.run(&call)
  }
}

// MARK: The cache

extension AttentionWork {
  /// A part of keys or of values, and the query rows of the heads that share it.
  private struct Part {
    let index: Int
    let rows: Range<Int>
  }

  private func parts(_ side: KVRows) -> some Collection<Part> {
    let rows = headRows * side.headsPerPart
    let first = cell.heads.lowerBound / side.headsPerPart
    return (0..<cell.heads.count / side.headsPerPart).lazy.map { Part(index: first + $0, rows: $0 * rows..<($0 + 1) * rows) }
  }

  /// Where tokens `first` ..< `first` + `tokens` of a part lie, or copies of the selected tokens.
  private func span(_ side: KVRows, _ part: Part, first: Int, tokens: Int, room: UnsafeMutableRawPointer) -> ck_kv_span {
    let slots = Int(CK_KV_TOKENS)
    let list = scratch.parts
    let blocks = 0..<(tokens - 1) / slots + 1
    if let selected = contents.selected?[part.index] {
      let byteCount = side.parts[part.index].byteCount
      for block in blocks { list[block] = UnsafeRawPointer(room + block * byteCount) }
      for index in 0..<tokens {
        let (block, slot) = Int(selected[first + index]).quotientAndRemainder(dividingBy: slots)
        side.copy(
          part.index, slot: slot, of: contents.blocks[block], to: room + index / slots * byteCount, slot: index % slots)
      }
    } else {
      for block in blocks { list[block] = UnsafeRawPointer(side.address(part.index, of: contents.blocks[first / slots + block])) }
    }
    return ck_kv_span(parts: UnsafePointer(list), tokens: tokens, dim: side.parts[part.index].dimension)
  }
}

// MARK: The result

extension AttentionWork {
  /// Divides by the sums, lifts latents, and writes the cell's part of y.
  private func finish() {
    let (group, total) = (shape.queriesPerHead, scratch.total)
    for (index, head) in cell.heads.enumerated() {
      let first = index * headRows
      let dimension = contents.values.parts[head / contents.values.headsPerPart].dimension
      for row in first..<first + headRows { ck_attention_finish(dimension, total.sum[row], total.y + row * stride) }
      let isLifted = lift(head, rows: first..<first + headRows, rank: dimension)
      let width = contents.outputDimension(ofHead: head)
      let source = isLifted ? scratch.lifted : total.y + first * stride
      for (place, query) in cell.queries.enumerated() {
        let target = sequence.y + query * contents.outputWidth + contents.outputColumn(ofHead: head)
        for row in 0..<group {
          (target + row * width).update(from: source + (place * group + row) * (isLifted ? width : stride), count: width)
        }
      }
    }
  }

  /// Multiplies sums of latents by the head's matrix, into `scratch.lifted`; false where there is none.
  private func lift(_ head: Int, rows: Range<Int>, rank: Int) -> Bool {
    guard let lift = contents.latents.values?.lifts?[head], let kernel = kernels.lift else { return false }
    let layout = lift.activationLayout
    for (index, row) in rows.enumerated() {
      _ = layout.fill(
        scratch.liftedRows + index * layout.planeByteCount, stride: layout.planeByteCount,
        from: .float32(scratch.total.y + row * stride), with: kernels.converter)
    }
    let call = GEMMCall(
      ck_gemm_call(
        m: rows.count, n: lift.outputs, k: rank, x: UnsafeRawPointer(scratch.liftedRows), x_stride: layout.planeByteCount,
        x_scale: nil, bias: lift.bias?.base.assumingMemoryBound(to: Float.self), y: UnsafeMutableRawPointer(scratch.lifted),
        y_stride: lift.outputs, y_type: .CK_F32))
    lift.run(kernel, call, panels: 0..<lift.panelCount, scratch: scratch.kernel)
    return true
  }
}
