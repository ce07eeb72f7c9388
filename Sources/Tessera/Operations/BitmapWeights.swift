package import CKernels

/// A sparse weight matrix: a bit for every element and the non-zero values in order, in panels of 16 rows (layout:
/// ck_bitmap_gemm.h, Docs/Formats.md). After SparAMX (arXiv 2502.12444), whose layout depends on a thread count; this one does
/// not.
public struct BitmapWeights: PackedWeights {
  public let outputs: Int
  public let inputs: Int
  public let format: WeightFormat
  public let bias: MemoryRegion?
  public let bitmap: MemoryRegion
  /// The values, then at least 64 bytes of zeros.
  public let values: MemoryRegion
  /// For each panel the index of its first value, then the number of values: `panelCount + 1` UInt64.
  public let offsets: MemoryRegion
  /// int8 only: `outputs` floats, what one step of a row is worth.
  public let rowScale: MemoryRegion?
  /// int8 only: `outputs` Int32, the sum of each row's values.
  public let rowSum: MemoryRegion?

  /// The longest int8 rows whose sums fit an Int32 whatever the codes are: 128 * 127 * 131,071 < 2^31.
  public static let mostInt8Inputs = 131_071

  /// Packs a row-major matrix of bfloat16; an element is stored when any bit of it is set, so -0 survives.
  /// - Parameters:
  ///   - weights: `outputs * inputs` elements, row after row, all finite.
  ///   - bias: `outputs` numbers or nil.
  /// - Throws: `invalidShape`, `sizeMismatch`, `nonFiniteWeight`, `outOfMemory`.
  public init(packing weights: Span<BFloat16>, outputs: Int, inputs: Int, bias: [Float]? = nil) throws(TesseraError) {
    try checkShape("bitmap weights", rows: outputs, columns: inputs)
    guard weights.count == outputs * inputs else {
      throw .sizeMismatch(what: "bitmap weights", expected: outputs * inputs, got: weights.count)
    }
    for index in weights.indices where !weights[index].isFinite {
      throw .nonFiniteWeight(row: index / inputs, column: index % inputs)
    }
    let bias = try biasRegion(bias, outputs: outputs)
    self = try weights.withUnsafeBytes { source throws(TesseraError) in
      try BitmapWeights(source: source, type: .CK_BF16, outputs: outputs, inputs: inputs, rowScale: nil, bias: bias)
    }
  }

  /// Quantises a row-major matrix to int8, each row symmetrically with step max|row| / 127, and packs what is not 0 afterwards.
  /// - Throws: as `init(packing:)`; `invalidShape` also for more than `mostInt8Inputs` inputs.
  public init(quantizing weights: Span<Float>, outputs: Int, inputs: Int, bias: [Float]? = nil) throws(TesseraError) {
    try checkInt8(weights.count, outputs: outputs, inputs: inputs)
    for index in weights.indices where !weights[index].isFinite {
      throw .nonFiniteWeight(row: index / inputs, column: index % inputs)
    }
    self = try weights.withUnsafeBufferPointer { source throws(TesseraError) in
      guard let source = source.baseAddress else { preconditionFailure("a matrix without elements passed its shape check") }
      return try BitmapWeights(outputs: outputs, inputs: inputs, bias: bias) { row, codes in
        ck_x_quantize_f32(source + row * inputs, inputs, inputs, codes)
      }
    }
  }

  /// The same for weights that are bfloat16 already.
  public init(quantizing weights: Span<BFloat16>, outputs: Int, inputs: Int, bias: [Float]? = nil) throws(TesseraError) {
    try checkInt8(weights.count, outputs: outputs, inputs: inputs)
    for index in weights.indices where !weights[index].isFinite {
      throw .nonFiniteWeight(row: index / inputs, column: index % inputs)
    }
    self = try weights.withUnsafeBytes { source throws(TesseraError) in
      guard let source = source.baseAddress?.assumingMemoryBound(to: UInt16.self) else {
        preconditionFailure("a matrix without elements passed its shape check")
      }
      return try BitmapWeights(outputs: outputs, inputs: inputs, bias: bias) { row, codes in
        ck_x_quantize_bf16(source + row * inputs, inputs, inputs, codes)
      }
    }
  }

