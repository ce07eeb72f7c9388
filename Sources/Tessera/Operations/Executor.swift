internal import CKernels
internal import Synchronization

/// Runs operations: a pool of threads, a choice of kernels, and the scratch memory that both need.
///
/// Share one between all layers of a program, and between threads: calls from several threads run one after the other. Several
/// executors may live in one process, each on its own threads.
public final class Executor: Sendable {
  /// The machine that threads and kernels were chosen for.
  public let machine: Machine
  /// The threads, also for work of the program's own.
  public let pool: ThreadPool
  /// Which kernel runs for a format and a number of rows, and why.
  public let selection: KernelSelection
  private let workspace: Mutex<Workspace>
  let attentionWorkspace: Mutex<AttentionWorkspace>
  private let schedule: PanelSchedule
  private let converter: ck_x_converter
  let elementwise: ck_elementwise
  /// Where the threads are pinned; nil when they are not.
  private let cpus: [Int]?

  /// Starts the threads.
  /// - Parameters:
  ///   - threads: nil means one for each core that this process may use.
  ///   - isa: caps the instruction sets; nil means what `TESSERA_ISA` in the environment says, or everything there is.
  ///   - pinnedRows: see `KernelSelection.pinnedRows`.
  ///   - machine: where the threads run; `Machine.current` unless a program narrows it. It may not offer more than there is.
  /// - Throws: `invalidThreadCount`, `unknownISA`, `unsupportedISA`, `outOfMemory`.
  public init(
    threads: Int? = nil, isa: ISALevel? = nil, pinnedRows: Int? = nil, machine: Machine = .current
  ) throws(TesseraError) {
    // A description that was made up, or made elsewhere, would end in an illegal instruction.
    let missing = Machine.current.instructionSets.missingTags(for: machine.instructionSets)
    guard missing.isEmpty else { throw .unsupportedISA(name: "the machine described", missing: missing) }
    try isa?.validate(on: machine.instructionSets)
    let requested = try ISALevel.requested(on: machine.instructionSets)
    self.machine = machine
    selection = KernelSelection(features: machine.instructionSets, level: isa ?? requested, pinnedRows: pinnedRows)
    let threads = threads ?? machine.defaultThreadCount
    guard threads >= 1, threads <= machine.allowedCPUs.count else {
      throw .invalidThreadCount(requested: threads, allowed: machine.allowedCPUs.count)
    }
    cpus = machine.cpusForThreads(threads)
    pool = try ThreadPool(threads: threads, cpus: cpus)
    workspace = Mutex(Workspace())
    attentionWorkspace = Mutex(AttentionWorkspace())
    schedule = PanelSchedule(threads: threads)
    converter = activationConverter(for: selection)
    elementwise = elementwiseFunctions(for: selection)
  }

  /// y = x W^T + bias.
  /// - Parameters:
  ///   - x: `rows * weights.inputs` elements, row after row; rounded to bfloat16, or quantised to int16 or int8 row by
  ///     row, as the weights want it.
  ///   - rows: M, at least 1.
  ///   - weights: W, packed, with the bias if there is one.
  ///   - y: `rows * weights.outputs` elements, all overwritten.
  ///   - variant: a kernel to use instead of the selected one.
  /// - Throws: `sizeMismatch` naming x or y, `overlappingMemory`, `unsupportedISA`, `outOfMemory`.
  public func multiply(
    _ x: Span<Float>, rows: Int, by weights: some PackedWeights, into y: inout MutableSpan<Float>, variant: KernelVariant? = nil
  ) throws(TesseraError) {
    try x.withUnsafeBytes { source throws(TesseraError) in
      try y.withUnsafeMutableBytes { target throws(TesseraError) in
        try check(source, target, rows: rows, weights: weights, elementBytes: 4)
        guard let x = source.baseAddress, let y = target.baseAddress else { return }
        try run(
          .float32(x.assumingMemoryBound(to: Float.self)), rows: rows, weights: weights,
          into: .float32(y.assumingMemoryBound(to: Float.self)), variant: variant)
      }
    }
  }

  /// The same with bfloat16 on both sides.
  public func multiply(
    _ x: Span<BFloat16>, rows: Int, by weights: some PackedWeights, into y: inout MutableSpan<BFloat16>,
    variant: KernelVariant? = nil
  ) throws(TesseraError) {
    try x.withUnsafeBytes { source throws(TesseraError) in
      try y.withUnsafeMutableBytes { target throws(TesseraError) in
        try check(source, target, rows: rows, weights: weights, elementBytes: 2)
        guard let x = source.baseAddress, let y = target.baseAddress else { return }
        try run(
          .bfloat16(x.assumingMemoryBound(to: UInt16.self)), rows: rows, weights: weights,
          into: .bfloat16(y.assumingMemoryBound(to: UInt16.self)), variant: variant)
      }
    }
  }

