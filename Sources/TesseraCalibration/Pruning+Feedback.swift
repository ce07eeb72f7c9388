internal import CCompression
public import Tessera
public import TesseraCompression
public import TesseraLayers

extension Pruning {
  /// Which weights of a row-major matrix stay.
  /// - Returns: `outputs * inputs` bytes, 0 for what `prune` would set to 0 and for zeros that are there already.
  /// - Throws: `packing` with what `prune` throws.
  public func kept(
    _ weights: Span<Float>, outputs: Int, inputs: Int, on executor: Executor? = nil
  ) throws(CompressionError) -> [UInt8] {
    let rounded = weights.withUnsafeBufferPointer { $0.map { BFloat16($0) } }
    let pruned = try packing { () throws(TesseraError) in
      try self.pruned(rounded.span, outputs: outputs, inputs: inputs, on: executor)
    }
    return pruned.map { $0 == .zero ? 0 : 1 }
  }

  /// Drops weights and lets the others make up for them, so that products with inputs like the given ones change little.
  ///
  /// The score decides which weights go; then inputs are taken in order, and what a row loses with one of them is taken over by
  /// its later ones in proportion to the inverse second moments: after SparseGPT (Frantar and Alistarh, arXiv 2301.00774), which
  /// chooses the weights by another score as it goes along.
  ///
  /// Takes about outputs * inputs^2 / 2 multiplications and memory for inputs^2 numbers of 12 bytes.
  /// - Parameters:
  ///   - weights: `outputs * inputs` finite numbers, row after row.
  ///   - moments: of the layer's inputs.
  ///   - damping: times the mean of their diagonal is added to it; more than 0.
  /// - Throws: `packing` with what `prune` throws; `sizeMismatch` naming the second moments, `invalidOption` naming the damping,
  ///   `notPositiveDefinite`, `cancelled`.
  public func pruned(
    _ weights: Span<Float>, outputs: Int, inputs: Int, correctingErrorsBy moments: SecondMoments, damping: Double = 0.01,
    order: Code4Quantizer.InputOrder = .natural, on executor: Executor? = nil, progress: Code4Quantizer.Progress? = nil
  ) throws(CompressionError) -> [Float] {
    let kept = try kept(weights, outputs: outputs, inputs: inputs, on: executor)
    let factor = try InverseFactor(moments, ofInputs: inputs, damping: damping, order)
    var result = [Float](repeating: 0, count: outputs * inputs)
    let tile = Int(CC_FEEDBACK_ROWS)
    let pool = executor?.pool
    let scratch = FeedbackScratch(inputs: inputs, group: Int(CC_MOST_GROUP), threads: pool?.threadCount ?? 1)
    try result.withUnsafeMutableBufferPointer { result throws(CompressionError) in
      try weights.withUnsafeBufferPointer { weights throws(CompressionError) in
        try kept.withUnsafeBufferPointer { kept throws(CompressionError) in
          guard let result = result.baseAddress, let weights = weights.baseAddress, let kept = kept.baseAddress else { return }
          try factor.withFeedback(nil, nil) { feedback throws(CompressionError) in
            try runParts((outputs + tile - 1) / tile, on: pool, progress: progress) { part, worker in
              let first = part * tile
              cc_prune_rows_with_feedback(
                feedback, weights + first * inputs, kept + first * inputs, min(tile, outputs - first), scratch[worker],
                result + first * inputs)
            }
          }
        }
      }
    }
    return result
  }
}