  /// - Parameter quantize: writes the codes of a row and returns what one step of it is worth.
  private init(
    outputs: Int, inputs: Int, bias: [Float]?, quantize: (_ row: Int, _ codes: UnsafeMutablePointer<Int8>) -> Float
  ) throws(TesseraError) {
    var memory = ScratchBuffer()
    try memory.reserve(byteCount: outputs * inputs)
    guard let codes = memory.base?.bindMemory(to: Int8.self, capacity: outputs * inputs) else {
      preconditionFailure("no memory for \(outputs) x \(inputs) codes")
    }
    let scales = try MemoryRegion(byteCount: outputs * 4) { bytes in
      let scale = bytes.bindMemory(to: Float.self)
      for row in 0..<outputs { scale[row] = quantize(row, codes + row * inputs) }
    }
    let bias = try biasRegion(bias, outputs: outputs)
    try self.init(
      source: UnsafeRawBufferPointer(start: codes, count: outputs * inputs), type: .CK_INT8, outputs: outputs, inputs: inputs,
      rowScale: scales, bias: bias)
  }

  /// Takes over parts that are packed already, as a mapped file holds them, and checks everything that kernels rely on: sizes,
  /// alignment, popcounts against offsets, bits beyond the matrix, row sums. One pass over the bitmap.
  /// - Throws: `invalidShape`, `sizeMismatch`, `corruptWeights` with the first wrong panel.
  public init(
    packedFormat format: WeightFormat, bitmap: MemoryRegion, values: MemoryRegion, offsets: MemoryRegion,
    rowScale: MemoryRegion? = nil, rowSum: MemoryRegion? = nil, outputs: Int, inputs: Int, bias: MemoryRegion? = nil
  ) throws(TesseraError) {
    precondition(format.operation == .bitmapGEMM, "\(format) is no bitmap format")
    try checkShape("bitmap weights", rows: outputs, columns: inputs)
    let type: ck_type = format == .bitmapInt8 ? .CK_INT8 : .CK_BF16
    try checkPart("bitmap", bitmap, byteCount: ck_bitmap_bytes(outputs, inputs, type))
    try checkPart("offsets", offsets, byteCount: (ck_panels(outputs) + 1) * 8)
    let count = offsets.base.assumingMemoryBound(to: UInt64.self)[ck_panels(outputs)]
    guard count <= UInt64(outputs) * UInt64(inputs) else {
      throw .corruptWeights(format: format.rawValue, panel: ck_panels(outputs))
    }
    try checkPart("values", values, byteCount: ck_bitmap_values_bytes(count, type))
    if let bias { try checkPart("bias", bias, byteCount: outputs * 4) }
    if type == .CK_INT8 {
      try checkInt8Inputs(outputs: outputs, inputs: inputs)
      guard let rowScale, let rowSum else { throw .sizeMismatch(what: "row scales and sums", expected: outputs, got: 0) }
      try checkPart("row scales", rowScale, byteCount: outputs * 4)
      try checkPart("row sums", rowSum, byteCount: outputs * 4)
    }
    self.init(
      format: format, bitmap: bitmap, values: values, offsets: offsets, rowScale: type == .CK_INT8 ? rowScale : nil,
      rowSum: type == .CK_INT8 ? rowSum : nil, outputs: outputs, inputs: inputs, bias: bias)
    var weights = cWeights
    var badPanel = 0
    guard ck_bitmap_validate(&weights, outputs, inputs, count, &badPanel) == .CK_OK else {
      throw .corruptWeights(format: format.rawValue, panel: badPanel)
    }
  }

  private init(
    source: UnsafeRawBufferPointer, type: ck_type, outputs: Int, inputs: Int, rowScale: MemoryRegion?, bias: MemoryRegion?
  ) throws(TesseraError) {
    let panels = ck_panels(outputs)
    guard let source = source.baseAddress else { preconditionFailure("a matrix without elements passed its shape check") }
    let offsets = try MemoryRegion(byteCount: (panels + 1) * 8) { bytes in
      let offset = bytes.bindMemory(to: UInt64.self)
      guard let first = offset.baseAddress else { return }
      ck_bitmap_count(source, inputs, type, outputs, inputs, 0, panels, first + 1)
      for panel in 0..<panels { offset[panel + 1] += offset[panel] }
    }
    let offset = offsets.base.assumingMemoryBound(to: UInt64.self)
    let rowSum = type == .CK_INT8 ? try MemoryRegion(byteCount: outputs * 4) { _ in } : nil
    let bitmap = try MemoryRegion(byteCount: ck_bitmap_bytes(outputs, inputs, type)) { _ in }
    let values = try MemoryRegion(byteCount: ck_bitmap_values_bytes(offset[panels], type)) { _ in }
    // The regions are ours and nobody has seen them yet, so writing them here still comes before they are frozen.
    ck_bitmap_pack(
      source, inputs, type, outputs, inputs, 0, panels, offset, UnsafeMutableRawPointer(mutating: bitmap.base),
      UnsafeMutableRawPointer(mutating: values.base),
      rowSum.map { UnsafeMutableRawPointer(mutating: $0.base).assumingMemoryBound(to: Int32.self) })
    self.init(
      format: type == .CK_INT8 ? .bitmapInt8 : .bitmapBF16, bitmap: bitmap, values: values, offsets: offsets,
      rowScale: rowScale, rowSum: rowSum, outputs: outputs, inputs: inputs, bias: bias)
  }

