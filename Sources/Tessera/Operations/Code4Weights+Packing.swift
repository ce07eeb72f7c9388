internal import CKernels

extension Code4Weights {
  /// Packs codes and scales; in the bitmap formats only the codes that are not 0.
  /// - Parameters:
  ///   - codes: `outputs * inputs` numbers in 0...15, row after row; of larger ones the lower four bits.
  ///   - scales: `outputs * ceil(inputs / group)` stored scales, row after row, with their selectors (`Code4Format.Scale`).
  ///   - tensorScale: what every weight is multiplied by.
  ///   - specialValues: other special values than RaZeR's usual ones.
  ///   - activations: nil means the first type that the format's kernels read.
  ///   - bias: `outputs` numbers or nil.
  ///   - pool: whose threads pack, each the panels that it will read; best the executor's own. nil leaves it to the calling
  ///     thread. The bytes are the same.
  /// - Throws: `invalidShape`, `sizeMismatch`, `corruptWeights` when a scale is not finite, `invalidSpecialValues`,
  ///   `unsupportedActivations`, `outOfMemory`.
  public init(
    packing codes: Span<UInt8>, scales: Span<UInt16>, tensorScale: Float = 1, format: WeightFormat, outputs: Int, inputs: Int,
    specialValues: [Float]? = nil, activations: ActivationType? = nil, bias: [Float]? = nil, on pool: ThreadPool? = nil
  ) throws(TesseraError) {
    let (code4, activations) = try Code4Weights.meaning(of: format, specialValues, activations)
    try checkShape("4-bit weights", rows: outputs, columns: inputs)
    let groups = code4.groups(inputs: inputs)
    guard codes.count == outputs * inputs else {
      throw .sizeMismatch(what: "codes", expected: outputs * inputs, got: codes.count)
    }
    guard scales.count == outputs * groups else {
      throw .sizeMismatch(what: "scales", expected: outputs * groups, got: scales.count)
    }
    let offsets =
      format.storesEveryElement
      ? nil : try Code4Weights.offsets(ofStored: codes, outputs: outputs, inputs: inputs, on: pool)
    let codeBytes = offsets.map { region in
      ck_code4_stored_bytes(region.base.assumingMemoryBound(to: UInt64.self)[ck_panels(outputs)])
    }
    let bitmap = offsets == nil ? nil : try MemoryRegion(byteCount: ck_bitmap_bytes(outputs, inputs, .CK_INT8)) { _ in }
    let scaleBytes = ck_code4_scales_bytes(outputs, inputs, code4.group, code4.scale.cType)
    try self.init(
      unchecked: try MemoryRegion(byteCount: codeBytes ?? ck_code4_codes_bytes(outputs, inputs)) { _ in }, bitmap: bitmap,
      offsets: offsets, scales: try MemoryRegion(byteCount: scaleBytes) { _ in }, tensorScale: tensorScale, format: format,
      code4: code4, outputs: outputs, inputs: inputs, activations: activations, bias: try biasRegion(bias, outputs: outputs))
    codes.withUnsafeBufferPointer { codes in
      scales.withUnsafeBufferPointer { scales in
        if let codes = codes.baseAddress, let scales = scales.baseAddress { fill(codes, scales, groups: groups, on: pool) }
      }
    }
    try checkContents()
  }

  /// For each panel the first byte of its codes that are not 0, then the bytes of all.
  private static func offsets(
    ofStored codes: Span<UInt8>, outputs: Int, inputs: Int, on pool: ThreadPool?
  ) throws(TesseraError) -> MemoryRegion {
    let panelCount = ck_panels(outputs)
    return try MemoryRegion(byteCount: (panelCount + 1) * MemoryLayout<UInt64>.stride) { bytes in
      let offset = bytes.bindMemory(to: UInt64.self)
      let parts = min(pool?.threadCount ?? 1, panelCount)
      codes.withUnsafeBufferPointer { codes in
        guard let codes = codes.baseAddress, let counts = offset.baseAddress.map({ $0 + 1 }) else { return }
        ThreadPool.run(parts: parts, on: pool) { part, _ in
          let (begin, end) = (panelCount * part / parts, panelCount * (part + 1) / parts)
          ck_code4_count_stored(codes, inputs, outputs, inputs, begin, end, counts + begin)
        }
      }
      for panel in 0..<panelCount { offset[panel + 1] += offset[panel] }
    }
  }

  /// Fills the regions, which are ours and unseen: writing them here still comes before they are frozen.
  private func fill(_ codes: UnsafePointer<UInt8>, _ scales: UnsafePointer<UInt16>, groups: Int, on pool: ThreadPool?) {
    let codeTarget = self.codes.unfrozen(as: UInt8.self)
    let scaleTarget = self.scales.unfrozen(as: UInt8.self)
    let bitmapTarget = bitmap?.unfrozen(as: UInt64.self)
    let offsets = cWeights.offsets
    let (type, group) = (code4.scale.cType, code4.group)
    let shares = PanelShares(of: self, threads: pool?.threadCount ?? 1)
    ThreadPool.run(parts: shares.count, on: pool) { share, _ in
      let panels = shares.panels(share: share, of: self)
      let (begin, end) = (panels.lowerBound, panels.upperBound)
      if let bitmapTarget, let offsets {
        ck_code4_pack_stored(codes, inputs, outputs, inputs, begin, end, offsets, bitmapTarget, codeTarget)
      } else {
        ck_code4_pack_codes(codes, inputs, outputs, inputs, begin, end, codeTarget)
      }
      ck_code4_pack_scales(scales, groups, outputs, inputs, group, type, begin, end, scaleTarget)
    }
  }
}