  private func check(
    _ x: UnsafeRawBufferPointer, _ y: UnsafeMutableRawBufferPointer, rows: Int, weights: some PackedWeights, elementBytes: Int
  ) throws(TesseraError) {
    try checkRows(rows, ofCount: x.count / elementBytes, inputs: weights.inputs, outputs: weights.outputs)
    guard y.count == rows * weights.outputs * elementBytes else {
      throw .sizeMismatch(what: "y", expected: rows * weights.outputs, got: y.count / elementBytes)
    }
    if let xBase = x.baseAddress, let yBase = y.baseAddress.map({ UnsafeRawPointer($0) }) {
      guard xBase + x.count <= yBase || yBase + y.count <= xBase else { throw .overlappingMemory(what: "y") }
    }
  }

  /// Moves the memory of weights to the NUMA nodes of the threads that read it.
  ///
  /// Weights that were packed on this executor's pool lie there already, because each thread wrote first what it reads. This is
  /// for those that one thread packed, or another pool. Nothing happens with one node, with threads that are not pinned, and to
  /// weights in a mapped file, whose pages the page cache keeps wherever they were first read. It costs a copy of what moves; the
  /// bytes stay the same, and other threads may go on reading them.
  /// - Returns: whether the system took a request; it refuses ranges within one page.
  @discardableResult
  public func place(_ weights: some PackedWeights) -> Bool {
    guard let cpus, machine.nodes.count > 1 else { return false }
    let shares = PanelShares(of: weights, threads: pool.threadCount)
    let requests = (0..<shares.count).flatMap { share in
      shares.memory(ofShare: share, of: weights).map { bytes in
        Placement.prefer(nodeOfCPU: cpus[share], for: UnsafeMutableRawBufferPointer(mutating: bytes), moving: true)
      }
    }
    return requests.contains(true)
  }

  /// From this many rows on x is converted by all threads: a fork-join costs about as much as converting a row of 4096.
  private static let parallelConversionRows = 2

  private func run(
    _ x: MatrixRow, rows: Int, weights: some PackedWeights, into y: MatrixOutput, variant: KernelVariant?
  ) throws(TesseraError) {
    let layout = weights.activationLayout
    let variant = variant ?? selection.variant(for: weights.format, activations: layout.type, rows: rows)
    let missing = machine.instructionSets.missingTags(for: variant.instructionSets)
    guard missing.isEmpty else { throw .unsupportedISA(name: variant.name, missing: missing) }
    precondition(
      variant.multiplies(layout.type, by: weights.format),
      "\(variant) does not multiply \(layout.type) rows by \(weights.format) weights")

    try workspace.withLock { workspace throws(TesseraError) in
      let activations = try workspace.layOut(rows: rows, layout: layout, converter: converter)
      let call = GEMMCall(
        ck_gemm_call(
          m: rows, n: weights.outputs, k: weights.inputs, x: UnsafeRawPointer(activations.base), x_stride: activations.stride,
          x_scale: UnsafePointer(activations.scale), bias: weights.bias?.base.assumingMemoryBound(to: Float.self),
          y: y.base, y_stride: weights.outputs, y_type: y.type))
      let scratch = try workspace.layOutScratch(byteCount: weights.scratchByteCount(variant, call), threads: pool.threadCount)

      if rows < Executor.parallelConversionRows {
        for row in 0..<rows { activations.fill(row: row, from: x) }
      } else {
        pool.run(parts: rows) { row, _ in activations.fill(row: row, from: x) }
      }
      let shares = PanelShares(of: weights, threads: pool.threadCount, rows: rows)
      schedule.restart()
      pool.run(parts: shares.count) { part, worker in
        while let (share, chunk) = schedule.next(for: part, shares: shares.count, chunks: shares.chunks) {
          let panels = shares.panels(share: share, chunk: chunk, of: weights)
          if !panels.isEmpty { weights.run(variant, call, panels: panels, scratch: scratch[worker]) }
        }
      }
    }
  }
}

/// Whether x has `rows` rows, and whether the bytes of x and of y fit an Int.
package func checkRows(_ rows: Int, ofCount count: Int, inputs: Int, outputs: Int) throws(TesseraError) {
  guard rows >= 1, rows <= Int.max / max(inputs, outputs) / MemoryLayout<Float>.stride else {
    throw .invalidShape(what: "x", rows: rows, columns: inputs)
  }
  guard count == rows * inputs else { throw .sizeMismatch(what: "x", expected: rows * inputs, got: count) }
}
