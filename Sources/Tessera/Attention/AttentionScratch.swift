internal import CKernels

/// One thread's memory for a cell and a chunk of tokens, laid out in one piece.
struct AttentionScratch {
  let base: UnsafeMutableRawPointer
  let layout: Layout

  /// Where everything lies; every part begins on a cache line.
  struct Layout {
    let rows: Int
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
    private(set) var keyParts = 0
    private(set) var valueParts = 0
    private(set) var gatheredKeys = 0
    private(set) var gatheredValues = 0
    private(set) var kernel = 0

    static let parts = AttentionPlan.chunk / Int(CK_KV_TOKENS)

    /// Enough for every sequence of a call.
    init(_ sequences: [AttentionSequence], kernels: [AttentionKernels], rows: Int) {
      let contents = sequences.map(\.contents)
      let keyDimension = contents.map(\.shape.keyDimension).max() ?? 0
      let valueDimension = contents.map(\.shape.valueDimension).max() ?? 0
      let gathering = contents.filter { $0.selected != nil }
      let kernelBytes = zip(kernels, contents).map { $0.scratchBytes(rows: rows, shape: $1.shape) }.max() ?? 0
      self.rows = rows
      q = add(rows * keyDimension * 4)
      visible = add(rows * 4)
      tree = add(rows * 8)
      scores = add(rows * AttentionPlan.chunk * 4)
      chunkMax = add(rows * 4)
      chunkSum = add(rows * 4)
      chunkY = add(rows * valueDimension * 4)
      max = add(rows * 4)
      sum = add(rows * 4)
      y = add(rows * valueDimension * 4)
      keyParts = add(Layout.parts * 8)
      valueParts = add(Layout.parts * 8)
      gatheredKeys = add((gathering.map(\.keys.partByteCount).max() ?? 0) * Layout.parts)
      gatheredValues = add((gathering.map(\.values.partByteCount).max() ?? 0) * Layout.parts)
      kernel = add(kernelBytes)
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
  var keyParts: UnsafeMutablePointer<UnsafeRawPointer> { pointers(layout.keyParts) }
  var valueParts: UnsafeMutablePointer<UnsafeRawPointer> { pointers(layout.valueParts) }
  var gatheredKeys: UnsafeMutableRawPointer { base + layout.gatheredKeys }
  var gatheredValues: UnsafeMutableRawPointer { base + layout.gatheredValues }
  var kernel: UnsafeMutableRawPointer { base + layout.kernel }

  private func floats(_ offset: Int) -> UnsafeMutablePointer<Float> { (base + offset).assumingMemoryBound(to: Float.self) }
  private func pointers(_ offset: Int) -> UnsafeMutablePointer<UnsafeRawPointer> {
    (base + offset).assumingMemoryBound(to: UnsafeRawPointer.self)
  }
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

  /// Adds what a later chunk has.
  func fold(_ chunk: AttentionState, rows: Int, dimension: Int) {
    for row in 0..<rows {
      ck_attention_fold(
        dimension, max + row, sum + row, y + row * dimension, chunk.max[row], chunk.sum[row], chunk.y + row * dimension)
    }
  }
}

/// Memory for the calls of an executor, one at a time.
struct AttentionWorkspace: ~Copyable {
  private var scratch = ScratchBuffer()
  private var states = ScratchBuffer()

  /// Scratch of `byteCount` bytes for each of `threads` threads.
  mutating func layOutScratch(byteCount: Int, threads: Int) throws(TesseraError) -> ThreadScratch {
    let stride = (byteCount + 127) / 128 * 128
    let (total, overflow) = stride.multipliedReportingOverflow(by: threads)
    guard !overflow else { throw .outOfMemory(bytes: Int.max) }
    try scratch.reserve(byteCount: total)
    return ThreadScratch(base: scratch.base, stride: stride)
  }

  /// A state for each unit of a plan that splits chunks; none for others.
  mutating func layOutStates(_ plan: AttentionPlan, sequences: [AttentionSequence]) throws(TesseraError) -> [AttentionState] {
    guard plan.splitsChunks else { return [] }
    let shapes = plan.units.map { unit in
      let cell = plan.cells[unit.cell]
      let shape = sequences[cell.sequence].contents.shape
      return (rows: cell.queries.count * shape.queriesPerHead, dimension: shape.valueDimension)
    }
    // Whole cache lines, so that threads that write neighbouring states share none.
    let counts = shapes.map { ($0.rows * ($0.dimension + 2) + 15) / 16 * 16 }
    try states.reserve(byteCount: counts.reduce(0, +) * MemoryLayout<Float>.stride)
    guard var place = states.base?.assumingMemoryBound(to: Float.self) else { return [] }
    return zip(shapes, counts).map { shape, count in
      defer { place += count }
      return AttentionState(max: place, sum: place + shape.rows, y: place + 2 * shape.rows)
    }
  }
}
