#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif
public import Tessera

/// A matrix whose inputs were scaled before it was quantised.
public struct ScaledCode4Matrix: Sendable {
  /// Of the weights W[n][k] * scales[k].
  public let matrix: Code4Matrix
  /// What input k of the layer has to be divided by: fold 1 / scales[k] into output k of the layer before, or into the weights of
  /// the normalisation before.
  public let scales: [Float]
  /// scales[k] = importance[k]^exponent, up to a common factor.
  public let exponent: Float
  /// The sum over inputs of their weight times the squared error of W, with these scales and with none.
  public let error: Double
  public let unscaledError: Double
}

extension Code4Quantizer {
  /// Scales inputs before quantising, so that those with large activations lose less: after AWQ (Lin et al., arXiv 2306.00978).
  ///
  /// The scales are rms^exponent, rms being the root of the input weights, divided by the geometric mean of the largest and the
  /// smallest scale. Every exponent i / steps, i in 0..<steps, is tried on the whole matrix; the lowest weighted error stays, of
  /// equal ones the lowest exponent, of which 0 is no scaling.
  /// - Parameter steps: 1 to 100.
  /// - Throws: as `quantize`; `invalidOption` when there are no input weights.
  public func quantizeWithChannelScales(
    _ weights: Span<Float>, outputs: Int, inputs: Int, steps: Int = 20, on pool: ThreadPool? = nil, progress: Progress? = nil
  ) throws(CompressionError) -> ScaledCode4Matrix {
    guard (1...100).contains(steps) else { throw .invalidOption(name: "steps", value: Double(steps)) }
    guard inputWeights != nil else { throw .invalidOption(name: "the number of input weights", value: 0) }
    let importance = try checkedInputWeights(inputs)
    var best: ScaledCode4Matrix?
    for step in 0..<steps {
      let exponent = Float(step) / Float(steps)
      let scales = Self.channelScales(importance, exponent: exponent)
      let partial = progress.map { progress in { (fraction: Double) in progress((Double(step) + fraction) / Double(steps)) } }
      let (matrix, error) = try quantize(
        weights, outputs: outputs, inputs: inputs, scales: scales, importance: importance, on: pool, progress: partial)
      if let best, !(error < best.error) { continue }
      best = ScaledCode4Matrix(
        matrix: matrix, scales: scales, exponent: exponent, error: error, unscaledError: best?.unscaledError ?? error)
    }
    guard let best else { preconditionFailure("no exponent among \(steps)") }
    return best
  }

  /// 1 for inputs that nothing feeds.
  private static func channelScales(_ importance: [Float], exponent: Float) -> [Float] {
    let powers = importance.map { $0 > 0 ? powf($0, exponent / 2) : 1 }
    let used = zip(importance, powers).filter { $0.0 > 0 }.map(\.1)
    guard exponent > 0, let least = used.min(), let most = used.max() else { return powers.map { _ in 1 } }
    let mean = (least * most).squareRoot()
    return zip(importance, powers).map { $0 > 0 ? $1 / mean : 1 }
  }

  /// Quantises W * scales. An error of a scaled weight counts importance / scale^2, which is what it does to the products.
  private func quantize(
    _ weights: Span<Float>, outputs: Int, inputs: Int, scales: [Float], importance: [Float], on pool: ThreadPool?,
    progress: Progress?
  ) throws(CompressionError) -> (matrix: Code4Matrix, error: Double) {
    var copy = self
    copy.inputWeights = zip(importance, scales).map { $0 / ($1 * $1) }
    guard weights.count == (try checkedCount("weights to quantise", rows: outputs, columns: inputs)) else {
      throw .sizeMismatch(what: "weights to quantise", expected: outputs * inputs, got: weights.count)
    }
    let scaled = [Float](unsafeUninitializedCapacity: weights.count) { target, count in
      for row in 0..<outputs {
        for input in 0..<inputs {
          target.initializeElement(at: row * inputs + input, to: weights[row * inputs + input] * scales[input])
        }
      }
      count = weights.count
    }
    return try scaled.withUnsafeBufferPointer { scaled throws(CompressionError) in
      let job = try QuantizationJob(copy, scaled, outputs: outputs, inputs: inputs)
      let rows = try job.run(on: pool, progress: progress)
      let factor = Double(job.factor)
      return (job.matrix(rows), rows.error / (factor * factor))
    }
  }
}
