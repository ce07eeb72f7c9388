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
    let inputs = inputs
    elements.withUnsafeMutableBufferPointer { elements in
      activations.withUnsafeBufferPointer { activations in
        guard let elements = elements.baseAddress, let x = activations.baseAddress else { return }
        let addRow = { (row: Int, _: Int) in
          for token in 0..<tokens {
            let factor = Double(x[token * inputs + row])
            for column in 0..<inputs { elements[row * inputs + column] += factor * Double(x[token * inputs + column]) }
          }
        }
        if let pool { pool.run(parts: inputs, addRow) } else { for row in 0..<inputs { addRow(row, 0) } }
      }
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
