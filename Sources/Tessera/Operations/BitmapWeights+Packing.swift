internal import CKernels

extension BitmapWeights {
  /// Packs a row-major matrix of bfloat16; an element is stored when any bit of it is set, so -0 survives.
  /// - Parameters:
  ///   - weights: `outputs * inputs` elements, row after row, all finite.
  ///   - bias: `outputs` numbers or nil.
  ///   - pool: whose threads pack, each the panels that it will read; best the executor's own. nil leaves it to the calling
  ///     thread. The bytes are the same.
  /// - Throws: `invalidShape`, `sizeMismatch`, `nonFiniteWeight`, `outOfMemory`.
  public init(
    packing weights: Span<BFloat16>, outputs: Int, inputs: Int, bias: [Float]? = nil, on pool: ThreadPool? = nil
  ) throws(TesseraError) {
    self = try weights.withUnsafeBytes { bytes throws(TesseraError) in
      try BitmapWeights(
        packing: .bfloat16(bytes.bindMemory(to: UInt16.self)), as: .bitmapBF16, outputs: outputs, inputs: inputs, bias: bias,
        on: pool)
    }
  }

  /// Quantises a row-major matrix to int8, each row symmetrically with step max|row| / 127, and packs what is not 0 afterwards.
  /// - Throws: as `init(packing:)`; `invalidShape` also for more than `mostInt8Inputs` inputs.
  public init(
    quantizing weights: Span<Float>, outputs: Int, inputs: Int, bias: [Float]? = nil, on pool: ThreadPool? = nil
  ) throws(TesseraError) {
    self = try weights.withUnsafeBufferPointer { weights throws(TesseraError) in
      try BitmapWeights(
        packing: .float32(weights), as: .bitmapInt8, outputs: outputs, inputs: inputs, bias: bias, on: pool)
    }
  }

  /// The same from bfloat16, with the bits that the matrix would have as Float.
  public init(
    quantizing weights: Span<BFloat16>, outputs: Int, inputs: Int, bias: [Float]? = nil, on pool: ThreadPool? = nil
  ) throws(TesseraError) {
    self = try weights.withUnsafeBytes { bytes throws(TesseraError) in
      try BitmapWeights(
        packing: .bfloat16(bytes.bindMemory(to: UInt16.self)), as: .bitmapInt8, outputs: outputs, inputs: inputs, bias: bias,
        on: pool)
    }
  }

  private init(
    packing source: BitmapSource.Elements, as format: WeightFormat, outputs: Int, inputs: Int, bias: [Float]?,
    on pool: ThreadPool?
  ) throws(TesseraError) {
    try checkShape("bitmap weights", rows: outputs, columns: inputs)
    let isInt8 = format == .bitmapInt8
    if isInt8 { try checkInt8Inputs(outputs: outputs, inputs: inputs) }
    guard source.count == outputs * inputs else {
      throw .sizeMismatch(what: "bitmap weights", expected: outputs * inputs, got: source.count)
    }
    let rowScale = isInt8 ? try MemoryRegion(byteCount: outputs * 4) { _ in } : nil
    let rowSum = isInt8 ? try MemoryRegion(byteCount: outputs * 4) { _ in } : nil
    let rows = try BitmapSource(
      elements: source, outputs: outputs, inputs: inputs, scale: rowScale?.unfrozen(as: Float.self),
      threads: pool?.threadCount ?? 1)
    let offsets = try rows.offsets(on: pool)
    let type: ck_type = isInt8 ? .CK_INT8 : .CK_BF16
    let count = offsets.base.assumingMemoryBound(to: UInt64.self)[ck_panels(outputs)]
    self.init(
      format: format,
      bitmap: try MemoryRegion(byteCount: ck_bitmap_bytes(outputs, inputs, type)) { _ in },
      values: try MemoryRegion(byteCount: ck_bitmap_values_bytes(count, type)) { _ in },
      offsets: offsets, rowScale: rowScale, rowSum: rowSum, outputs: outputs, inputs: inputs,
      bias: try biasRegion(bias, outputs: outputs))
    rows.pack(into: self, on: pool)
  }
}

/// A row-major matrix on its way into bitmap panels. It is read twice, to count and to store; int8 codes are made anew each time,
/// a panel at a time, which costs less than keeping them.
private struct BitmapSource: ~Copyable {
  enum Elements {
    case bfloat16(UnsafeBufferPointer<UInt16>)
    case float32(UnsafeBufferPointer<Float>)

    var count: Int {
      switch self {
      case .bfloat16(let elements): elements.count
      case .float32(let elements): elements.count
      }
    }

    func isFinite(at index: Int) -> Bool {
      switch self {
      case .bfloat16(let elements): BFloat16(bits: elements[index]).isFinite
      case .float32(let elements): elements[index].isFinite
      }
    }
  }

  let elements: Elements
  let outputs: Int
  let inputs: Int
  /// int8: where the step of each row goes.
  let scale: UnsafeMutablePointer<Float>?
  /// int8: room for the codes of one panel for each thread.
  private var codes = ScratchBuffer()

