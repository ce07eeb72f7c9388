#if canImport(Accelerate)
  internal import Accelerate
#else
  internal import CLAPACK
#endif
public import TesseraCompression

/// A triangular S with S S^T = C, the second moments of a layer's inputs: x S^-T has moments 1, and ||W S||_F is the root of the
/// squared norm of W's outputs on the calibration tokens, summed over these.
public struct Whitening: Sendable {
  /// Rows and columns of S.
  public let size: Int
  /// What had to be added to the diagonal of C, so that it is positive definite: 0 where calibration tokens are many and differ.
  public let shift: Double
  /// Row-major; only what lies on and below the diagonal means something. For LAPACK it is the upper triangle, S^T.
  let factor: [Double]

  /// Tries Cholesky's factorisation of C. Where that fails or gives a factor that cannot be inverted, 1e-3 more than the lowest
  /// eigenvalue lacks to 0 is added to the diagonal, or as much as rounding errors may take away again.
  /// - Throws: `notPositiveDefinite` if that does not help.
  public init(_ moments: SecondMoments) throws(CompressionError) {
    size = moments.inputs
    var factor = moments.elements
    var shift = 0.0
    if Whitening.factorise(&factor, size) != nil {
      factor = moments.elements
      let trace = Whitening.diagonal(factor, size).reduce(0, +)
      let lowest = Whitening.lowestEigenvalue(factor, size)
      shift = max(1e-3, Double(size) * trace * .ulpOfOne) - min(0, lowest)
      factor = moments.elements
      for index in 0..<size { factor[index * size + index] += shift }
      if let column = Whitening.factorise(&factor, size) { throw .notPositiveDefinite(column: column) }
    }
    self.factor = factor
    self.shift = shift
  }

  private static func diagonal(_ matrix: [Double], _ size: Int) -> [Double] { (0..<size).map { matrix[$0 * size + $0] } }

  /// Returns the position of a pivot that is not positive or within rounding errors of 0, or nil.
  private static func factorise(_ matrix: inout [Double], _ size: Int) -> Int? {
    let largest = diagonal(matrix, size).max() ?? 0
    var uplo = CChar(UInt8(ascii: "U"))
    var (n, stride, info) = (Int32(size), Int32(size), Int32(0))
    dpotrf_(&uplo, &n, &matrix, &stride, &info)
    guard info == 0 else { return max(0, Int(info) - 1) }
    return diagonal(matrix, size).firstIndex { !($0 * $0 > Double(size) * largest * .ulpOfOne) }
  }

  /// NaN where it cannot be found.
  private static func lowestEigenvalue(_ matrix: [Double], _ size: Int) -> Double {
    var matrix = matrix
    var values = [Double](repeating: .nan, count: size)
    var (job, uplo) = (CChar(UInt8(ascii: "N")), CChar(UInt8(ascii: "U")))
    var (n, stride, info) = (Int32(size), Int32(size), Int32(0))
    var work = [Double](repeating: 0, count: 2 * size + 1)
    var integers: [Int32] = [0]
    var (workCount, integerCount) = (Int32(work.count), Int32(1))
    dsyevd_(&job, &uplo, &n, &matrix, &stride, &values, &work, &workCount, &integers, &integerCount, &info)
    return info == 0 ? values[0] : .nan
  }
}

extension Whitening {
  /// S^T X in place, of a column-major X with `size` rows.
  func multiplyTransposed(_ x: inout [Double], columns: Int) {
    let n = Int32(size)
    cblas_dtrmm(
      CblasColMajor, CblasLeft, CblasUpper, CblasNoTrans, CblasNonUnit, n, Int32(columns), 1, factor, n, &x, n)
  }

  /// X S in place, of `size` columns of a column-major matrix.
  func multiply(_ x: inout [Double], rows: Int, firstColumn: Int, stride: Int) {
    x.withUnsafeMutableBufferPointer { x in
      guard let columns = x.baseAddress?.advanced(by: firstColumn * stride) else { return }
      cblas_dtrmm(
        CblasColMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, Int32(rows), Int32(size), 1, factor, Int32(size),
        columns, Int32(stride))
    }
  }

  /// X S^-1 in place, likewise.
  func divide(_ x: inout [Double], rows: Int, firstColumn: Int, stride: Int) {
    x.withUnsafeMutableBufferPointer { x in
      guard let columns = x.baseAddress?.advanced(by: firstColumn * stride) else { return }
      cblas_dtrsm(
        CblasColMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, Int32(rows), Int32(size), 1, factor, Int32(size),
        columns, Int32(stride))
    }
  }
}
