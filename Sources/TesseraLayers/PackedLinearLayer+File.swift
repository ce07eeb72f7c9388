public import Tessera

extension PackedLinearLayer {
  /// The layer over the weights of a packed tensor, used where they lie.
  ///
  /// ```swift
  /// let file = try PackedFile.open("model.safetensors")
  /// let gate = try SparAMXLinear(file.tensor(named: "layers.0.gate"))
  /// ```
  /// - Throws: `WeightFileError.unsupportedType` when the tensor is not in a format of this layer, `corruptTensor` when its
  ///   contents contradict themselves; with the file, the tensor and the numbers.
  public init(_ tensor: PackedTensor) throws(WeightFileError) {
    self.init(weights: try Weights(tensor))
  }

  /// The layer's weights and bias under a name, ready to be written; nothing is copied.
  ///
  /// ```swift
  /// try PackedFile.write([gate.packedTensor(named: "layers.0.gate")], to: "model.safetensors")
  /// ```
  public func packedTensor(named name: String) -> PackedTensor { weights.packedTensor(named: name) }
}

extension PackedFile {
  /// The linear layer over the named tensor, of the kind that its format asks for; the weights are used where they are mapped.
  /// - Throws: `WeightFileError.missingTensor`, `unsupportedType`, `corruptTensor`.
  public func linearLayer(named name: String) throws(WeightFileError) -> any PackedLinearLayer {
    let tensor = try tensor(named: name)
    return switch tensor.format.weightFormat?.operation {
    case .bitmapGEMM: try SparAMXLinear(tensor)
    case .code4GEMM: try RaZeRLinear(tensor)
    default: try DenseLinear(tensor)
    }
  }
}
