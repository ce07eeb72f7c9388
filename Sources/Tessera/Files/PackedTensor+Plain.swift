extension PackedTensor {
  /// A matrix as it is, `plain-f32`: `rows * columns` elements, row after row.
  /// - Precondition: as many elements, at least one.
  /// - Throws: `TesseraError.outOfMemory`.
  public init(plain values: Span<Float>, named name: String, rows: Int, columns: Int) throws(TesseraError) {
    let region = try values.withUnsafeBytes { bytes throws(TesseraError) in try copied(bytes) }
    self.init(name, .plainF32, rows: rows, columns: columns, values: region)
  }

  /// A matrix as it is, `plain-bf16`, with or without a bias of `rows` numbers.
  /// - Precondition: as many elements, at least one.
  /// - Throws: `TesseraError.outOfMemory`.
  public init(
    plain values: Span<BFloat16>, named name: String, rows: Int, columns: Int, bias: [Float]? = nil
  ) throws(TesseraError) {
    let region = try values.withUnsafeBytes { bytes throws(TesseraError) in try copied(bytes) }
    let bias = try bias.map { bias throws(TesseraError) in
      try bias.span.withUnsafeBytes { bytes throws(TesseraError) in try copied(bytes) }
    }
    self.init(name, .plainBF16, rows: rows, columns: columns, values: region, bias: bias)
  }

  /// Bytes, `plain-u8`, in one row.
  /// - Precondition: at least one byte.
  public init(bytes: MemoryRegion, named name: String) {
    self.init(name, .plainU8, rows: 1, columns: bytes.byteCount, values: bytes)
  }

  private init(
    _ name: String, _ format: PackedFormat, rows: Int, columns: Int, values: MemoryRegion, bias: MemoryRegion? = nil
  ) {
    self.init(
      name: name, format: format, rows: rows, columns: columns, nonZeroCount: rows * columns,
      parts: ["values": values, "bias": bias].compactMapValues(\.self))
  }

  /// The elements of a `plain-f32` or `plain-bf16` matrix, row after row.
  /// - Throws: `unsupportedType` for another format, `missingTensor`.
  public func plainElements() throws(WeightFileError) -> [Float] {
    try checkFormat(isOneOf: [.plainF32, .plainBF16])
    let values = try part("values")
    defer { withExtendedLifetime(values) {} }
    return (0..<rows * columns).map { index in
      format == .plainF32
        ? values.bytes.loadUnaligned(fromByteOffset: index * 4, as: Float.self)
        : Float(BFloat16(bits: values.bytes.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)))
    }
  }

  /// The bytes of the rows of a `plain-bf16` or `plain-u8` matrix, where they lie.
  /// - Throws: `unsupportedType` for another format, `missingTensor`.
  public func plainBytes() throws(WeightFileError) -> MemoryRegion {
    try checkFormat(isOneOf: [.plainBF16, .plainU8])
    return try part("values")
  }

  /// The bias, or nil.
  public var biasElements: [Float]? {
    parts["bias"].map { bias in
      (0..<rows).map { bias.bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
    }
  }
}

private func copied(_ bytes: UnsafeRawBufferPointer) throws(TesseraError) -> MemoryRegion {
  try MemoryRegion(byteCount: bytes.count) { $0.copyMemory(from: bytes) }
}
