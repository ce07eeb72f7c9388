extension DenseWeights {
  /// The weights of a tensor of the format `bf16`, using its parts in place.
  /// - Throws: `unsupportedType` for another format, `corruptTensor`.
  public init(_ tensor: PackedTensor) throws(WeightFileError) {
    try tensor.checkFormat(isOneOf: [.bf16])
    let values = try tensor.part("values")
    self = try tensor.checkingContents { () throws(TesseraError) in
      try DenseWeights(packed: values, outputs: tensor.rows, inputs: tensor.columns, bias: tensor.parts["bias"])
    }
  }

  public func packedTensor(named name: String) -> PackedTensor {
    PackedTensor(
      name: name, format: .bf16, rows: outputs, columns: inputs, nonZeroCount: outputs * inputs,
      parts: ["values": values, "bias": bias].compactMapValues(\.self))
  }
}

extension BitmapWeights {
  /// The weights of a tensor of the format `bitmap-bf16` or `bitmap-int8`, using its parts in place.
  ///
  /// This is where the contents of a file are checked before a kernel sees them: set bits against offsets and count, bits beyond
  /// the matrix, row sums (rules B1 to B3 of Docs/Formats.md); one pass over the bitmap.
  /// - Throws: `unsupportedType` for another format, `corruptTensor` when the contents contradict each other.
  public init(_ tensor: PackedTensor) throws(WeightFileError) {
    try tensor.checkFormat(isOneOf: [.bitmapBF16, .bitmapInt8])
    let (bitmap, values, offsets) = (try tensor.part("bitmap"), try tensor.part("values"), try tensor.part("offsets"))
    let weights = try tensor.checkingContents { () throws(TesseraError) in
      try BitmapWeights(
        packedFormat: tensor.format == .bitmapInt8 ? .bitmapInt8 : .bitmapBF16, bitmap: bitmap, values: values, offsets: offsets,
        rowScale: tensor.parts["row_scale"], rowSum: tensor.parts["row_sum"], outputs: tensor.rows, inputs: tensor.columns,
        bias: tensor.parts["bias"])
    }
    guard weights.nonZeroCount == tensor.nonZeroCount else {
      throw tensor.corrupt("\(weights.nonZeroCount) values are stored, its description says \(tensor.nonZeroCount)")
    }
    self = weights
  }

  public func packedTensor(named name: String) -> PackedTensor {
    PackedTensor(
      name: name, format: format == .bitmapInt8 ? .bitmapInt8 : .bitmapBF16, rows: outputs, columns: inputs,
      nonZeroCount: nonZeroCount,
      parts: [
        "values": values, "bitmap": bitmap, "offsets": offsets, "row_scale": rowScale, "row_sum": rowSum, "bias": bias,
      ].compactMapValues(\.self))
  }
}

extension Code4Weights {
  /// The weights of a tensor of a 4-bit format, using its codes and scales in place, for the first type of activations that the
  /// format's kernels read.
  ///
  /// This is where the contents of a file are checked before a kernel sees them: every scale must be finite, special values
  /// usable, and a bitmap, offsets, codes and count agree (rules C1 to C4 of Docs/Formats.md); one pass over scales and bitmap.
  /// - Throws: `unsupportedType` for another format, `corruptTensor`.
  public init(_ tensor: PackedTensor) throws(WeightFileError) {
    let formats = WeightFormat.allCases.filter { $0.operation == .code4GEMM }
    try tensor.checkFormat(isOneOf: formats.map { .weights($0) })
    guard let format = tensor.format.weightFormat else { preconditionFailure("\(tensor.format) passed its check") }
    let (codes, scales) = (try tensor.part("codes"), try tensor.part("scales"))
    let tensorScale = try tensor.part("tensor_scale").bytes.loadUnaligned(as: Float.self)
    let specialValues = tensor.parts["special_values"].map { part in
      (0..<4).map { part.bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
    }
    let weights = try tensor.checkingContents { () throws(TesseraError) in
      try Code4Weights(
        packed: codes, bitmap: tensor.parts["bitmap"], offsets: tensor.parts["offsets"], scales: scales, tensorScale: tensorScale,
        format: format, outputs: tensor.rows, inputs: tensor.columns, specialValues: specialValues, bias: tensor.parts["bias"])
    }
    guard weights.storedCount == tensor.nonZeroCount else {
      throw tensor.corrupt("\(weights.storedCount) are stored, its description says \(tensor.nonZeroCount)")
    }
    self = weights
  }

  /// The packed weights under a name, ready to be written. A prefix has to be made whole by `compacted` first.
  public func packedTensor(named name: String) -> PackedTensor {
    precondition(isWhole, "\(outputs) x \(inputs) is a prefix of \(packedOutputs) x \(packedInputs) packed weights")
    return PackedTensor(
      name: name, format: .weights(format), rows: outputs, columns: inputs, nonZeroCount: storedCount,
      parts: [
        "codes": codes, "bitmap": bitmap, "offsets": offsets, "scales": scales, "tensor_scale": tensorScaleRegion,
        "special_values": specialValuesRegion, "bias": bias,
      ].compactMapValues(\.self))
  }
}

extension PackedTensor {
  /// The weights that kernels multiply by, whatever their format, using the parts in place; their contents are checked.
  /// - Throws: `corruptTensor` when the contents contradict each other, `unsupportedType` for the plain formats, which no kernel
  ///   reads.
  public func weights() throws(WeightFileError) -> any PackedWeights {
    try checkFormat(isOneOf: WeightFormat.allCases.map { .weights($0) })
    return switch format.weightFormat?.operation {
    case .bitmapGEMM: try BitmapWeights(self)
    case .code4GEMM: try Code4Weights(self)
    default: try DenseWeights(self)
    }
  }

  func checkFormat(isOneOf formats: [PackedFormat]) throws(WeightFileError) {
    guard formats.contains(format) else {
      throw .unsupportedType(
        file: originPath, tensor: name, type: format.rawValue, supported: formats.map(\.rawValue).joined(separator: ", "))
    }
  }

  func part(_ part: String) throws(WeightFileError) -> MemoryRegion {
    guard let region = parts[part] else { throw .missingTensor(file: originPath, tensor: "\(name).\(part)") }
    return region
  }

  /// What the packed initialisers find wrong, with the file and the tensor.
  fileprivate func checkingContents<Weights>(
    _ make: () throws(TesseraError) -> Weights
  ) throws(WeightFileError) -> Weights {
    do throws(TesseraError) { return try make() } catch { throw corrupt("\(error)") }
  }

  fileprivate func corrupt(_ detail: String) -> WeightFileError {
    .corruptTensor(file: originPath, tensor: name, detail: detail)
  }

  private var originPath: String {
    switch origin {
    case .memory: "(memory)"
    case .file(let path): path
    }
  }
}
