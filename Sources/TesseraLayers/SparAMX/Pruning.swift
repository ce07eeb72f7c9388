public import Tessera

/// Which weights of a linear layer to drop: how many, by what score, and among which others a weight is ranked.
///
/// Of every `n` weights that are ranked together exactly `floor(sparsity * n)` become +0: those with the lowest scores, and of
/// equal scores those with the lower index, as a stable sort has it. Zeros that are there already, -0 among them, go before
/// everything else, so they count as pruned. The result depends on the matrix alone, not on how many threads took part.
///
/// ```swift
/// let pruning = Pruning(sparsity: 0.5, criterion: .wanda(activationNorms: norms))
/// let sparse = try pruning.pruned(weights.span, outputs: 14336, inputs: 4096, on: executor)
/// ```
///
/// The criterion decides: for Llama-2-7B with half of its weights pruned, Wanda's README gives a WikiText perplexity of 6.42 by
/// Wanda and 14.89 by magnitude, against 5.12 dense.
public struct Pruning: Sendable, Equatable {
  /// What the score of a weight is.
  public enum Criterion: Sendable, Equatable {
    /// |w|.
    case magnitude
    /// |w| times the norm of the input that w multiplies, rounded to Float; after Wanda (Sun et al., arXiv 2306.11695).
    ///
    /// - Parameter activationNorms: for each of the `inputs` columns the L2 norm of that feature over calibration tokens; finite
    ///   and not negative. A common factor changes nothing.
    case wanda(activationNorms: [Float])
  }

  /// Which weights are ranked together.
  public enum Scope: Sendable, Hashable, CaseIterable {
    /// Each row by itself: every output keeps the same number of weights. What Wanda advises for language models.
    case row
    /// The whole matrix: one threshold, and rows of different density.
    case matrix
  }

  /// The fraction of weights to drop, 0...1.
  public var sparsity: Double
  /// What the score of a weight is.
  public var criterion: Criterion
  /// Which weights are ranked together.
  public var scope: Scope

  /// The sparsity and the norms are checked where they meet a matrix.
  public init(sparsity: Double, criterion: Criterion = .magnitude, scope: Scope = .row) {
    self.sparsity = sparsity
    self.criterion = criterion
    self.scope = scope
  }

  /// A pruned copy of a row-major matrix: as `prune`.
  /// - Throws: as `prune`, `outOfMemory`.
  public func pruned(
    _ weights: Span<BFloat16>, outputs: Int, inputs: Int, on executor: Executor? = nil
  ) throws(TesseraError) -> [BFloat16] {
    var copy = try weights.withUnsafeBufferPointer { source throws(TesseraError) in
      try [BFloat16](allocating: source.count) { _ = $0.initialize(from: source) }
    }
    var target = copy.mutableSpan
    try prune(&target, outputs: outputs, inputs: inputs, on: executor)
    return copy
  }

  /// Sets the weights that are to go to +0 and leaves the others as they are. Reads the matrix five times, whatever the sparsity.
  ///
  /// - Parameters:
  ///   - weights: `outputs * inputs` elements, row after row, all finite.
  ///   - outputs: N, the rows of the matrix.
  ///   - inputs: K, its columns.
  ///   - executor: whose threads share the work; nil leaves it to the calling one.
  /// - Throws: `TesseraError.invalidShape`, `sizeMismatch` naming the weights or the activation norms, `invalidSparsity`,
  ///   `invalidActivationNorm`, `nonFiniteWeight`; the matrix is unchanged then.
  public func prune(
    _ weights: inout MutableSpan<BFloat16>, outputs: Int, inputs: Int, on executor: Executor? = nil
  ) throws(TesseraError) {
    guard outputs > 0, inputs > 0, case (let count, false) = outputs.multipliedReportingOverflow(by: inputs) else {
      throw .invalidShape(what: "weights to prune", rows: outputs, columns: inputs)
    }
    guard weights.count == count else {
      throw .sizeMismatch(what: "weights to prune", expected: count, got: weights.count)
    }
    guard sparsity >= 0, sparsity <= 1 else { throw .invalidSparsity(sparsity) }
    let norms = try checkedNorms(inputs: inputs)
    for index in weights.indices where !weights[index].isFinite {
      throw .nonFiniteWeight(row: index / inputs, column: index % inputs)
    }
    weights.withUnsafeMutableBufferPointer { weights in
      norms.withUnsafeBufferPointer { norms in
        guard let weights = weights.baseAddress, let norms = norms.baseAddress else { return }
        drop(from: ScoredMatrix(weights: weights, norms: norms, outputs: outputs, inputs: inputs), on: executor)
      }
    }
  }

  /// Magnitude is Wanda with norms of 1, bit for bit.
  private func checkedNorms(inputs: Int) throws(TesseraError) -> [Float] {
    guard case .wanda(let norms) = criterion else { return [Float](repeating: 1, count: inputs) }
    guard norms.count == inputs else { throw .sizeMismatch(what: "activation norms", expected: inputs, got: norms.count) }
    for (column, norm) in norms.enumerated() where !(norm >= 0 && norm < .infinity) {
      throw .invalidActivationNorm(column: column, value: norm)
    }
    return norms
  }

  private func drop(from matrix: ScoredMatrix, on executor: Executor?) {
    let threads = executor?.pool.threadCount ?? 1
    switch scope {
    case .row:
      let count = dropCount(of: matrix.inputs)
      let tallies = (0..<threads).map { _ in Tally(parts: 1) }
      run(parts: matrix.outputs, on: executor) { row, worker in
        matrix.dropLowest(count, ofRows: row..<row + 1, tally: tallies[worker], on: nil)
      }
    case .matrix:
      let tally = Tally(parts: min(threads, matrix.outputs))
      matrix.dropLowest(dropCount(of: matrix.outputs * matrix.inputs), ofRows: 0..<matrix.outputs, tally: tally, on: executor)
    }
  }

  /// min: the Double nearest to a count above 2^53 may be larger than the count.
  private func dropCount(of count: Int) -> Int { min(count, Int(sparsity * Double(count))) }
}

/// Calls `body` for every part, on the threads of `executor` or on this one.
func run(parts: Int, on executor: Executor?, _ body: (_ part: Int, _ worker: Int) -> Void) {
  if let executor {
    executor.pool.run(parts: parts, body)
  } else {
    for part in 0..<parts { body(part, 0) }
  }
}
