public import Tessera
public import TesseraLayers

extension RaZeRLinear {
  /// Quantises and packs a row-major matrix of dense weights.
  /// - Parameters:
  ///   - weights: `outputs * inputs` elements, row after row, all finite.
  ///   - bias: `outputs` numbers or nil.
  ///   - quantizer: the format, and how its codes and scales are found.
  ///   - activations: nil means the first type that the format's kernels read.
  ///   - executor: whose threads quantise and pack; nil leaves it to the calling one. The result is the same.
  /// - Throws: what `Code4Quantizer.quantize` throws, and `CompressionError.packing`.
  public init(
    quantizing weights: Span<BFloat16>, outputs: Int, inputs: Int, bias: [Float]? = nil,
    with quantizer: Code4Quantizer = Code4Quantizer(.razerG128), activations: ActivationType? = nil,
    on executor: Executor? = nil
  ) throws(CompressionError) {
    let matrix = try quantizer.quantize(weights, outputs: outputs, inputs: inputs, on: executor?.pool)
    do throws(TesseraError) {
      self.init(weights: try matrix.packed(activations: activations, bias: bias, on: executor?.pool))
    } catch {
      throw .packing(error)
    }
  }
}
