public import Tessera

/// A file of named tensors, whatever its format: what a model is loaded from.
///
/// Tensors are handed out as their weights in row-major order, with shapes in PyTorch's order: a linear layer is `[outputs, inputs]`.
public protocol WeightSource: Sendable {
  /// The file, for messages.
  var path: String { get }
  var names: [String] { get }
  /// - Throws: `WeightFileError.missingTensor`.
  func shape(of name: String) throws(WeightFileError) -> [Int]
  /// - Throws: `WeightFileError.missingTensor`, `.unsupportedType`.
  func float32(_ name: String) throws(WeightFileError) -> [Float]
  /// The same weights, each rounded to nearest even unless the file holds bfloat16 already.
  /// - Throws: `WeightFileError.missingTensor`, `.unsupportedType`.
  func bfloat16(_ name: String) throws(WeightFileError) -> [BFloat16]
}

/// Opens a file of weights, recognised by its first bytes: GGUF by its magic.
/// - Throws: what the format's reader throws, or `badMagic`.
public func openWeights(_ path: String) throws(WeightFileError) -> any WeightSource {
  let file = try MappedFile(path: path)
  let magic = Array("GGUF".utf8)
  guard file.bytes.starts(with: magic) else {
    throw WeightFileError.badMagic(file: path, expected: magic, got: Array(file.bytes.prefix(magic.count)))
  }
  return try GGUFFile(region: file.region, path: path)
}
