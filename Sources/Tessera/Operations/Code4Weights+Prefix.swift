internal import CKernels

extension Code4Weights {
  /// A prefix of the packed matrix, or of each of its blocks, without copying and without quantising again: the result equals
  /// the product with the dropped inputs set to 0, without the dropped outputs. Bit for bit, unless a block of inputs ends inside
  /// a group: each part of such a group is then scaled and rounded by itself.
  ///
  /// A matrix of 8 heads of 128 outputs is cut to 96 outputs of each by `prefix(outputs: 96, outputBlocks: 8)`; x of a matrix
  /// whose inputs are cut in blocks holds the kept inputs of each block, one block after the other.
  /// - Parameters:
  ///   - outputs: how many outputs of each block to keep; nil keeps all. With more than one block a multiple of 16.
  ///   - outputBlocks: how many equal blocks the packed outputs fall into. With more than one their size is a multiple of 16.
  ///   - inputs: how many inputs of each block to keep; nil keeps all.
  ///   - inputBlocks: how many equal blocks the packed inputs fall into. With more than one their size is a multiple of 64.
  /// - Throws: `invalidPrefix` when the blocks do not divide the matrix, the prefix is empty or does not fit, or a bitmap format
  ///   is to have several blocks of inputs.
  public func prefix(
    outputs: Int? = nil, outputBlocks: Int = 1, inputs: Int? = nil, inputBlocks: Int = 1
  ) throws(TesseraError) -> Code4Weights {
    let (blockOutputs, keptOutputs) = try checkPrefix(
      "outputs", outputs, of: outputBlocks, packed: packedOutputs, multiple: Int(CK_PANEL_ROWS), keptMultiple: 16)
    let (blockInputs, keptInputs) = try checkPrefix(
      "inputs", inputs, of: inputBlocks, packed: packedInputs, multiple: 64, keptMultiple: 1)
    // Stored codes are found by counting those before them: there is no way to the second block.
    guard format.storesEveryElement || inputBlocks == 1 else {
      throw .invalidPrefix(what: "inputs", kept: keptInputs, blocks: inputBlocks, packed: packedInputs)
    }
    let view = ck_code4_view(
      block_panels: ck_panels(blockOutputs), kept_panels: ck_panels(keptOutputs), block_k: blockInputs, kept_k: keptInputs)
    return Code4Weights(
      self, outputs: keptOutputs * outputBlocks, inputs: keptInputs * inputBlocks, view: view, activations: activations,
      bias: try prefix(ofBias: packedBias, blockOutputs: blockOutputs, keptOutputs: keptOutputs))
  }

  /// Whether this is all of what was packed.
  public var isWhole: Bool { outputs == packedOutputs && inputs == packedInputs }

  /// The prefix as a matrix of its own, packed anew from the same codes and scales: for files, or to free the rest.
  /// - Throws: `invalidPrefix` when a group holds inputs of several blocks, of which not all are kept: it would need two scales;
  ///   `outOfMemory`.
  public func compacted() throws(TesseraError) -> Code4Weights {
    if isWhole { return self }
    let blocks = inputs / view.kept_k
    guard blocks == 1 || view.kept_k % code4.group == 0 else {
      throw .invalidPrefix(what: "inputs", kept: view.kept_k, blocks: blocks, packed: packedInputs)
    }
    let rows = (0..<outputs).map { packedRow($0) }
    let columns = (0..<inputs).map { $0 / view.kept_k * view.block_k + $0 % view.kept_k }
    let packedGroups = code4.groups(inputs: packedInputs)
    let (allCodes, allScales) = unpacked()
    var codes: [UInt8] = []
    var scales: [UInt16] = []
    for row in rows {
      for column in columns { codes.append(allCodes[row * packedInputs + column]) }
      for first in stride(from: 0, to: inputs, by: code4.group) {
        scales.append(allScales[row * packedGroups + columns[first] / code4.group])
      }
    }
    let biases = bias.map { Array(UnsafeBufferPointer(start: $0.base.assumingMemoryBound(to: Float.self), count: outputs)) }
    return try Code4Weights(
      packing: codes.span, scales: scales.span, tensorScale: tensorScale, format: format, outputs: outputs, inputs: inputs,
      specialValues: code4.specialValues.isEmpty ? nil : code4.specialValues, activations: activations, bias: biases)
  }

  private func packedRow(_ row: Int) -> Int {
    let panel = row / Int(CK_PANEL_ROWS)
    let packedPanel = panel / view.kept_panels * view.block_panels + panel % view.kept_panels
    return packedPanel * Int(CK_PANEL_ROWS) + row % Int(CK_PANEL_ROWS)
  }

  /// The codes and stored scales of everything that was packed, row after row: the packer's inverse.
  public func unpacked() -> (codes: [UInt8], scales: [UInt16]) {
    let groups = code4.groups(inputs: packedInputs)
    let panels = ck_panels(packedOutputs)
    let allCodes = [UInt8](unsafeUninitializedCapacity: packedOutputs * packedInputs) { target, count in
      guard let base = target.baseAddress else { return }
      withLines { ck_code4_unpack_codes($0, packedOutputs, packedInputs, 0, panels, base, packedInputs) }
      count = packedOutputs * packedInputs
    }
    let allScales = [UInt16](unsafeUninitializedCapacity: packedOutputs * groups) { target, count in
      guard let base = target.baseAddress else { return }
      ck_code4_unpack_scales(
        scales.base, packedOutputs, packedInputs, code4.group, code4.scale.cType, 0, panels, base, groups)
      count = packedOutputs * groups
    }
    return (allCodes, allScales)
  }

  /// Calls `body` with the codes as they lie without a bitmap.
  private func withLines(_ body: (UnsafePointer<UInt8>) -> Void) {
    guard bitmap != nil else { return body(codes.base.assumingMemoryBound(to: UInt8.self)) }
    let byteCount = ck_code4_codes_bytes(packedOutputs, packedInputs)
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: byteCount) { lines in
      guard let base = lines.baseAddress else { return }
      withUnsafePointer(to: cWeights) { ck_code4_expand($0, 0, ck_panels(packedOutputs), base) }
      body(base)
    }
  }

  private func checkPrefix(
    _ what: String, _ kept: Int?, of blocks: Int, packed: Int, multiple: Int, keptMultiple: Int
  ) throws(TesseraError) -> (block: Int, kept: Int) {
    guard blocks >= 1, packed % blocks == 0, blocks == 1 || packed / blocks % multiple == 0 else {
      throw .invalidPrefix(what: what, kept: kept ?? packed, blocks: blocks, packed: packed)
    }
    let block = packed / blocks
    let kept = kept ?? block
    guard kept >= 1, kept <= block, blocks == 1 || kept % keptMultiple == 0 else {
      throw .invalidPrefix(what: what, kept: kept, blocks: blocks, packed: packed)
    }
    return (block, kept)
  }

  private func prefix(ofBias bias: MemoryRegion?, blockOutputs: Int, keptOutputs: Int) throws(TesseraError) -> MemoryRegion? {
    guard let bias, keptOutputs < blockOutputs else { return bias }
    let width = MemoryLayout<Float>.stride
    let blocks = bias.byteCount / width / blockOutputs
    return try MemoryRegion(byteCount: blocks * keptOutputs * width) { target in
      for block in 0..<blocks {
        let source = UnsafeRawBufferPointer(rebasing: bias.bytes[(block * blockOutputs * width)...].prefix(keptOutputs * width))
        UnsafeMutableRawBufferPointer(rebasing: target[(block * keptOutputs * width)...]).copyMemory(from: source)
      }
    }
  }
}
