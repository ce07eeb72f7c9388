internal import CKernels

/// One thread's memory for a cell and a chunk of tokens, laid out in one piece.
struct AttentionScratch {
  let base: UnsafeMutableRawPointer
  let layout: Layout

  /// Where everything lies; every part begins on a cache line.
  struct Layout {
    private(set) var byteCount = 0
    private(set) var q = 0
    private(set) var visible = 0
    private(set) var tree = 0
    private(set) var scores = 0
    private(set) var chunkMax = 0
    private(set) var chunkSum = 0
    private(set) var chunkY = 0
    private(set) var max = 0
    private(set) var sum = 0
    private(set) var y = 0
    private(set) var parts = 0
    private(set) var gatheredKeys = 0
    private(set) var gatheredValues = 0
    private(set) var gatheredAngles = 0
    private(set) var lifted = 0
    private(set) var liftedRows = 0
    private(set) var kernel = 0

    /// Enough for every sequence of a call.
    init(_ sequences: [AttentionSequence], kernels: [AttentionKernels]) {
      func most(_ need: (AttentionSequence) -> Int) -> Int { sequences.reduce(0) { Swift.max($0, need($1)) } }
      let rows = most(\.cellRows)
      let selecting = sequences.filter { $0.contents.selected != nil }.map(\.contents)
      let lifting = sequences.filter { $0.contents.latents.values?.lifts != nil }
      q = add(most { $0.cellRows * $0.contents.shape.keyDimension } * 4)
      visible = add(rows * 4)
      tree = add(rows * 8)
      scores = add(rows * AttentionPlan.chunk * 4)
      chunkMax = add(rows * 4)
      chunkSum = add(rows * 4)
      chunkY = add(most { $0.cellRows * $0.contents.values.mostDimension } * 4)
      max = add(rows * 4)
      sum = add(rows * 4)
      y = add(most { $0.cellRows * $0.contents.values.mostDimension } * 4)
      parts = add(AttentionPlan.chunk / Int(CK_KV_TOKENS) * MemoryLayout<UnsafeRawPointer>.stride)
      let room = AttentionPlan.chunk / Int(CK_KV_TOKENS)
      gatheredKeys = add((selecting.map(\.keys.mostPartBytes).max() ?? 0) * room)
      gatheredValues = add((selecting.map(\.values.mostPartBytes).max() ?? 0) * room)
      let rebuilding = selecting.filter { $0.latents.keys != nil }
      gatheredAngles = add(rebuilding.map { ck_latent_gathered_bytes($0.shape.keyDimension) }.max() ?? 0)
      lifted = add((lifting.map { $0.headRows * $0.contents.shape.valueDimension }.max() ?? 0) * 4)
      liftedRows = add(lifting.map { $0.headRows * ck_k_padded($0.contents.values.mostDimension, .CK_BF16) * 2 }.max() ?? 0)
      kernel = add(
        zip(kernels, sequences).reduce(0) {
          Swift.max($0, $1.0.scratchBytes($1.1.contents, rows: $1.1.cellRows, headRows: $1.1.headRows))
        })
    }

    private mutating func add(_ count: Int) -> Int {
      let place = byteCount
      byteCount += (count + 63) / 64 * 64
      return place
    }
  }

  var q: UnsafeMutablePointer<Float> { floats(layout.q) }
  var visible: UnsafeMutablePointer<UInt32> { (base + layout.visible).assumingMemoryBound(to: UInt32.self) }
  var tree: UnsafeMutablePointer<UInt64> { (base + layout.tree).assumingMemoryBound(to: UInt64.self) }
  var scores: UnsafeMutablePointer<Float> { floats(layout.scores) }
  /// What the softmax and the values kernel leave of a chunk.
  var chunk: AttentionState {
    AttentionState(max: floats(layout.chunkMax), sum: floats(layout.chunkSum), y: floats(layout.chunkY))
  }
  /// All chunks so far.
  var total: AttentionState { AttentionState(max: floats(layout.max), sum: floats(layout.sum), y: floats(layout.y)) }
  var parts: UnsafeMutablePointer<UnsafeRawPointer> { (base + layout.parts).assumingMemoryBound(to: UnsafeRawPointer.self) }
  var gatheredKeys: UnsafeMutableRawPointer { base + layout.gatheredKeys }
  var gatheredValues: UnsafeMutableRawPointer { base + layout.gatheredValues }
  /// The angles of a chunk's selected tokens.
  var gatheredAngles: UnsafeMutablePointer<Float> { floats(layout.gatheredAngles) }
  /// A head's result, lifted from latents, and the sums of latents as kernels read them.
  var lifted: UnsafeMutablePointer<Float> { floats(layout.lifted) }
  var liftedRows: UnsafeMutableRawPointer { base + layout.liftedRows }
  var kernel: UnsafeMutableRawPointer { base + layout.kernel }

