public import Tessera

extension Code4Matrix {
  /// The matrix in panels, for the kernels.
  /// - Parameters:
  ///   - activations: nil means the first type that the format's kernels read.
  ///   - bias: `outputs` numbers or nil.
  /// - Throws: `unsupportedType` for a format without kernels, and what `Code4Weights` throws.
  public func packed(activations: ActivationType? = nil, bias: [Float]? = nil) throws -> Code4Weights {
    guard let packedFormat = WeightFormat(rawValue: format.name) else { throw CompressionError.unsupportedType(format.name) }
    return try Code4Weights(
      packing: codes.span, scales: scales.span, tensorScale: tensorScale, format: packedFormat, outputs: outputs, inputs: inputs,
      specialValues: format.specialValues.isEmpty ? nil : format.specialValues, activations: activations, bias: bias)
  }
}
