#if canImport(Accelerate)
  internal import Accelerate
#else
  internal import CLAPACK
#endif
internal import TesseraCompression

/// U of (H + damping)^-1 = U^T U, with rows and columns in a given order: what error feedback distributes errors by.
struct InverseFactor {
  /// Row-major; only what lies on and above the diagonal means something.
  let elements: [Float]
  let order: [UInt32]
  /// places[order[i]] = i
  let places: [UInt32]

  /// Of a layer with so many inputs, options checked.
  /// - Throws: `sizeMismatch` naming the second moments, `invalidOption` naming the damping, `notPositiveDefinite`.
  init(
    _ moments: SecondMoments, ofInputs inputs: Int, damping: Double, _ order: Code4Quantizer.InputOrder
  ) throws(CompressionError) {
    guard moments.inputs == inputs else {
      throw .sizeMismatch(what: "second moments", expected: inputs * inputs, got: moments.elements.count)
    }
    guard damping > 0, damping < .infinity else { throw .invalidOption(name: "the damping", value: damping) }
    try self.init(moments, damping: damping, descending: order == .descendingMoment)
  }

  /// - Parameter damping: times the mean of the diagonal, added to it.
  /// - Throws: `notPositiveDefinite`.
  init(_ moments: SecondMoments, damping: Double, descending: Bool) throws(CompressionError) {
    let n = moments.inputs
    let source = moments.elements
    let diagonal = (0..<n).map { source[$0 * n + $0] }
    let order = descending ? (0..<n).sorted { (diagonal[$0], $1) > (diagonal[$1], $0) } : Array(0..<n)
    let mean = diagonal.reduce(0, +) / Double(n)
    let added = mean > 0 ? damping * mean : 1

    // With A = H + damping backwards and A = M M^T, H + damping is R R^T for the upper R that M is backwards, and U = R^-1 is
    // M^-1 backwards. What is row-major here is column-major for LAPACK: our lower triangle is its upper one.
    var matrix = [Double](repeating: 0, count: n * n)
    for row in 0..<n {
      for column in 0...row {
        let (low, high) = (min(order[n - 1 - row], order[n - 1 - column]), max(order[n - 1 - row], order[n - 1 - column]))
        matrix[row * n + column] = source[high * n + low]
      }
      matrix[row * n + row] += added
    }
    for step in [Step.factor, .invert] {
      if let column = step.apply(&matrix, n) { throw .notPositiveDefinite(column: order[n - 1 - column]) }
    }
    elements = [Float](unsafeUninitializedCapacity: n * n) { elements, count in
      for index in 0..<n * n {
        elements.initializeElement(at: index, to: index % n < index / n ? 0 : Float(matrix[n * n - 1 - index]))
      }
      count = n * n
    }
    self.order = order.map { UInt32($0) }
    var places = [UInt32](repeating: 0, count: n)
    for (place, input) in order.enumerated() { places[input] = UInt32(place) }
    self.places = places
  }

  private enum Step {
    case factor, invert

    /// Returns the position of a pivot that is not positive, or nil.
    func apply(_ matrix: inout [Double], _ n: Int) -> Int? {
      var uplo = CChar(UInt8(ascii: "U"))
      var diagonal = CChar(UInt8(ascii: "N"))
      var size = Int32(n)
      var stride = Int32(n)
      var info: Int32 = 0
      switch self {
      case .factor: dpotrf_(&uplo, &size, &matrix, &stride, &info)
      case .invert: dtrtri_(&uplo, &diagonal, &size, &matrix, &stride, &info)
      }
      return info == 0 ? nil : max(0, Int(info) - 1)
    }
  }
}