  private func floats(_ offset: Int) -> UnsafeMutablePointer<Float> { (base + offset).assumingMemoryBound(to: Float.self) }
}

/// For each query row of a cell: the largest score, the sum of powers, and the weighted sum of values.
struct AttentionState: @unchecked Sendable {
  let max: UnsafeMutablePointer<Float>
  let sum: UnsafeMutablePointer<Float>
  let y: UnsafeMutablePointer<Float>

  /// As it is before the first chunk.
  func clear(rows: Int) {
    max.update(repeating: -.infinity, count: rows)
    sum.update(repeating: 0, count: rows)
  }

  /// Adds what a later chunk has of some rows.
  /// - Parameters:
  ///   - scale: the softmax's.
  ///   - stride: elements from row to row of y.
  func fold(_ chunk: AttentionState, scale: Float, rows: Range<Int>, dimension: Int, stride: Int) {
    for row in rows {
      ck_attention_fold(
        dimension, scale, max + row, sum + row, y + row * stride, chunk.max[row], chunk.sum[row], chunk.y + row * stride)
    }
  }
}

/// Memory for the calls of an executor, one at a time.
struct AttentionWorkspace: ~Copyable {
  private var scratch = ScratchBuffer()
  private var states = ScratchBuffer()
  private var sources = ScratchBuffer()

  /// Scratch of `byteCount` bytes for each of `threads` threads.
  mutating func layOutScratch(byteCount: Int, threads: Int) throws(TesseraError) -> ThreadScratch {
    let stride = (byteCount + 127) / 128 * 128
    let (total, overflow) = stride.multipliedReportingOverflow(by: threads)
    guard !overflow else { throw .outOfMemory(bytes: Int.max) }
    try scratch.reserve(byteCount: total)
    return ThreadScratch(base: scratch.base, stride: stride)
  }

  /// Where the threads find each sequence.
  mutating func layOutSources(_ sequences: [AttentionSequence]) throws(TesseraError) -> [AttentionSource] {
    var counting = AttentionSourceWriter(at: nil)
    for sequence in sequences { _ = counting.source(of: sequence) }
    try sources.reserve(byteCount: counting.byteCount)
    var writer = AttentionSourceWriter(at: sources.base)
    return sequences.compactMap { writer.source(of: $0) }
  }

  /// A state for each unit of a plan that splits chunks; none for others.
  mutating func layOutStates(_ plan: AttentionPlan, sequences: [AttentionSequence]) throws(TesseraError) -> AttentionStates {
    guard plan.splitsChunks else { return AttentionStates(base: nil, rows: 0, stride: 0) }
    let (rows, dimension) = sequences.reduce((0, 0)) {
      (max($0.0, $1.cellRows), max($0.1, $1.contents.values.mostDimension))
    }
    // Whole cache lines, so that threads that write neighbouring states share none.
    let stride = (rows * (dimension + 2) + 15) / 16 * 16
    try states.reserve(byteCount: plan.units.count * stride * MemoryLayout<Float>.stride)
    return AttentionStates(base: states.base?.assumingMemoryBound(to: Float.self), rows: rows, stride: stride)
  }
}

/// States of equal size, one after the other.
struct AttentionStates: @unchecked Sendable {
  // Sendable: each state is written by one unit and read once all are done.
  let base: UnsafeMutablePointer<Float>?
  let rows: Int
  /// Floats from state to state.
  let stride: Int

  subscript(index: Int) -> AttentionState {
    guard let base else { preconditionFailure("a plan without states") }
    let place = base + index * stride
    return AttentionState(max: place, sum: place + rows, y: place + 2 * rows)
  }
}
