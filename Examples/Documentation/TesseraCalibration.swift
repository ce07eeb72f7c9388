import Tessera
import TesseraCalibration
import TesseraCompression
import TesseraLayers

/// A layer of 4-bit weights that changes its outputs little on inputs like `activations`, tokens of `inputs` numbers each.
func calibratedLayer(
  of weights: [Float], outputs: Int, inputs: Int, seeing activations: [Float], on executor: Executor
) throws -> RaZeRLinear {
  var moments = try SecondMoments(inputs: inputs)
  try moments.add(activations.span, on: executor.pool)
  let matrix = try Code4Quantizer(.razerG128, refits: 1).quantize(
    weights.span, outputs: outputs, inputs: inputs, correctingErrorsBy: moments, on: executor.pool)
  return RaZeRLinear(weights: try matrix.packed(on: executor.pool))
}
