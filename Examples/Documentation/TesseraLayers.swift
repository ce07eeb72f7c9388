import Tessera
import TesseraLayers

/// Two forms of one layer: with all weights, and with the half that Wanda keeps, as int8.
func layers(
  of weights: [BFloat16], outputs: Int, inputs: Int, activationNorms: [Float], on executor: Executor
) throws -> [any LinearLayer] {
  let pruning = Pruning(sparsity: 0.5, criterion: .wanda(activationNorms: activationNorms))
  return [
    try DenseLinear(weights.span, outputs: outputs, inputs: inputs),
    try SparAMXLinear(weights.span, outputs: outputs, inputs: inputs, pruning: pruning, values: .int8, on: executor),
  ]
}

/// What each of them makes of the same rows of x.
func outputs(of layers: [any LinearLayer], for x: [Float], rows: Int, on executor: Executor) throws -> [[Float]] {
  try layers.map { layer in try layer(x.span, rows: rows, on: executor) }
}
