internal import CKernels

/// A bfloat16 weight matrix with every element stored, in panels of 16 rows (layout: ck_dense_gemm.h, Docs/Formats.md).
public struct DenseWeights: PackedWeights {
  public let outputs: Int
  public let inputs: Int
  public let bias: MemoryRegion?
  /// The packed panels.
  public let values: MemoryRegion

  public var format: WeightFormat { .bf16 }
  public var byteCount: Int { values.byteCount }

  /// Packs a row-major matrix.
  /// - Parameters:
  ///   - weights: `outputs * inputs` elements, row after row. Any values, NaN included: dense weights are not inspected.
  ///   - bias: `outputs` numbers or nil.
  ///   - pool: whose threads pack, each the panels that it will read; best the executor's own. nil leaves it to the calling
  ///     thread. The bytes are the same.
  /// - Throws: `invalidShape`, `sizeMismatch`, `outOfMemory`.
  public init(
    packing weights: Span<BFloat16>, outputs: Int, inputs: Int, bias: [Float]? = nil, on pool: ThreadPool? = nil
  ) throws(TesseraError) {
    try checkShape("dense weights", rows: outputs, columns: inputs)
    guard weights.count == outputs * inputs else {
      throw .sizeMismatch(what: "dense weights", expected: outputs * inputs, got: weights.count)
    }
    self.outputs = outputs
    self.inputs = inputs
    self.bias = try biasRegion(bias, outputs: outputs)
    values = try MemoryRegion(byteCount: ck_dense_packed_bytes(outputs, inputs)) { _ in }
    pack(weights, on: pool)
  }

  /// Fills `values`, which is ours and unseen: writing it here still comes before it is frozen.
  private func pack(_ weights: Span<BFloat16>, on pool: ThreadPool?) {
    let target = UnsafeMutableRawPointer(mutating: values.base).assumingMemoryBound(to: UInt16.self)
    let shares = PanelShares(of: self, threads: pool?.threadCount ?? 1)
    weights.withUnsafeBytes { source in
      guard let source = source.baseAddress?.assumingMemoryBound(to: UInt16.self) else { return }
      ThreadPool.run(parts: shares.count, on: pool) { share, _ in
        let panels = shares.panels(share: share, of: self)
        ck_dense_pack(source, inputs, outputs, inputs, panels.lowerBound, panels.upperBound, target)
      }
    }
  }

  /// Takes over panels that are packed already, as a mapped file holds them.
  /// - Throws: `invalidShape`; `sizeMismatch` when the region is not `ck_dense_packed_bytes` long or not 64-byte aligned;
  ///   `corruptWeights` with the first panel whose columns beyond `inputs` are not +0: a NaN there would spoil every output.
  public init(packed values: MemoryRegion, outputs: Int, inputs: Int, bias: MemoryRegion? = nil) throws(TesseraError) {
    try checkShape("dense weights", rows: outputs, columns: inputs)
    try checkPart("dense values", values, byteCount: ck_dense_packed_bytes(outputs, inputs))
    if let bias { try checkPart("bias", bias, byteCount: outputs * 4) }
    self.outputs = outputs
    self.inputs = inputs
    self.bias = bias
    self.values = values
    for panel in 0..<panelCount where !hasZeroPadding(panel) { throw .corruptWeights(format: format.rawValue, panel: panel) }
  }

  /// In a panel the elements beyond `inputs` are its last ones, but for the upper halves of an odd last pair.
  private func hasZeroPadding(_ panel: Int) -> Bool {
    let rows = Int(CK_PANEL_ROWS)
    let elements = UnsafeBufferPointer(start: cPanels, count: values.byteCount / 2)
      .extracting(panel * rows * ck_k_padded(inputs, .CK_BF16)..<(panel + 1) * rows * ck_k_padded(inputs, .CK_BF16))
    let split = inputs % 2 == 0 ? [] : (0..<rows).map { elements[(inputs / 2 * rows + $0) * 2 + 1] }
    return split.allSatisfy { $0 == 0 } && elements[((inputs + 1) / 2 * rows * 2)...].allSatisfy { $0 == 0 }
  }

  /// The row-major matrix again, bit for bit.
  public func unpacked() -> [BFloat16] {
    [BFloat16](unsafeUninitializedCapacity: outputs * inputs) { target, count in
      target.withMemoryRebound(to: UInt16.self) { target in
        guard let base = target.baseAddress else { return }
        ck_dense_unpack(cPanels, outputs, inputs, 0, panelCount, base, inputs)
      }
      count = outputs * inputs
    }
  }

  public func bytes(beforePanel panel: Int) -> Int { byteCount / panelCount * panel }

  public var activationLayout: ActivationLayout { ActivationLayout(.bfloat16, inputs: inputs) }

  public func scratchByteCount(_ variant: KernelVariant, _ call: GEMMCall) -> Int {
    guard case .dense(let kernel) = variant.kernel else { preconditionFailure("\(variant) does not read \(format) weights") }
    return withUnsafePointer(to: call.operands) { kernel.scratch_bytes($0) }
  }

  public func run(_ variant: KernelVariant, _ call: GEMMCall, panels: Range<Int>, scratch: UnsafeMutableRawPointer?) {
    guard case .dense(let kernel) = variant.kernel else {
      preconditionFailure("\(variant) does not read \(format) weights")
    }
    var operands = call.operands
    var weights = ck_dense_weights(values: cPanels)
    kernel.run(&operands, &weights, panels.lowerBound, panels.upperBound, scratch)
  }

  private var cPanels: UnsafePointer<UInt16> { values.base.assumingMemoryBound(to: UInt16.self) }
}

/// A part of packed weights handed in from outside: the one right size, and aligned for whole vectors.
func checkPart(_ what: String, _ region: MemoryRegion, byteCount: Int) throws(TesseraError) {
  guard region.byteCount == byteCount else {
    throw .sizeMismatch(what: "bytes of \(what)", expected: byteCount, got: region.byteCount)
  }
  let misalignment = Int(bitPattern: region.base) % 64
  guard misalignment == 0 else { throw .sizeMismatch(what: "alignment of \(what)", expected: 64, got: misalignment) }
}
