internal import CKernels

/// A cell's chunks, from the cache to its part of y: what one thread does.
///
/// Its query rows lie in the order of key-value heads, then of tokens, then of query heads, so that those that share a part of
/// keys or of values follow each other.
struct AttentionWork {
  let sequence: UnsafePointer<AttentionSequence>
  let source: AttentionSource
  let cell: AttentionPlan.Cell
  let scratch: AttentionScratch
  let kernels: UnsafePointer<AttentionKernels>

  private var shape: AttentionShape { source.shape }
  /// Query rows of each key-value head.
  private var headRows: Int { cell.queries.count * shape.queriesPerHead }
  private var rows: Int { headRows * cell.heads.count }
  /// The scores' factor times log2(e).
  private var scale: Float { shape.scale * Float(1.4426950408889634) }
  /// Elements from row to row of y.
  private var stride: Int { source.values.mostDimension }

  /// One chunk, for a later `fold`.
  /// - Parameter next: what the thread reads after it.
  func run(chunk: Int, into state: AttentionState, next: UnsafeRawPointer?) {
    gatherQueries()
    compute(chunk: chunk, into: state, next: next)
  }

  /// All chunks in order, and the cell's part of y.
  /// - Parameter next: what the thread reads after them.
  func runAllChunks(next: UnsafeRawPointer?) {
    gatherQueries()
    scratch.total.clear(rows: rows)
    for chunk in 0..<cell.chunks {
      compute(chunk: chunk, into: scratch.chunk, next: chunk + 1 < cell.chunks ? beginning(ofChunk: chunk + 1) : next)
      add(scratch.chunk)
    }
    finish()
  }

  /// What is read first of a chunk; nil where rows are gathered from all over the cache.
  func beginning(ofChunk chunk: Int) -> UnsafeRawPointer? {
    address(source.keys, parts(source.keys).lowerBound, token: chunk * AttentionPlan.chunk)
  }

  /// The chunks that were computed apart, in order, and the cell's part of y.
  func fold(_ states: AttentionStates) {
    scratch.total.clear(rows: rows)
    for chunk in 0..<cell.chunks { add(states[cell.firstUnit + chunk]) }
    finish()
  }

  private func add(_ chunk: AttentionState) {
    for (index, head) in cell.heads.enumerated() {
      let dimension = source.values.parts[head / source.values.headsPerPart].dimension
      scratch.total.fold(
        chunk, scale: scale, rows: index * headRows..<(index + 1) * headRows, dimension: dimension, stride: stride)
    }
  }

  /// Copies the cell's queries together and notes what each sees.
  private func gatherQueries() {
    let (group, dimension) = (shape.queriesPerHead, shape.keyDimension)
    for (index, head) in cell.heads.enumerated() {
      for (place, query) in cell.queries.enumerated() {
        let row = index * headRows + place * group
        let origin = source.q + query * shape.queryWidth + head * group * dimension
        (scratch.q + row * dimension).update(from: origin, count: group * dimension)
        (scratch.visible + row).update(repeating: UInt32(source.visible(to: query)), count: group)
        if let ancestors = source.ancestors { (scratch.tree + row).update(repeating: ancestors[query], count: group) }
      }
    }
  }

  /// The three kernels over a chunk.
  private func compute(chunk: Int, into state: AttentionState, next: UnsafeRawPointer?) {
    let first = chunk * AttentionPlan.chunk
    let tokens = min(AttentionPlan.chunk, cell.visible - first)
    let (keyParts, valueParts) = (parts(source.keys), parts(source.values))
    let angles = angles(first: first, tokens: tokens)
    for index in keyParts {
      let following = index + 1 < keyParts.upperBound ? (source.keys, index + 1) : (source.values, valueParts.lowerBound)
      let span = span(
        source.keys, index, first: first, tokens: tokens, room: scratch.gatheredKeys,
        next: address(following.0, following.1, token: first))
      score(span, index, angles)
    }
    normalize(first: first, tokens: tokens, into: state)
    for index in valueParts {
      var span = span(
        source.values, index, first: first, tokens: tokens, room: scratch.gatheredValues,
        next: index + 1 < valueParts.upperBound ? address(source.values, index + 1, token: first) : next)
      let rows = rows(of: index, in: source.values)
      kernels.pointee.values.run(
        &span, rows.count, scratch.scores + rows.lowerBound * AttentionPlan.chunk, AttentionPlan.chunk,
        state.y + rows.lowerBound * stride, stride, scratch.kernel)
    }
  }

  /// How rebuilt keys of a chunk turn.
  private func angles(first: Int, tokens: Int) -> ck_latent_angles {
    var angles = source.angles
    guard source.latents != nil, let positions else {
      angles.origin += first / AttentionPlan.chunk * source.originCount
      return angles
    }
    ck_latent_gather_angles(
      angles.table, angles.origin, shape.keyDimension, positions + first, tokens, scratch.gatheredAngles)
    angles.gathered = UnsafePointer(scratch.gatheredAngles)
    return angles
  }

