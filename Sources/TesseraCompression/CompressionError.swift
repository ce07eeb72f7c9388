public import Tessera

/// What can go wrong when weights are quantised or read from other people's encodings.
///
/// Rows are outputs and columns inputs. More cases may be added: write a `default`.
public enum CompressionError: Error, Sendable, Equatable {
  /// A size is zero or negative, or a product of sizes does not fit an Int.
  case invalidShape(what: String, rows: Int, columns: Int)
  /// Two things that must have the same size do not.
  case sizeMismatch(what: String, expected: Int, got: Int)
  /// A weight is NaN or infinite.
  case nonFiniteWeight(row: Int, column: Int)
  /// The importance of an input is negative, NaN or infinite.
  case invalidInputWeight(column: Int, value: Float)
  /// The weights of a group need a larger scale than the format can store.
  case scaleOverflow(format: String, row: Int, group: Int)
  /// Special values that the format cannot have.
  case invalidSpecialValues([Float])
  /// An option outside its range.
  case invalidOption(name: String, value: Double)
  /// An element of a second-moment matrix is NaN or infinite.
  case nonFiniteMoment(row: Int, column: Int)
  /// The second moments have no Cholesky factor; a larger damping helps.
  case notPositiveDefinite(column: Int)
  /// A code or a stored scale that the format does not have.
  case invalidBits(what: String, row: Int, index: Int, bits: Int)
  /// What is to be imported has no exact counterpart.
  case unrepresentable(what: String, row: Int, group: Int, detail: String)
  /// A type of tensor that has no 4-bit format.
  case unsupportedType(String)
  /// Groups of heads that do not divide the heads of the layer.
  case invalidGrouping(heads: Int, headsPerGroup: Int)
  /// A rank outside 1...`limit`.
  case invalidRank(group: Int, rank: Int, limit: Int)
  /// A score that is negative, NaN or infinite.
  case invalidScore(matrix: String, group: Int, value: Double)
  /// The ranks to be given away are fewer than the least or more than the most that all groups together can have.
  case unreachableBudget(ranks: Int, least: Int, most: Int)
  /// The singular value decomposition did not converge.
  case noConvergence(group: Int)
  /// The codes could not be packed.
  case packing(TesseraError)
  /// The progress closure or the surrounding task asked to stop.
  case cancelled
}

extension CompressionError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .invalidShape(let what, let rows, let columns):
      "\(what): \(rows) x \(columns) is no shape Tessera can hold; both sizes must be positive and their product must fit"
    case .sizeMismatch(let what, let expected, let got):
      "\(what): expected \(expected) elements, got \(got)"
    case .nonFiniteWeight(let row, let column):
      "weight [\(row), \(column)] is NaN or infinite"
    case .invalidInputWeight(let column, let value):
      "the importance of input \(column) is \(value); it must be finite and not negative"
    case .scaleOverflow(let format, let row, let group):
      "the weights of row \(row), group \(group) are too large for a scale of \(format)"
    case .invalidSpecialValues(let values):
      "\(values) are no special values: one to four multiples of 1/2 up to 8 in size, of a format that has them"
    case .invalidOption(let name, let value):
      "\(name) cannot be \(value)"
    case .nonFiniteMoment(let row, let column):
      "second moment [\(row), \(column)] is NaN or infinite"
    case .notPositiveDefinite(let column):
      "the second moments are not positive definite at input \(column); use a larger damping"
    case .invalidBits(let what, let row, let index, let bits):
      "\(what) \(index) of row \(row) is \(bits), which the format does not have"
    case .unrepresentable(let what, let row, let group, let detail):
      "\(what), row \(row), group \(group): \(detail)"
    case .unsupportedType(let type):
      "tensors of type \(type) are not 4-bit codes that Tessera has a format for"
    case .invalidGrouping(let heads, let headsPerGroup):
      "\(heads) heads cannot share latents in groups of \(headsPerGroup)"
    case .invalidRank(let group, let rank, let limit):
      "group \(group) cannot have the rank \(rank); it must lie in 1...\(limit)"
    case .invalidScore(let matrix, let group, let value):
      "\(matrix), group \(group): a score of \(value); it must be finite and not negative"
    case .unreachableBudget(let ranks, let least, let most):
      "ranks of \(ranks) in all cannot be had; the groups together can have \(least)...\(most)"
    case .noConvergence(let group):
      "the singular values of group \(group) did not converge"
    case .packing(let error):
      error.description
    case .cancelled:
      "cancelled"
    }
  }
}

/// - Returns: rows * columns.
package func checkedCount(_ what: String, rows: Int, columns: Int) throws(CompressionError) -> Int {
  guard rows > 0, columns > 0, case (let count, false) = rows.multipliedReportingOverflow(by: columns) else {
    throw .invalidShape(what: what, rows: rows, columns: columns)
  }
  return count
}
