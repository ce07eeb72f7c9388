public import Tessera

/// A linear layer without its zeros: a bit for every weight, and the weights that are not zero, bfloat16 or int8.
///
/// After SparAMX (AbouElhamayed et al., arXiv 2502.12444): the zeros cost no memory bandwidth, which is what bounds decoding; the
/// weights are expanded on their way to the arithmetic, which stays dense. At sparsity s a layer reads 2 (1 - s) + 1/8 bytes per
/// weight in bfloat16, (1 - s) + 1/8 in int8, where dense bfloat16 reads 2: at 50 % at most 1.78 and 3.2 times less.
///
/// Unlike the published code, the packed weights do not depend on a thread count: starts are kept per panel of 16 outputs, so
/// one copy serves any number of threads, rows of x and instruction set, and any shape is legal. The bias is added, and int8
/// steps are max|row| / 127 without a clamp.
///
/// ```swift
/// let layer = try SparAMXLinear(
///   weights.span, outputs: 14336, inputs: 4096, pruning: Pruning(sparsity: 0.5), on: executor)
/// let y = try layer(x.span, rows: 1, on: executor)
/// layer.summary  // "14336 x 4096 bitmap-bf16, density 0.500: 66.1 MB, at most 1.78x as fast as dense bf16"
/// ```
public struct SparAMXLinear: PackedLinearLayer {
  /// How the weights that are not zero are stored.
  public enum ValueType: String, Sendable, CaseIterable {
    /// As they are.
    case bf16
    /// Rounded to whole steps of max|row| / 127. What rounds to 0 is not stored, so the density can fall below the pruning's.
    case int8
  }

  public let weights: BitmapWeights

  public init(weights: BitmapWeights) { self.weights = weights }

  /// Prunes and packs a row-major matrix of dense weights.
  /// - Parameters:
  ///   - weights: `outputs * inputs` elements, row after row, all finite. Not changed.
  ///   - bias: `outputs` numbers or nil.
  ///   - pruning: what to set to 0 first; nil when the matrix has its zeros already.
  ///   - values: bfloat16 keeps what pruning leaves bit for bit, int8 rounds it.
  ///   - executor: whose threads prune and pack; nil leaves it to the calling one. The result is the same.
  /// - Throws: `TesseraError.invalidShape`, `sizeMismatch`, `nonFiniteWeight`, `invalidSparsity`, `invalidActivationNorm`,
  ///   `outOfMemory`.
  public init(
    _ weights: Span<BFloat16>, outputs: Int, inputs: Int, bias: [Float]? = nil, pruning: Pruning? = nil,
    values: ValueType = .bf16, on executor: Executor? = nil
  ) throws(TesseraError) {
    guard let pruning else {
      try self.init(packing: weights, outputs: outputs, inputs: inputs, bias: bias, values: values, on: executor)
      return
    }
    let pruned = try pruning.pruned(weights, outputs: outputs, inputs: inputs, on: executor)
    try self.init(packing: pruned.span, outputs: outputs, inputs: inputs, bias: bias, values: values, on: executor)
  }

  private init(
    packing weights: Span<BFloat16>, outputs: Int, inputs: Int, bias: [Float]?, values: ValueType, on executor: Executor?
  ) throws(TesseraError) {
    let pool = executor?.pool
    switch values {
    case .bf16:
      self.weights = try BitmapWeights(packing: weights, outputs: outputs, inputs: inputs, bias: bias, on: pool)
    case .int8:
      self.weights = try BitmapWeights(quantizing: weights, outputs: outputs, inputs: inputs, bias: bias, on: pool)
    }
  }

  /// Stored weights per weight: 1 - sparsity.
  public var density: Double { weights.density }

  public var summary: String { "\(outputs) x \(inputs) \(format), density \(fixed(density, digits: 3)): \(costs)" }
}
