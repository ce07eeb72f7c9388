public import Tessera

extension Code4Matrix {
  /// The matrix in panels, for the kernels.
  /// - Parameters:
  ///   - activations: nil means the first type that the format's kernels read.
  ///   - bias: `outputs` numbers or nil.
  ///   - pool: whose threads pack, each the panels that it will read; best the executor's own.
  /// - Throws: what `Code4Weights` throws: `sizeMismatch`, `unsupportedActivations`, `outOfMemory`.
  public func packed(
    activations: ActivationType? = nil, bias: [Float]? = nil, on pool: ThreadPool? = nil
  ) throws(TesseraError) -> Code4Weights {
    try Code4Weights(
      packing: codes.span, scales: scales.span, tensorScale: tensorScale, format: format, outputs: outputs, inputs: inputs,
      specialValues: code4.specialValues.isEmpty ? nil : code4.specialValues, activations: activations, bias: bias, on: pool)
  }
}