  private func score(_ keys: ck_kv_span, _ part: Int, _ angles: ck_latent_angles) {
    var (keys, angles) = (keys, angles)
    let rows = rows(of: part, in: source.keys)
    var queries = ck_attention_queries(
      rows: rows.count, q: scratch.q + rows.lowerBound * shape.keyDimension, stride: shape.keyDimension)
    let scores = scratch.scores + rows.lowerBound * AttentionPlan.chunk
    switch kernels.pointee.keys {
    case .rows(let kernel): kernel.run(&keys, &queries, scores, AttentionPlan.chunk, scratch.kernel)
    case .latents(let kernel):
      guard let group = source.latents else { preconditionFailure("a kernel of latents for a cache without them") }
      kernel.run(group + part, &angles, &keys, &queries, scores, AttentionPlan.chunk, scratch.kernel)
    }
  }

  private func normalize(first: Int, tokens: Int, into state: AttentionState) {
    var call = ck_attention_softmax_call(
      rows: rows, tokens: tokens, first: first, scale: scale, visible: scratch.visible,
      tree_first: source.count - source.queries, tree: source.ancestors == nil ? nil : UnsafePointer(scratch.tree),
      scores: scratch.scores, stride: AttentionPlan.chunk, max: state.max, sum: state.sum)
    kernels.pointee.softmax.run(&call)
  }
}

// MARK: The cache

extension AttentionWork {
  /// What the cell's heads look at; nil where they look at all tokens.
  private var positions: UnsafePointer<UInt32>? { source.selected?[cell.heads.lowerBound / cell.heads.count] }

  /// Parts of keys or of values that the cell reads.
  private func parts(_ side: AttentionSource.Side) -> Range<Int> {
    cell.heads.lowerBound / side.headsPerPart..<cell.heads.upperBound / side.headsPerPart
  }

  /// The cell's query rows of the heads that share a part.
  private func rows(of part: Int, in side: AttentionSource.Side) -> Range<Int> {
    let rows = headRows * side.headsPerPart
    let index = part - cell.heads.lowerBound / side.headsPerPart
    return index * rows..<(index + 1) * rows
  }

  /// Where a token's block begins in a part; nil where rows are gathered from all over the cache.
  private func address(_ side: AttentionSource.Side, _ part: Int, token: Int) -> UnsafeRawPointer? {
    source.selected == nil ? source.address(side, part, block: token / Int(CK_KV_TOKENS)) : nil
  }

  /// Where tokens `first` ..< `first` + `tokens` of a part lie, or copies of the selected tokens.
  private func span(
    _ side: AttentionSource.Side, _ part: Int, first: Int, tokens: Int, room: UnsafeMutableRawPointer, next: UnsafeRawPointer?
  ) -> ck_kv_span {
    let slots = Int(CK_KV_TOKENS)
    let (list, form) = (scratch.parts, side.parts[part])
    let blocks = 0..<(tokens - 1) / slots + 1
    if let positions {
      for block in blocks { list[block] = UnsafeRawPointer(room + block * form.byteCount) }
      for index in 0..<tokens {
        let (block, slot) = Int(positions[first + index]).quotientAndRemainder(dividingBy: slots)
        ck_kv_copy(
          side.type, form.dimension, source.address(side, part, block: block), slot, room + index / slots * form.byteCount,
          index % slots)
      }
    } else {
      for block in blocks { list[block] = source.address(side, part, block: first / slots + block) }
    }
    return ck_kv_span(parts: UnsafePointer(list), tokens: tokens, dim: form.dimension, next: next)
  }
}

// MARK: The result

extension AttentionWork {
  /// Divides by the sums, lifts latents, and writes the cell's part of y.
  private func finish() {
    let (group, total, contents) = (shape.queriesPerHead, scratch.total, sequence.pointee.contents)
    for (index, head) in cell.heads.enumerated() {
      let first = index * headRows
      let dimension = source.values.parts[head / source.values.headsPerPart].dimension
      for row in first..<first + headRows { ck_attention_finish(dimension, total.sum[row], total.y + row * stride) }
      let isLifted = lift(head, rows: first..<first + headRows, rank: dimension)
      let width = contents.outputDimension(ofHead: head)
      let results = isLifted ? scratch.lifted : total.y + first * stride
      for (place, query) in cell.queries.enumerated() {
        let target = sequence.pointee.y + query * contents.outputWidth + contents.outputColumn(ofHead: head)
        for row in 0..<group {
          (target + row * width).update(from: results + (place * group + row) * (isLifted ? width : stride), count: width)
        }
      }
    }
  }

  /// Multiplies sums of latents by the head's matrix, into `scratch.lifted`; false where there is none.
  private func lift(_ head: Int, rows: Range<Int>, rank: Int) -> Bool {
    guard let lift = sequence.pointee.contents.latents.values?.lifts?[head], let kernel = kernels.pointee.lift else {
      return false
    }
    let layout = lift.activationLayout
    for (index, row) in rows.enumerated() {
      _ = layout.fill(
        scratch.liftedRows + index * layout.planeByteCount, stride: layout.planeByteCount,
        from: .float32(scratch.total.y + row * stride), with: kernels.pointee.converter)
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
