package import CKernels

/// A weight matrix of 4-bit codes with a scale for every group of them, in panels of 16 rows (layout: ck_code4_gemm.h,
/// Docs/Formats.md): RaZeR (arXiv 2501.04052) and its relatives. In the bitmap formats the codes of zeros are left out.
///
/// One packed copy serves every kernel, both types of activations, and every prefix: `prefix` gives a view that shares the
/// memory.
public struct Code4Weights: PackedWeights {
  public let outputs: Int
  public let inputs: Int
  public let format: WeightFormat
  /// What codes and scales mean; differs from `format.code4` in its special values alone.
  public let code4: Code4Format
  /// What every weight is multiplied by.
  public let tensorScale: Float
  /// What rows of x become before they are multiplied.
  public let activations: ActivationType
  public let bias: MemoryRegion?
  /// Two codes a byte; in the bitmap formats those that are not 0, then at least 64 bytes of zeros.
  public let codes: MemoryRegion
  /// The bitmap formats only: which codes are stored.
  public let bitmap: MemoryRegion?
  /// The bitmap formats only: for each packed panel the first byte of its codes, then the bytes of all, as UInt64.
  public let offsets: MemoryRegion?
  /// A scale for each group, 1 or 2 bytes.
  public let scales: MemoryRegion
  /// The outputs and inputs of the matrix that was packed, of which this may be a prefix.
  public let packedOutputs: Int
  public let packedInputs: Int
  let packedBias: MemoryRegion?
  private let constants: MemoryRegion
  let view: ck_code4_view

  /// Takes over panels that are packed already, as a mapped file holds them, and checks that every scale is finite and that a
  /// bitmap agrees with its offsets and codes.
  /// - Parameters:
  ///   - bitmap: for the bitmap formats, and for no other.
  ///   - offsets: likewise.
  /// - Throws: `invalidShape`, `sizeMismatch`, `corruptWeights` with the first panel that has a scale that is not finite or a
  ///   bitmap that is wrong, or panel 0 when the tensor's scale is not finite; `invalidSpecialValues`, `unsupportedActivations`,
  ///   `outOfMemory`.
  public init(
    packed codes: MemoryRegion, bitmap: MemoryRegion? = nil, offsets: MemoryRegion? = nil, scales: MemoryRegion,
    tensorScale: Float, format: WeightFormat, outputs: Int, inputs: Int, specialValues: [Float]? = nil,
    activations: ActivationType? = nil, bias: MemoryRegion? = nil
  ) throws(TesseraError) {
    let (code4, activations) = try Code4Weights.meaning(of: format, specialValues, activations)
    try checkShape("4-bit weights", rows: outputs, columns: inputs)
    try Code4Weights.check(codes: codes, bitmap: bitmap, offsets: offsets, format: format, outputs: outputs, inputs: inputs)
    try checkPart("scales", scales, byteCount: ck_code4_scales_bytes(outputs, inputs, code4.group, code4.scale.cType))
    if let bias { try checkPart("bias", bias, byteCount: outputs * 4) }
    try self.init(
      unchecked: codes, bitmap: bitmap, offsets: offsets, scales: scales, tensorScale: tensorScale, format: format, code4: code4,
      outputs: outputs, inputs: inputs, activations: activations, bias: bias)
    try checkContents()
  }

  private static func check(
    codes: MemoryRegion, bitmap: MemoryRegion?, offsets: MemoryRegion?, format: WeightFormat, outputs: Int, inputs: Int
  ) throws(TesseraError) {
    if format.storesEveryElement {
      precondition(bitmap == nil && offsets == nil, "\(format) has no bitmap")
      return try checkPart("codes", codes, byteCount: ck_code4_codes_bytes(outputs, inputs))
    }
    let bitmapBytes = ck_bitmap_bytes(outputs, inputs, .CK_INT8)
    guard let bitmap, let offsets else { throw .sizeMismatch(what: "bitmap and offsets", expected: bitmapBytes, got: 0) }
    try checkPart("bitmap", bitmap, byteCount: bitmapBytes)
    try checkPart("offsets", offsets, byteCount: (ck_panels(outputs) + 1) * 8)
    let count = offsets.base.assumingMemoryBound(to: UInt64.self)[ck_panels(outputs)]
    guard count <= UInt64(outputs) * UInt64(inputs) else {
      throw .corruptWeights(format: format.rawValue, panel: ck_panels(outputs))
    }
    try checkPart("codes", codes, byteCount: ck_code4_stored_bytes(count))
  }

