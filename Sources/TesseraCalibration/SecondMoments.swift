public import Tessera
public import TesseraCompression

/// The sum of x x^T over calibration tokens x: how the inputs of a layer move together.
public struct SecondMoments: Sendable {
  public let inputs: Int
  /// Symmetric, row after row.
  public private(set) var elements: [Double]

  /// All zeros.
  /// - Throws: `invalidShape`.
  public init(inputs: Int) throws(CompressionError) {
    let count = try checkedCount("second moments", rows: inputs, columns: inputs)
    self.inputs = inputs
    elements = [Double](repeating: 0, count: count)
  }

  /// - Parameter elements: `inputs * inputs` numbers. Only those on and below the diagonal are read.
  /// - Throws: `invalidShape`, `sizeMismatch`, `nonFiniteMoment`.
  public init(inputs: Int, elements: [Double]) throws(CompressionError) {
    let count = try checkedCount("second moments", rows: inputs, columns: inputs)
    guard elements.count == count else { throw .sizeMismatch(what: "second moments", expected: count, got: elements.count) }
    if let bad = elements.firstIndex(where: { !$0.isFinite }) {
      throw .nonFiniteMoment(row: bad / inputs, column: bad % inputs)
    }
    self.inputs = inputs
    self.elements = elements
  }

  /// Adds tokens. The sums are in the order of the tokens, whatever the threads do.
  /// - Parameter activations: whole tokens of `inputs` numbers, one after the other.
  /// - Throws: `sizeMismatch`, `nonFiniteMoment` where the activations make one; nothing is added then.
  public mutating func add(_ activations: Span<Float>, on pool: ThreadPool? = nil) throws(CompressionError) {
    let tokens = activations.count / inputs
    guard activations.count == tokens * inputs else {
      throw .sizeMismatch(what: "activations", expected: (tokens + 1) * inputs, got: activations.count)
    }
    for index in activations.indices where !activations[index].isFinite {
      throw .nonFiniteMoment(row: index % inputs, column: index % inputs)
    }
    let x = activations.withUnsafeBufferPointer { $0.map { Double($0) } }
    let inputs = inputs
    elements.withUnsafeMutableBufferPointer { elements in
      x.withUnsafeBufferPointer { x in
        guard let elements = elements.baseAddress, let x = x.baseAddress else { return }
        // As many tokens at a time as stay in the cache while all rows read them.
        for first in stride(from: 0, to: tokens, by: 32) {
          ThreadPool.run(parts: inputs, on: pool) { row, _ in
            SecondMoments.add(
              x + first * inputs, tokens: min(32, tokens - first), inputs: inputs, row: row, to: elements + row * inputs)
          }
        }
        for row in 0..<inputs {
          for column in 0..<row { elements[column * inputs + row] = elements[row * inputs + column] }
        }
      }
    }
  }

  /// Adds to a row what stands on and left of the diagonal, four tokens at a time, so that it is loaded and stored less often.
  private static func add(
    _ x: UnsafePointer<Double>, tokens: Int, inputs: Int, row: Int, to sums: UnsafeMutablePointer<Double>
  ) {
    var token = 0
    while token + 4 <= tokens {
      let (x0, x1, x2, x3) = (
        x + token * inputs, x + (token + 1) * inputs, x + (token + 2) * inputs, x + (token + 3) * inputs
      )
      let (f0, f1, f2, f3) = (x0[row], x1[row], x2[row], x3[row])
      for column in 0...row {
        sums[column] = sums[column] + f0 * x0[column] + f1 * x1[column] + f2 * x2[column] + f3 * x3[column]
      }
      token += 4
    }
    while token < tokens {
      let (last, factor) = (x + token * inputs, x[token * inputs + row])
      for column in 0...row { sums[column] += factor * last[column] }
      token += 1
    }
  }

  /// The sum of squares of each input: input weights for the quantiser.
  public var diagonal: [Float] { (0..<inputs).map { Float(elements[$0 * inputs + $0]) } }

  /// Sum over outputs of d^T H d for the rows d of `difference`: the squared error of a layer's outputs on the calibration
  /// tokens.
  public func weightedError(_ difference: Span<Float>) throws(CompressionError) -> Double {
    guard difference.count % inputs == 0 else {
      throw .sizeMismatch(what: "differences", expected: inputs, got: difference.count)
    }
    var total = 0.0
    for begin in stride(from: 0, to: difference.count, by: inputs) {
      for row in 0..<inputs {
        var sum = 0.0
        for column in 0..<inputs { sum += elements[row * inputs + column] * Double(difference[begin + column]) }
        total += sum * Double(difference[begin + row])
      }
    }
    return total
  }
}
