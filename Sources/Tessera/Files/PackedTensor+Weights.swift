extension PackedTensor {
  /// The packed weights under a name, ready to be written; the parts are shared, not copied.
  public init(name: String, _ weights: DenseWeights) {
    self.init(
      name: name, format: .denseBF16, rows: weights.outputs, columns: weights.inputs,
      nonZeroCount: weights.outputs * weights.inputs,
      parts: PackedTensor.present(["values": weights.values, "bias": weights.bias]))
  }

  /// The packed weights under a name, ready to be written; the parts are shared, not copied.
  public init(name: String, _ weights: BitmapWeights) {
    self.init(
      name: name, format: weights.format == .bitmapInt8 ? .bitmapInt8 : .bitmapBF16, rows: weights.outputs,
      columns: weights.inputs,
      nonZeroCount: weights.nonZeroCount,
      parts: PackedTensor.present([
        "values": weights.values, "bitmap": weights.bitmap, "offsets": weights.offsets, "row_scale": weights.rowScale,
        "row_sum": weights.rowSum, "bias": weights.bias,
      ]))
  }

  private static func present(_ parts: [String: MemoryRegion?]) -> [String: MemoryRegion] { parts.compactMapValues(\.self) }

  /// The weights that kernels multiply by, using the parts in place.
  ///
  /// This is where the contents of a file are checked before a kernel sees them: set bits against offsets and count, bits beyond the
  /// matrix, row sums (rules B1 to B3 of Docs/Formats.md); one pass over the bitmap.
  /// - Throws: `corruptTensor` when the contents contradict each other, `unsupportedType` for the plain formats, which no kernel reads.
  public func weights() throws(WeightFileError) -> any PackedWeights {
    do {
      switch format {
      case .denseBF16:
        return try DenseWeights(packed: part("values"), outputs: rows, inputs: columns, bias: parts["bias"])
      case .bitmapBF16, .bitmapInt8:
        let weights = try BitmapWeights(
          packedFormat: format == .bitmapInt8 ? .bitmapInt8 : .bitmapBF16, bitmap: part("bitmap"), values: part("values"),
          offsets: part("offsets"), rowScale: parts["row_scale"], rowSum: parts["row_sum"], outputs: rows, inputs: columns,
          bias: parts["bias"])
        guard weights.nonZeroCount == nonZeroCount else {
          throw WeightFileError.corruptTensor(
            file: originPath, tensor: name,
            detail: "\(weights.nonZeroCount) values are stored, its description says \(nonZeroCount)")
        }
        return weights
      case .plainBF16, .plainF32:
        throw WeightFileError.unsupportedType(
          file: originPath, tensor: name, type: format.rawValue, supported: "dense-bf16, bitmap-bf16, bitmap-int8")
      }
    } catch let error as WeightFileError {
      throw error
    } catch {
      throw WeightFileError.corruptTensor(file: originPath, tensor: name, detail: "\(error)")
    }
  }

  private func part(_ part: String) throws(WeightFileError) -> MemoryRegion {
    guard let region = parts[part] else { throw WeightFileError.missingTensor(file: originPath, tensor: "\(name).\(part)") }
    return region
  }

  private var originPath: String {
    switch origin {
    case .memory: "(memory)"
    case .file(let path): path
    }
  }
}
