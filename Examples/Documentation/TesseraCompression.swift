import Tessera
import TesseraCompression
import TesseraLayers

/// Two layers of 4-bit weights in place of dense ones: each weight by its nearest code, 4.125 bits, and with scales that are
/// searched so that the inputs with the largest activations lose least, 4.5 bits.
func fourBitLayers(
  of weights: [BFloat16], outputs: Int, inputs: Int, meanSquares: [Float], on executor: Executor
) throws -> [RaZeRLinear] {
  let search = Code4Quantizer(.razerG16, refits: 1, clips: Code4Quantizer.usualClips, inputWeights: meanSquares)
  return [
    try RaZeRLinear(quantizing: weights.span, outputs: outputs, inputs: inputs, on: executor),
    try RaZeRLinear(quantizing: weights.span, outputs: outputs, inputs: inputs, with: search, on: executor),
  ]
}

/// What the weights have lost: the sum of their squared errors over that of their squares.
func relativeError(of weights: [Float], outputs: Int, inputs: Int, in format: WeightFormat) throws -> Double {
  let matrix = try Code4Quantizer(format).quantize(weights.span, outputs: outputs, inputs: inputs)
  return try matrix.relativeSquaredError(to: weights.span)
}
