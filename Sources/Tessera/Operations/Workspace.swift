internal import CKernels

/// What one multiplication needs beside weights and output: rows of x as kernels read them, and scratch for each thread.
struct Workspace: ~Copyable {
  private var activations = ScratchBuffer()
  private var scales = ScratchBuffer()
  private var scratch = ScratchBuffer()

  /// Makes room for a call and lays it out.
  mutating func layOut(rows: Int, layout: ActivationLayout, converter: ck_x_converter) throws(TesseraError) -> Activations {
    // An odd number of cache lines from row to row: 16 rows of one tile then fall into 16 different sets of the L1 cache.
    let stride = ((layout.planeByteCount + 63) / 64 | 1) * 64
    let (byteCount, overflow) = rows.multipliedReportingOverflow(by: stride * layout.type.planes)
    guard !overflow else { throw .outOfMemory(bytes: Int.max) }
    try activations.reserve(byteCount: byteCount)
    try scales.reserve(byteCount: rows * MemoryLayout<Float>.stride)
    guard let base = activations.base, let scale = scales.base else { throw .outOfMemory(bytes: byteCount) }
    return Activations(
      base: base, scale: scale.assumingMemoryBound(to: Float.self), layout: layout, stride: stride, converter: converter)
  }

  /// Scratch of `byteCount` bytes for each of `threads` threads.
  mutating func layOutScratch(byteCount: Int, threads: Int) throws(TesseraError) -> ThreadScratch {
    // Whole pairs of cache lines, so that neighbours never share one.
    let stride = (byteCount + 127) / 128 * 128
    try scratch.reserve(byteCount: stride * threads)
    return ThreadScratch(base: byteCount == 0 ? nil : scratch.base, stride: stride)
  }
}

// Both layouts below are handles into a workspace, used by the threads of one call while its lock is held; hence Sendable.

/// Scratch memory, a part for each thread of the pool.
struct ThreadScratch: @unchecked Sendable {
  let base: UnsafeMutableRawPointer?
  let stride: Int

  subscript(worker: Int) -> UnsafeMutableRawPointer? { base.map { $0 + worker * stride } }
}

/// Rows of x in the form kernels read; they, or their planes, are `stride` bytes apart.
struct Activations: @unchecked Sendable {
  let base: UnsafeMutableRawPointer
  /// int8 and int16: what one step of each row is worth.
  let scale: UnsafeMutablePointer<Float>
  let layout: ActivationLayout
  let stride: Int
  let converter: ck_x_converter

  /// Converts row `row` of x.
  func fill(row: Int, from x: MatrixRow) {
    let target = base + row * layout.type.planes * stride
    scale[row] = layout.fill(target, stride: stride, from: x.advanced(by: row * layout.inputs), with: converter)
  }
}

/// The caller's y, row after row.
enum MatrixOutput {
  case float32(UnsafeMutablePointer<Float>)
  case bfloat16(UnsafeMutablePointer<UInt16>)

  var base: UnsafeMutableRawPointer {
    switch self {
    case .float32(let pointer): UnsafeMutableRawPointer(pointer)
    case .bfloat16(let pointer): UnsafeMutableRawPointer(pointer)
    }
  }

  var type: ck_type {
    switch self {
    case .float32: .CK_F32
    case .bfloat16: .CK_BF16
    }
  }
}

/// The widest conversions that the features can run and the level allows. All give the same bits.
func activationConverter(for selection: KernelSelection) -> ck_x_converter {
  let features = selection.level.map { selection.features.capped(to: $0) } ?? selection.features
  var count = 0
  let converters = UnsafeBufferPointer(start: ck_x_converters(&count), count: count)
  guard let chosen = converters.first(where: { features.isSuperset(of: InstructionSet(rawValue: $0.isa)) }) else {
    preconditionFailure("the list of conversions ends without the portable ones")
  }
  return chosen
}
