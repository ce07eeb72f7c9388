#if canImport(Accelerate)
  internal import Accelerate
#else
  internal import CLAPACK
#endif
internal import TesseraCompression

/// The best factors of one group's rows W (m x d).
///
/// With C = S S^T the second moments of inputs, E = T^T T those of queries, block-diagonal over the group's heads (T = 1 where
/// only outputs count, S = 1 where only weights do), and D = W - W' the error, the objective is
///
///     sum over x and u of (u . D x)^2 = trace(E D C D^T) = trace((T D S)(T D S)^T) = ||T W S - T W' S||_F^2
///
/// T and S can be inverted, so T W' S is any matrix of rank r, and the best is the truncated singular value decomposition of
/// T W S = P diag(sigma) Q^T (Eckart and Young), whose error is the sum of the discarded sigma^2. Hence
///
///     W' = T^-1 P_r diag(sigma_r) Q_r^T S^-1 = (T^-1 P_r) (P_r^T T W)      by Q_r^T = diag(1 / sigma_r) P_r^T T W S
///
/// The second form needs no inverse of S and no Q: it reproduces W at full rank however badly C is conditioned. Both factors
/// take their part of the singular values: B^T = T^-1 P_r diag(sqrt(sigma_r)), A^T = diag(1 / sqrt(sigma_r)) P_r^T T W.
struct GroupDecomposition {
  let factors: LowRankFactors.Group
  let singularValues: [Double]

  /// LAPACK's matrices are in column-major order: `rows`, W, are W^T (inputs x outputs) to it.
  /// - Parameters:
  ///   - moments: S; nil for 1.
  ///   - queries: T^T for each head of the group; none for 1.
  /// - Returns: nil where the singular values do not converge.
  init?(
    _ rows: UnsafeBufferPointer<Float>, inputs: Int, rank: Int, moments: Whitening?, queries: ArraySlice<Whitening>
  ) {
    let outputs = rows.count / inputs
    // (T W)^T = W^T T^T
    var weighted = rows.map { Double($0) }
    for (head, query) in queries.enumerated() {
      query.multiply(&weighted, rows: inputs, firstColumn: head * query.size, stride: inputs)
    }
    // (T W S)^T = S^T (T W)^T
    var whitened = weighted
    moments?.multiplyTransposed(&whitened, columns: outputs)
    guard let (values, vectors) = rightSingularVectors(of: whitened, rows: inputs, columns: outputs) else { return nil }

    // Inputs that never occurred have no singular value to be divided by; any other number serves as well.
    let floor = (values.first ?? 0) * 1e-6
    let roots = values.prefix(rank).map { floor > 0 ? max($0, floor).squareRoot() : 1 }
    // (P_r^T T W)^T = (T W)^T P_r
    var a = [Double](repeating: 0, count: inputs * rank)
    cblas_dgemm(
      CblasColMajor, CblasNoTrans, CblasTrans, Int32(inputs), Int32(rank), Int32(outputs), 1, weighted, Int32(inputs),
      vectors, Int32(values.count), 0, &a, Int32(inputs))
    // P_r^T T^-T
    var b = vectors
    for (head, query) in queries.enumerated() {
      query.divide(&b, rows: rank, firstColumn: head * query.size, stride: values.count)
    }
    factors = LowRankFactors.Group(
      rank: rank,
      a: rowMajor(a, rows: inputs, columns: rank, stride: inputs) { value, _, channel in value / roots[channel] },
      b: rowMajor(b, rows: rank, columns: outputs, stride: values.count) { value, channel, _ in value * roots[channel] })
    singularValues = values
  }
}

/// The singular values of a column-major matrix, descending, and V^T, a row for each of them, column-major.
private func rightSingularVectors(of matrix: [Double], rows: Int, columns: Int) -> (values: [Double], vectors: [Double])? {
  var matrix = matrix
  var rows = rows
  // A tall matrix Q R has the singular values and V of R.
  if rows > columns {
    guard let triangle = triangularFactor(of: &matrix, rows: rows, columns: columns) else { return nil }
    matrix = triangle
    rows = columns
  }
  let count = min(rows, columns)
  var (values, u) = ([Double](repeating: 0, count: count), [Double](repeating: 0, count: rows * count))
  var vectors = [Double](repeating: 0, count: count * columns)
  var integers = [Int32](repeating: 0, count: 8 * count)
  var job = CChar(UInt8(ascii: "S"))
  var (m, n, k, info) = (Int32(rows), Int32(columns), Int32(count), Int32(0))
  var (stride, uStride) = (m, m)
  withWorkspace { work, workCount in
    var workCount = workCount
    dgesdd_(&job, &m, &n, &matrix, &stride, &values, &u, &uStride, &vectors, &k, work, &workCount, &integers, &info)
  }
  return info == 0 ? (values, vectors) : nil
}

/// R of Q R, with zeros below its diagonal.
private func triangularFactor(of matrix: inout [Double], rows: Int, columns: Int) -> [Double]? {
  var scales = [Double](repeating: 0, count: columns)
  var (m, n, info) = (Int32(rows), Int32(columns), Int32(0))
  var stride = m
  withWorkspace { work, workCount in
    var workCount = workCount
    dgeqrf_(&m, &n, &matrix, &stride, &scales, work, &workCount, &info)
  }
  guard info == 0 else { return nil }
  var triangle = [Double](repeating: 0, count: columns * columns)
  for column in 0..<columns {
    for row in 0...column { triangle[column * columns + row] = matrix[column * rows + row] }
  }
  return triangle
}

/// Calls a routine of LAPACK twice: with -1 it says how much memory it likes best.
private func withWorkspace(_ call: (_ work: UnsafeMutablePointer<Double>, _ count: Int32) -> Void) {
  var best = 0.0
  call(&best, -1)
  let count = max(1, Int32(best))
  withUnsafeTemporaryAllocation(of: Double.self, capacity: Int(count)) { work in
    if let work = work.baseAddress { call(work, count) }
  }
}

private func rowMajor(
  _ matrix: [Double], rows: Int, columns: Int, stride: Int, _ value: (Double, _ row: Int, _ column: Int) -> Double
) -> [Float] {
  var elements = [Float](repeating: 0, count: rows * columns)
  for row in 0..<rows {
    for column in 0..<columns { elements[row * columns + column] = Float(value(matrix[column * stride + row], row, column)) }
  }
  return elements
}