  init(
    elements: Elements, outputs: Int, inputs: Int, scale: UnsafeMutablePointer<Float>?, threads: Int
  ) throws(TesseraError) {
    self.elements = elements
    self.outputs = outputs
    self.inputs = inputs
    self.scale = scale
    if scale != nil { try codes.reserve(byteCount: codeBytes * threads) }
  }

  /// Whole pairs of cache lines, so that threads never share one.
  private var codeBytes: Int { (Int(CK_PANEL_ROWS) * inputs + 127) / 128 * 128 }
  private var type: ck_type { scale == nil ? .CK_BF16 : .CK_INT8 }
  private var panelCount: Int { ck_panels(outputs) }
  /// Stands for the count of a panel with a weight that is not finite.
  private static let notFinite = UInt64.max

  /// Where each panel's values begin, and their number.
  /// - Throws: `nonFiniteWeight`, `outOfMemory`.
  func offsets(on pool: ThreadPool?) throws(TesseraError) -> MemoryRegion {
    let parts = min(pool?.threadCount ?? 1, panelCount)
    return try MemoryRegion(byteCount: (panelCount + 1) * 8) { bytes throws(TesseraError) in
      let offset = bytes.bindMemory(to: UInt64.self)
      ThreadPool.run(parts: parts, on: pool) { part, worker in
        let panels = panelCount * part / parts..<panelCount * (part + 1) / parts
        forEachPanel(in: panels, worker: worker) { panel, rows, count in
          guard let rows else {
            offset[panel + 1] = BitmapSource.notFinite
            return
          }
          ck_bitmap_count(rows, inputs, type, count, inputs, 0, 1, &offset[panel + 1])
        }
      }
      for panel in 0..<panelCount {
        if offset[panel + 1] == BitmapSource.notFinite { throw nonFiniteWeight(inPanel: panel) }
        offset[panel + 1] += offset[panel]
      }
    }
  }

  /// Fills the parts of `weights`, which are its own and unseen: writing them here still comes before they are frozen.
  func pack(into weights: BitmapWeights, on pool: ThreadPool?) {
    let offsets = weights.offsets.base.assumingMemoryBound(to: UInt64.self)
    let bitmap = UnsafeMutableRawPointer(mutating: weights.bitmap.base)
    let values = UnsafeMutableRawPointer(mutating: weights.values.base)
    let sums = weights.rowSum?.unfrozen(as: Int32.self)
    let panelBytes = weights.bitmap.byteCount / panelCount
    let shares = PanelShares(of: weights, threads: pool?.threadCount ?? 1)
    ThreadPool.run(parts: shares.count, on: pool) { share, worker in
      forEachPanel(in: shares.panels(share: share, of: weights), worker: worker) { panel, rows, count in
        guard let rows else { return }
        ck_bitmap_pack(
          rows, inputs, type, count, inputs, 0, 1, offsets + panel, bitmap + panel * panelBytes, values,
          sums.map { $0 + panel * Int(CK_PANEL_ROWS) })
      }
    }
  }

  /// Calls `body` with the rows of each panel as the packer takes them and with their number; with nil when one of their weights
  /// is not finite.
  private func forEachPanel(
    in panels: Range<Int>, worker: Int, _ body: (_ panel: Int, _ rows: UnsafeRawPointer?, _ count: Int) -> Void
  ) {
    for panel in panels {
      let first = panel * Int(CK_PANEL_ROWS)
      let rows = first..<min(first + Int(CK_PANEL_ROWS), outputs)
      body(panel, scale == nil ? inPlace(rows) : quantize(rows, worker: worker), rows.count)
    }
  }

  private func inPlace(_ rows: Range<Int>) -> UnsafeRawPointer? {
    guard case .bfloat16(let elements) = elements, let base = elements.baseAddress else { return nil }
    let first = base + rows.lowerBound * inputs
    return ck_bf16_all_finite(first, rows.count * inputs) != 0 ? UnsafeRawPointer(first) : nil
  }

  private func quantize(_ rows: Range<Int>, worker: Int) -> UnsafeRawPointer? {
    guard let scale, let codes = codes.base else { return nil }
    let base = (codes + worker * codeBytes).assumingMemoryBound(to: Int8.self)
    for row in rows {
      let target = base + (row - rows.lowerBound) * inputs
      switch elements {
      case .bfloat16(let elements):
        guard let elements = elements.baseAddress else { return nil }
        scale[row] = ck_x_quantize_bf16(elements + row * inputs, inputs, inputs, target)
      case .float32(let elements):
        guard let elements = elements.baseAddress else { return nil }
        scale[row] = ck_x_quantize_f32(elements + row * inputs, inputs, inputs, target)
      }
      if scale[row].isNaN { return nil }
    }
    return UnsafeRawPointer(base)
  }

  private func nonFiniteWeight(inPanel panel: Int) -> TesseraError {
    let first = panel * Int(CK_PANEL_ROWS) * inputs
    let index = (first..<elements.count).first { !elements.isFinite(at: $0) } ?? first
    return .nonFiniteWeight(row: index / inputs, column: index % inputs)
  }
}
