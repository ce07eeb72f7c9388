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

  /// Parts that are known to fit each other.
  init(
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

/// Rows whose sums fit an Int32.
func checkInt8Inputs(outputs: Int, inputs: Int) throws(TesseraError) {
  guard inputs <= BitmapWeights.mostInt8Inputs else {
    throw .invalidShape(what: "int8 weights of more than \(BitmapWeights.mostInt8Inputs) inputs", rows: outputs, columns: inputs)
  }
}