  /// What a format stands for with these choices.
  static func meaning(
    of format: WeightFormat, _ specialValues: [Float]?, _ activations: ActivationType?
  ) throws(TesseraError) -> (Code4Format, ActivationType) {
    guard let code4 = format.code4 else { preconditionFailure("\(format) is no 4-bit format") }
    let activations = activations ?? format.activations[0]
    guard format.activations.contains(activations) else { throw .unsupportedActivations(activations, format: format) }
    guard let specialValues else { return (code4, activations) }
    return (try code4.with(specialValues: specialValues), activations)
  }

  /// Parts of the right sizes, whose contents have yet to be written or checked.
  init(
    unchecked codes: MemoryRegion, bitmap: MemoryRegion?, offsets: MemoryRegion?, scales: MemoryRegion, tensorScale: Float,
    format: WeightFormat, code4: Code4Format, outputs: Int, inputs: Int, activations: ActivationType, bias: MemoryRegion?
  ) throws(TesseraError) {
    self.outputs = outputs
    self.inputs = inputs
    self.format = format
    self.code4 = code4
    self.tensorScale = tensorScale
    self.activations = activations
    self.bias = bias
    self.codes = codes
    self.bitmap = bitmap
    self.offsets = offsets
    self.scales = scales
    packedOutputs = outputs
    packedInputs = inputs
    packedBias = bias
    constants = try Constants.region(code4, tensorScale: tensorScale)
    view = ck_code4_view(
      block_panels: ck_panels(outputs), kept_panels: ck_panels(outputs), block_k: inputs, kept_k: inputs)
  }

  /// What kernels rely on.
  func checkContents() throws(TesseraError) {
    guard tensorScale.isFinite else { throw .corruptWeights(format: format.rawValue, panel: 0) }
    var badPanel = 0
    let status = withUnsafePointer(to: cWeights) { ck_code4_validate($0, packedOutputs, packedInputs, &badPanel) }
    guard status == .CK_OK else { throw .corruptWeights(format: format.rawValue, panel: badPanel) }
  }

  /// A view of what `whole` shares.
  init(
    _ whole: Code4Weights, outputs: Int, inputs: Int, view: ck_code4_view, activations: ActivationType, bias: MemoryRegion?
  ) {
    self.outputs = outputs
    self.inputs = inputs
    format = whole.format
    code4 = whole.code4
    tensorScale = whole.tensorScale
    self.activations = activations
    self.bias = bias
    codes = whole.codes
    bitmap = whole.bitmap
    offsets = whole.offsets
    scales = whole.scales
    packedOutputs = whole.packedOutputs
    packedInputs = whole.packedInputs
    packedBias = whole.packedBias
    constants = whole.constants
    self.view = view
  }

  /// The same weights for other activations.
  /// - Throws: `unsupportedActivations`.
  public func multiplying(_ activations: ActivationType) throws(TesseraError) -> Code4Weights {
    guard format.activations.contains(activations) else { throw .unsupportedActivations(activations, format: format) }
    return Code4Weights(self, outputs: outputs, inputs: inputs, view: view, activations: activations, bias: bias)
  }

  /// What `PackedTensor.nonZeroCount` says of these weights: the number of codes, in the bitmap formats that of their bytes.
  public var storedCount: Int { cOffsets.map { Int($0[ck_panels(packedOutputs)]) } ?? packedOutputs * packedInputs }

  public var byteCount: Int { bytes(beforePanel: panelCount) }

  public func bytes(beforePanel panel: Int) -> Int { panelByteCount * panel + storedBytes(beforePanel: panel) }

  // What kernels read of a panel: started steps of codes, or of the bitmap, and the scales of their groups.
  private var panelByteCount: Int {
    let blocks = inputs / view.kept_k
    let lineBytes = (view.kept_k + 7) / 8 * (bitmap == nil ? 64 : 16)
    let groups = ck_code4_groups(view.kept_k, code4.group)
    return blocks * (lineBytes + groups * Int(CK_PANEL_ROWS) * code4.scale.byteCount)
  }

