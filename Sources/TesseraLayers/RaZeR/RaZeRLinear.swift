public import Tessera

/// A linear layer of 4-bit weights: RaZeR (Chen et al., "The Power of Negative Zero", arXiv 2501.04052; its authors' code speaks
/// of a patent application), and every other 4-bit format that the same kernels read.
///
/// FP4 has two zeros; RaZeR gives the second one's code to one of four special values that every group of weights chooses for
/// itself. A layer reads 4.125 (groups of 128) to 4.5 (groups of 16) bits per weight, where dense bfloat16 reads 16: at most 3.88
/// and 3.56 times less.
///
/// The same layer multiplies activations in bfloat16, which is what they are unless one says otherwise, or quantised row by row:
/// `multiplying(.int16)` is nearer to rows that are not bfloat16 already (Docs/Numerics.md, section 6) and leaves kernels the
/// arithmetic of integers, `multiplying(.int8)` gives up precision for speed with many rows.
///
/// ```swift
/// let layer = try RaZeRLinear(weights: Code4Weights(packing: codes.span, scales: scales.span, tensorScale: scale,
///   format: .razerG128, outputs: 14336, inputs: 4096))
/// let y = try layer(x.span, rows: 1, on: executor)
/// layer.summary  // "14336 x 4096 razer-g128, bf16 activations: 30.3 MB, at most 3.88x as fast as dense bf16"
/// ```
public struct RaZeRLinear: PackedLinearLayer {
  public let weights: Code4Weights

  public init(weights: Code4Weights) { self.weights = weights }

  /// The same layer for other activations; the weights are shared.
  /// - Throws: `TesseraError.unsupportedActivations`.
  public func multiplying(_ activations: ActivationType) throws(TesseraError) -> RaZeRLinear {
    RaZeRLinear(weights: try weights.multiplying(activations))
  }

  public var summary: String { "\(outputs) x \(inputs) \(format), \(weights.activations) activations: \(costs)" }
}
