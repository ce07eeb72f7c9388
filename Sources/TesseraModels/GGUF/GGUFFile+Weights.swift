public import Tessera

extension GGUFFile: WeightSource {
  /// In the order of the file.
  /// The names of all tensors, in the order of the file.
  public var names: [String] { tensors.map(\.name) }

  /// The sizes of a tensor in PyTorch's order: a linear layer is `[outputs, inputs]`.
  /// - Throws: `missingTensor`.
  public func shape(of name: String) throws(WeightFileError) -> [Int] { try tensor(named: name).shape }

  /// All weights of a tensor, row after row: exact for the unquantised types, otherwise with the rounding of the format's
  /// formulas.
  /// - Throws: `missingTensor`, `unsupportedType`, `outOfMemory`.
  public func float32(_ name: String) throws(WeightFileError) -> [Float] { try weights(of: name, rows: nil) }

  /// All weights of a tensor, row after row: the values of `float32`, each rounded to nearest even.
  /// - Throws: `missingTensor`, `unsupportedType`, `outOfMemory`.
  public func bfloat16(_ name: String) throws(WeightFileError) -> [BFloat16] { try weights(of: name, rows: nil) }

  /// Some rows of a tensor, for example the embeddings of a few tokens.
  /// - Parameters:
  ///   - name: the tensor's.
  ///   - rows: a range inside `0 ..< tensor.rows`.
  /// - Throws: `missingTensor`, `unsupportedType`, `outOfMemory`.
  public func float32(_ name: String, rows: Range<Int>) throws(WeightFileError) -> [Float] {
    try weights(of: name, rows: rows)
  }

  private func weights<Element: WeightElement>(
    of name: String, rows: Range<Int>?
  ) throws(WeightFileError) -> [Element] {
    let tensor = try tensor(named: name)
    guard tensor.type.isSupported else {
      throw WeightFileError.unsupportedType(
        file: path, tensor: name, type: tensor.type.name,
        supported: GGUFTensorType.supported.map(\.name).joined(separator: ", "))
    }
    let rows = rows ?? 0..<tensor.rows
    precondition(rows.lowerBound >= 0 && rows.upperBound <= tensor.rows, "rows \(rows) of a tensor of \(tensor.rows)")
    let region = try bytes(of: name)
    let bytes = UnsafeRawBufferPointer(
      rebasing: region.bytes[rows.lowerBound * tensor.rowBytes..<rows.upperBound * tensor.rowBytes])
    defer { withExtendedLifetime(region) {} }
    return try weightArray(of: name, file: path, count: rows.count * tensor.columns) { tensor.type.decode(bytes.bytes, into: $0) }
  }
}