  // With a bitmap, the codes. Of a prefix of the inputs a kernel reads about the same share of them.
  private func storedBytes(beforePanel panel: Int) -> Int {
    guard let cOffsets else { return 0 }
    let (kept, block) = (view.kept_panels, view.block_panels)
    var count: UInt64 = 0
    for first in stride(from: 0, to: panel, by: kept) {
      let packed = first / kept * block
      count += cOffsets[packed + min(kept, panel - first)] - cOffsets[packed]
    }
    return inputs == packedInputs ? Int(count) : Int(Double(count) * Double(inputs) / Double(packedInputs))
  }

  private var cOffsets: UnsafePointer<UInt64>? { offsets?.base.assumingMemoryBound(to: UInt64.self) }

  public var activationLayout: ActivationLayout {
    ActivationLayout(
      activations, inputs: inputs, blockInputs: view.kept_k, step: 64, isEvenOdd: activations == .bfloat16)
  }

  public func scratchByteCount(_ variant: KernelVariant, _ call: GEMMCall) -> Int {
    guard case .code4(let kernel) = variant.kernel else { preconditionFailure("\(variant) does not read \(format) weights") }
    return withUnsafePointer(to: call.operands) { call in withUnsafePointer(to: cWeights) { kernel.scratch_bytes(call, $0) } }
  }

  public func run(_ variant: KernelVariant, _ call: GEMMCall, panels: Range<Int>, scratch: UnsafeMutableRawPointer?) {
    guard case .code4(let kernel) = variant.kernel, variant.multiplies(activations, by: format) else {
      preconditionFailure("\(variant) does not multiply \(activations) rows by \(format) weights")
    }
    withUnsafePointer(to: call.operands) { call in
      withUnsafePointer(to: cWeights) { kernel.run(call, $0, panels.lowerBound, panels.upperBound, scratch) }
    }
  }

  /// The weights as numbers, row after row.
  public func dequantized() -> [Float] { dequantized(panels: 0..<panelCount) }

  /// The rows of some panels.
  package func dequantized(panels: Range<Int>) -> [Float] {
    let rows = min(panels.upperBound * Int(CK_PANEL_ROWS), outputs) - panels.lowerBound * Int(CK_PANEL_ROWS)
    return [Float](unsafeUninitializedCapacity: rows * inputs) { target, count in
      withUnsafePointer(to: cWeights) { weights in
        guard let base = target.baseAddress else { return }
        ck_code4_dequantize(weights, outputs, inputs, panels.lowerBound, panels.upperBound, base, inputs)
      }
      count = rows * inputs
    }
  }

  package var cWeights: ck_code4_weights {
    ck_code4_weights(
      codes: codes.base.assumingMemoryBound(to: UInt8.self), bitmap: bitmap?.base.assumingMemoryBound(to: UInt64.self),
      offsets: cOffsets, scales: scales.base,
      tables: constants.base.assumingMemoryBound(to: ck_code4_tables.self), scale_type: code4.scale.cType,
      group: UInt32(code4.group), tensor_scale: tensorScale * code4.unit, packed_k: packedInputs, view: view)
  }
}

/// What belongs to a whole tensor and has to lie in memory, for kernels or for files: the tables, the tensor's scale, the special
/// values; each on its own cache line.
private enum Constants {
  static let tensorScaleOffset = (MemoryLayout<ck_code4_tables>.size + 63) / 64 * 64
  static let specialValuesOffset = tensorScaleOffset + 64

  static func region(_ code4: Code4Format, tensorScale: Float) throws(TesseraError) -> MemoryRegion {
    try MemoryRegion(byteCount: specialValuesOffset + 64) { bytes in
      bytes.storeBytes(of: code4.tables, as: ck_code4_tables.self)
      bytes.storeBytes(of: tensorScale, toByteOffset: tensorScaleOffset, as: Float.self)
      for (index, value) in code4.specialValues.enumerated() {
        bytes.storeBytes(of: value, toByteOffset: specialValuesOffset + index * 4, as: Float.self)
      }
    }
  }
}

extension Code4Weights {
  /// One Float.
  var tensorScaleRegion: MemoryRegion {
    MemoryRegion(base: constants.base + Constants.tensorScaleOffset, byteCount: 4, keeping: constants)
  }

  /// Four Floats, or nil for a format without special values.
  var specialValuesRegion: MemoryRegion? {
    code4.specialValues.isEmpty
      ? nil : MemoryRegion(base: constants.base + Constants.specialValuesOffset, byteCount: 16, keeping: constants)
  }
}
