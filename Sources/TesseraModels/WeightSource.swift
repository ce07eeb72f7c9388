public import Tessera

/// A file of named tensors, whatever its format: what a model is loaded from.
///
/// Tensors are handed out as their weights in row-major order, with shapes in PyTorch's order: a linear layer is `[outputs,
/// inputs]`.
public protocol WeightSource: Sendable {
  /// The file, for messages.
  var path: String { get }
  /// The names of all tensors, in the order of the file.
  var names: [String] { get }
  /// The sizes of a tensor, slowest dimension first.
  /// - Throws: `WeightFileError.missingTensor`.
  func shape(of name: String) throws(WeightFileError) -> [Int]
  /// All weights of a tensor, row after row.
  /// - Throws: `WeightFileError.missingTensor`, `.unsupportedType`, `.outOfMemory`.
  func float32(_ name: String) throws(WeightFileError) -> [Float]
  /// The same weights, each rounded to nearest even unless the file holds bfloat16 already.
  /// - Throws: `WeightFileError.missingTensor`, `.unsupportedType`, `.outOfMemory`.
  func bfloat16(_ name: String) throws(WeightFileError) -> [BFloat16]
}

/// Opens a file of weights: GGUF, recognised by its first bytes, or else a safetensors checkpoint, which may be a file, an index
/// of shards or a folder.
/// - Throws: what the format's reader throws.
public func openWeights(_ path: String) throws(WeightFileError) -> any WeightSource {
  if beginsLikeGGUF(path) { return try GGUFFile(path: path) }
  return try SafetensorsFile.open(path)
}

/// False for what cannot be mapped, folders among them.
func beginsLikeGGUF(_ path: String) -> Bool {
  guard let file = try? MappedFile(path: path) else { return false }
  return file.withBytes { $0.starts(with: "GGUF".utf8) }
}
