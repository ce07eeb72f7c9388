internal import CCompression
public import Tessera

/// Turns matrices of weights into 4-bit codes.
///
/// For each group every special value is tried: the scale is max|w| / max(6, |special value|), rounded to its storage; each
/// weight takes the nearest level; the special value with the lowest squared error stays, of equal ones the first. (`int4` and
/// `iq4-nl` try both ends of their range instead, by a negative scale where that helps.) A weight half-way between two levels
/// takes the one further from zero, so that -w has the mirrored codes of w. A scale is not rounded to 0 unless all weights of
/// the group are 0, which then are code 0, or the code nearest to zero, under a scale of 0.
///
/// The scale of a group of `mxfp4` is 2^floor(log2 max|w|) / 4 (OCP Microscaling 1.0); exponents too far below the largest are
/// raised.
///
/// The result depends on the weights and the options alone, not on how many threads took part.
///
/// ```swift
/// let quantizer = Code4Quantizer(.razerG16, refits: 1, clips: Code4Quantizer.usualClips)
/// let matrix = try quantizer.quantize(weights.span, outputs: 4096, inputs: 4096, on: pool)
/// ```
public struct Code4Quantizer: Sendable, Equatable {
  public let format: WeightFormat
  /// What codes and scales are to mean; differs from `format.code4` in its special values alone.
  public internal(set) var code4: Code4Format
  /// How often the scale is fitted to the codes by least squares and the codes chosen anew.
  public var refits: Int
  /// Factors of the scale that are tried: below 1 they clip the largest weights.
  public var clips: [Float]
  /// How much the error of each input counts: the mean square of its activations, say. nil is 1 for all.
  public var inputWeights: [Float]?

  package var comparison = Comparison()

  /// Other quantisers' habits, to compare with them.
  package struct Comparison: Sendable, Equatable {
    package var tiesGoDown = false
    package var exactScales = false
    /// Only these of the format's candidates, by index.
    package var candidates: Range<Int>?
    package init() {}
  }

  /// 13 steps from 1 to 0.7.
  public static let usualClips: [Float] = (0...12).map { 1 - Float($0) / 40 }

  /// Called between parts of the work with the fraction that is done; false stops it.
  public typealias Progress = (_ fraction: Double) -> Bool

  /// - Parameter format: a 4-bit format.
  public init(_ format: WeightFormat, refits: Int = 0, clips: [Float] = [1], inputWeights: [Float]? = nil) {
    guard let code4 = format.code4 else { preconditionFailure("\(format) is no 4-bit format") }
    self.format = format
    self.code4 = code4
    self.refits = refits
    self.clips = clips
    self.inputWeights = inputWeights
  }

  /// The same with other special values, for example 5, -5, 7, -7: one to four multiples of a half, at most 8 in size.
  /// - Throws: `invalidSpecialValues` when the format has no special values or these cannot be used.
  public func with(specialValues: [Float]) throws(CompressionError) -> Code4Quantizer {
    var copy = self
    copy.code4 = try format.code4(specialValues: specialValues)
    return copy
  }

  /// Quantises a row-major matrix.
  /// - Parameters:
  ///   - weights: `outputs * inputs` finite numbers, row after row.
  ///   - pool: whose threads share the work; nil leaves it to the calling one.
  ///   - progress: may stop the work; a cancelled task stops it too.
  /// - Throws: `CompressionError`: `invalidShape`, `sizeMismatch`, `nonFiniteWeight`, `invalidInputWeight`, `invalidOption`,
  ///   `scaleOverflow`, `cancelled`.
  public func quantize(
    _ weights: Span<Float>, outputs: Int, inputs: Int, on pool: ThreadPool? = nil, progress: Progress? = nil
  ) throws(CompressionError) -> Code4Matrix {
    try weights.withUnsafeBufferPointer { weights throws(CompressionError) in
      let job = try QuantizationJob(self, weights, outputs: outputs, inputs: inputs)
      return job.matrix(try job.run(on: pool, progress: progress))
    }
  }

  /// The same of bfloat16.
  public func quantize(
    _ weights: Span<BFloat16>, outputs: Int, inputs: Int, on pool: ThreadPool? = nil, progress: Progress? = nil
  ) throws(CompressionError) -> Code4Matrix {
    let floats = weights.withUnsafeBufferPointer { $0.map { Float($0) } }
    return try quantize(floats.span, outputs: outputs, inputs: inputs, on: pool, progress: progress)
  }

  func checkedInputWeights(_ inputs: Int) throws(CompressionError) -> [Float] {
    guard let weights = inputWeights else { return [Float](repeating: 1, count: inputs) }
    guard weights.count == inputs else { throw .sizeMismatch(what: "input weights", expected: inputs, got: weights.count) }
    for (column, weight) in weights.enumerated() where !(weight >= 0 && weight < .infinity) {
      throw .invalidInputWeight(column: column, value: weight)
    }
    return weights
  }

  func checkOptions() throws(CompressionError) {
    guard (0...16).contains(refits) else { throw .invalidOption(name: "refits", value: Double(refits)) }
    guard !clips.isEmpty else { throw .invalidOption(name: "the number of clips", value: 0) }
    for clip in clips where !(clip >= 0.1 && clip <= 2) { throw .invalidOption(name: "a clip", value: Double(clip)) }
  }
}
