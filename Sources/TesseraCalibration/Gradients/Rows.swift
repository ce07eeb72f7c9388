#if canImport(Accelerate)
  internal import Accelerate
#else
  internal import CLAPACK
#endif

/// A matrix in single precision, row after row: a window's activations, a token in each row, or weights, `outputs x inputs`.
struct Rows: Equatable {
  var values: [Float]
  let width: Int

  init(_ values: [Float], width: Int) {
    precondition(width > 0 && values.count % width == 0, "\(values.count) elements in rows of \(width)")
    self.values = values
    self.width = width
  }

  /// Zeros.
  init(count: Int, width: Int) { self.init([Float](repeating: 0, count: count * width), width: width) }

  var count: Int { values.count / width }

  /// Some columns.
  func columns(_ range: Range<Int>) -> Rows {
    var part: [Float] = []
    part.reserveCapacity(count * range.count)
    for row in 0..<count { part += values[row * width + range.lowerBound..<row * width + range.upperBound] }
    return Rows(part, width: range.count)
  }

  /// Adds to the columns from `column` on.
  mutating func add(_ other: Rows, at column: Int = 0) {
    precondition(other.count == count && column + other.width <= width)
    for row in 0..<count {
      for index in 0..<other.width { values[row * width + column + index] += other.values[row * other.width + index] }
    }
  }
}

// MARK: Products

extension Rows {
  /// self other^T: what a layer of weights `other` makes of these rows.
  func times(transposed other: Rows) -> Rows {
    precondition(width == other.width)
    var product = Rows(count: count, width: other.count)
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasTrans, Int32(count), Int32(other.count), Int32(width), 1, values, Int32(width),
      other.values, Int32(width), 0, &product.values, Int32(other.count))
    return product
  }

  /// self other: the gradient of a layer's inputs, of these of its outputs.
  func times(_ other: Rows) -> Rows {
    precondition(width == other.count)
    var product = Rows(count: count, width: other.width)
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(count), Int32(other.width), Int32(width), 1, values, Int32(width),
      other.values, Int32(other.width), 0, &product.values, Int32(other.width))
    return product
  }

  /// self^T other: the gradient of a layer's weights, of these of its outputs and `other`, its inputs.
  func transposedTimes(_ other: Rows) -> Rows {
    precondition(count == other.count)
    var product = Rows(count: width, width: other.width)
    cblas_sgemm(
      CblasRowMajor, CblasTrans, CblasNoTrans, Int32(width), Int32(other.width), Int32(count), 1, values, Int32(width),
      other.values, Int32(other.width), 0, &product.values, Int32(other.width))
    return product
  }
}