  private init(
    format: WeightFormat, bitmap: MemoryRegion, values: MemoryRegion, offsets: MemoryRegion, rowScale: MemoryRegion?,
    rowSum: MemoryRegion?, outputs: Int, inputs: Int, bias: MemoryRegion?
  ) {
    self.format = format
    self.bitmap = bitmap
    self.values = values
    self.offsets = offsets
    self.rowScale = rowScale
    self.rowSum = rowSum
    self.outputs = outputs
    self.inputs = inputs
    self.bias = bias
  }

  /// The number of stored values.
  public var nonZeroCount: Int { Int(cOffsets[panelCount]) }
  /// Stored values per element: 1 - sparsity.
  public var density: Double { Double(nonZeroCount) / (Double(outputs) * Double(inputs)) }

  public var byteCount: Int {
    bitmap.byteCount + values.byteCount + offsets.byteCount + (rowScale?.byteCount ?? 0) + (rowSum?.byteCount ?? 0)
  }

  public func bytes(beforePanel panel: Int) -> Int {
    Int(cOffsets[panel]) * (format == .bitmapInt8 ? 1 : 2) + bitmap.byteCount / panelCount * panel
  }

  /// The row-major matrix of a `bitmapBF16` again, bit for bit.
  public func unpackedBFloat16() -> [BFloat16] {
    precondition(format == .bitmapBF16, "\(format) weights have no bfloat16 values")
    return unpack(as: BFloat16.self)
  }

  /// The row-major codes of a `bitmapInt8` again; a weight is code * rowScale[row].
  public func unpackedInt8() -> [Int8] {
    precondition(format == .bitmapInt8, "\(format) weights have no int8 codes")
    return unpack(as: Int8.self)
  }

  private func unpack<Element: BitwiseCopyable>(as _: Element.Type) -> [Element] {
    [Element](unsafeUninitializedCapacity: outputs * inputs) { target, count in
      var weights = cWeights
      if let base = target.baseAddress { ck_bitmap_unpack(&weights, outputs, inputs, 0, panelCount, base, inputs) }
      count = outputs * inputs
    }
  }

  public var activationLayout: ActivationLayout {
    ActivationLayout(format == .bitmapInt8 ? .int8 : .bfloat16, inputs: inputs)
  }

  public func scratchByteCount(_ variant: KernelVariant, _ call: GEMMCall) -> Int {
    guard case .bitmap(let kernel) = variant.kernel else { preconditionFailure("\(variant) does not read \(format) weights") }
    return withUnsafePointer(to: call.operands) { kernel.scratch_bytes($0) }
  }

  public func run(_ variant: KernelVariant, _ call: GEMMCall, panels: Range<Int>, scratch: UnsafeMutableRawPointer?) {
    guard case .bitmap(let kernel) = variant.kernel, variant.formats.contains(format) else {
      preconditionFailure("\(variant) does not read \(format) weights")
    }
    var operands = call.operands
    var weights = cWeights
    kernel.run(&operands, &weights, panels.lowerBound, panels.upperBound, scratch)
  }

  private var cOffsets: UnsafePointer<UInt64> { offsets.base.assumingMemoryBound(to: UInt64.self) }

  package var cWeights: ck_bitmap_weights {
    ck_bitmap_weights(
      type: format == .bitmapInt8 ? .CK_INT8 : .CK_BF16, bitmap: bitmap.base, values: values.base, offsets: cOffsets,
      row_scale: rowScale?.base.assumingMemoryBound(to: Float.self), row_sum: rowSum?.base.assumingMemoryBound(to: Int32.self))
  }
}

private func checkInt8(_ count: Int, outputs: Int, inputs: Int) throws(TesseraError) {
  try checkShape("bitmap weights", rows: outputs, columns: inputs)
  try checkInt8Inputs(outputs: outputs, inputs: inputs)
  guard count == outputs * inputs else {
    throw .sizeMismatch(what: "bitmap weights", expected: outputs * inputs, got: count)
  }
}

private func checkInt8Inputs(outputs: Int, inputs: Int) throws(TesseraError) {
  guard inputs <= BitmapWeights.mostInt8Inputs else {
    throw .invalidShape(what: "int8 weights of more than \(BitmapWeights.mostInt8Inputs) inputs", rows: outputs, columns: inputs)
  }
}
