public import Tessera

/// y = x W^T + bias, whatever form W is stored in. Any linear layer of a model can be replaced by any other of the same shape.
public protocol LinearLayer: Sendable {
  /// N: elements of a row of y.
  var outputs: Int { get }
  /// K: elements of a row of x.
  var inputs: Int { get }
  /// How the weights are stored.
  var format: WeightFormat { get }
  /// The bytes that one application reads from memory, bias aside.
  var byteCount: Int { get }
  /// How many times less that is than dense bfloat16: the best speed-up that memory bandwidth allows.
  var bestSpeedup: Double { get }
  /// Shape, format, bytes and best speed-up in one line, for people.
  var summary: String { get }

  /// Applies the layer to `rows` rows of x.
  /// - Parameters:
  ///   - x: `rows * inputs` elements, row after row.
  ///   - rows: M, at least 1.
  ///   - y: `rows * outputs` elements, all overwritten.
  ///   - executor: whose threads and kernels do it.
  /// - Throws: `TesseraError.sizeMismatch`, `invalidShape`, `outOfMemory`.
  func callAsFunction(
    _ x: Span<Float>, rows: Int, into y: inout MutableSpan<Float>, on executor: Executor
  ) throws(TesseraError)
}

extension LinearLayer {
  public var summary: String { "\(outputs) x \(inputs) \(format): \(costs)" }

  var costs: String { "\(byteText(byteCount)), at most \(fixed(bestSpeedup, digits: 2))x as fast as dense bf16" }

  /// The same into a new array of `rows * outputs` elements.
  public func callAsFunction(_ x: Span<Float>, rows: Int, on executor: Executor) throws(TesseraError) -> [Float] {
    try checkRows(rows, ofCount: x.count, inputs: inputs, outputs: outputs)
    var y = try [Float](allocating: rows * outputs) { $0.initialize(repeating: 0) }
    var target = y.mutableSpan
    try callAsFunction(x, rows: rows, into: &target, on: executor)
    return y
  }
}

/// A linear layer over one packed matrix.
public protocol PackedLinearLayer: LinearLayer {
  /// The form in which the matrix is packed.
  associatedtype Weights: PackedWeights
  /// W, with the bias if there is one.
  var weights: Weights { get }
  /// The layer over weights that are packed already.
  init(weights: Weights)
}

extension PackedLinearLayer {
  public var outputs: Int { weights.outputs }
  public var inputs: Int { weights.inputs }
  public var format: WeightFormat { weights.format }
  public var byteCount: Int { weights.byteCount }
  public var bestSpeedup: Double { weights.bestSpeedup }

  public func callAsFunction(
    _ x: Span<Float>, rows: Int, into y: inout MutableSpan<Float>, on executor: Executor
  ) throws(TesseraError) {
    try executor.multiply(x, rows: rows, by: weights, into: &y)
  }
}

/// A linear layer with every weight stored, bfloat16: the baseline that the others are measured against.
public struct DenseLinear: PackedLinearLayer {
  public let weights: DenseWeights

  public init(weights: DenseWeights) { self.weights = weights }

  /// - Parameters:
  ///   - weights: `outputs * inputs` elements, row after row.
  ///   - bias: `outputs` numbers or nil.
  ///   - executor: whose threads pack; nil leaves it to the calling one. The result is the same.
  /// - Throws: `TesseraError.invalidShape`, `sizeMismatch`, `outOfMemory`.
  public init(
    _ weights: Span<BFloat16>, outputs: Int, inputs: Int, bias: [Float]? = nil, on executor: Executor? = nil
  ) throws(TesseraError) {
    self.weights = try DenseWeights(packing: weights, outputs: outputs, inputs: inputs, bias: bias, on: executor?.pool)
  }
}
