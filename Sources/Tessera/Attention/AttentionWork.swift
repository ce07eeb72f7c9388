internal import CKernels

/// A cell's chunk, from the cache to the weighted sums: what one thread does.
struct AttentionWork {
  let sequence: AttentionSequence
  let cell: AttentionPlan.Cell
  let scratch: AttentionScratch
  let kernels: AttentionKernels

  private var shape: AttentionShape { sequence.contents.shape }
  private var rows: Int { cell.queries.count * shape.queriesPerHead }

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
      scratch.total.fold(scratch.chunk, rows: rows, dimension: shape.valueDimension)
    }
    finish(scratch.total)
  }

  /// The chunks that were computed apart, in order, and the cell's part of y.
  func fold(_ states: [AttentionState]) {
    scratch.total.clear(rows: rows)
    for chunk in 0..<cell.chunks {
      scratch.total.fold(states[cell.firstUnit + chunk], rows: rows, dimension: shape.valueDimension)
    }
    finish(scratch.total)
  }

  /// Copies the cell's queries together and notes what each sees. Rows lie in the order of tokens, then of heads.
  private func gatherQueries() {
    let heads = shape.queriesPerHead
    for (index, query) in cell.queries.enumerated() {
      let source = sequence.q + query * shape.queryWidth + cell.head * heads * shape.keyDimension
      (scratch.q + index * heads * shape.keyDimension).update(from: source, count: heads * shape.keyDimension)
      for row in index * heads..<(index + 1) * heads {
        scratch.visible[row] = UInt32(sequence.visible(to: query))
        if case .tree(let ancestors) = sequence.mask { scratch.tree[row] = ancestors[query] }
      }
    }
  }

  /// Runs the three kernels over a chunk.
  private func compute(chunk: Int, into state: AttentionState) {
    let first = chunk * AttentionPlan.chunk
    let tokens = min(AttentionPlan.chunk, cell.visible - first)
    let contents = sequence.contents
    let keyParts = parts(contents.keys, first: first, tokens: tokens, list: scratch.keyParts, room: scratch.gatheredKeys)
    let valueParts = parts(contents.values, first: first, tokens: tokens, list: scratch.valueParts, room: scratch.gatheredValues)
    var keys = ck_kv_span(parts: keyParts, tokens: tokens, dim: shape.keyDimension)
    var values = ck_kv_span(parts: valueParts, tokens: tokens, dim: shape.valueDimension)
    var queries = ck_attention_queries(rows: rows, q: scratch.q, stride: shape.keyDimension)
    kernels.keys.run(&keys, &queries, scratch.scores, AttentionPlan.chunk, scratch.kernel)
    normalize(first: first, tokens: tokens, into: state)
    kernels.values.run(&values, rows, scratch.scores, AttentionPlan.chunk, state.y, shape.valueDimension, scratch.kernel)
  }

  private func normalize(first: Int, tokens: Int, into state: AttentionState) {
    let isTree = if case .tree = sequence.mask { true } else { false }
    var call = ck_attention_softmax_call(
      rows: rows, tokens: tokens, first: first, scale: shape.scale * Float(1.4426950408889634), visible: scratch.visible,
      tree_first: sequence.contents.count - sequence.queries, tree: isTree ? UnsafePointer(scratch.tree) : nil,
      scores: scratch.scores, stride: AttentionPlan.chunk, max: state.max, sum: state.sum)
    kernels.softmax.run(&call)
  }

  /// The parts that hold tokens `first` ..< `first` + `tokens` of the head, or copies of the selected tokens.
  private func parts(
    _ side: KVRows, first: Int, tokens: Int, list: UnsafeMutablePointer<UnsafeRawPointer>, room: UnsafeMutableRawPointer
  ) -> UnsafePointer<UnsafeRawPointer> {
    let contents = sequence.contents
    let slots = Int(CK_KV_TOKENS)
    let count = (tokens - 1) / slots + 1
    if let selected = contents.selected?[cell.head] {
      for index in 0..<tokens {
        let (block, slot) = Int(selected[first + index]).quotientAndRemainder(dividingBy: slots)
        let target = room + index / slots * side.partByteCount
        ck_kv_copy(
          side.format.cType, side.dimension, side.part(cell.head, of: contents.blocks[block]), slot, target, index % slots)
      }
      for part in 0..<count { list[part] = UnsafeRawPointer(room + part * side.partByteCount) }
    } else {
      for part in 0..<count {
        list[part] = UnsafeRawPointer(side.part(cell.head, of: contents.blocks[first / slots + part]))
      }
    }
    return UnsafePointer(list)
  }

  /// Divides by the sums and writes the cell's part of y.
  private func finish(_ state: AttentionState) {
    let (heads, dimension) = (shape.queriesPerHead, shape.valueDimension)
    for row in 0..<rows { ck_attention_finish(dimension, state.sum[row], state.y + row * dimension) }
    for (index, query) in cell.queries.enumerated() {
      let target = sequence.y + query * shape.outputWidth + cell.head * heads * dimension
      target.update(from: state.y + index * heads * dimension, count: heads * dimension)
    }
  }
}

/// The three kernels of a call.
struct AttentionKernels {
  let keys: ck_attention_keys_variant
  let softmax: ck_attention_softmax_variant
  let values: ck_attention_values_variant

  init(_ contents: AttentionContents, rows: Int, from selection: KernelSelection) {
    guard
      case .keys(let keys) = selection.attention(.keys, contents.keys.format, rows: rows).function,
      case .softmax(let softmax) = selection.attention(.softmax, nil, rows: rows).function,
      case .values(let values) = selection.attention(.values, contents.values.format, rows: rows).function
    else { preconditionFailure("the list of kernels for a step holds another step's") }
    self.keys = keys
    self.softmax = softmax
    self.values = values
  }

  func scratchBytes(rows: Int, shape: AttentionShape) -> Int {
    max(keys.scratch_bytes(rows, shape.keyDimension), values.scratch_bytes(rows, shape.valueDimension))
  }
}
