public import Tessera

/// A matrix of 4-bit codes with a scale for every group of them, row after row, as the quantiser and the importers leave it.
/// Packing it for the kernels is another step.
public struct Code4Matrix: Sendable, Equatable {
  public let format: WeightFormat
  /// What codes and scales mean; differs from `format.code4` in its special values alone.
  public let code4: Code4Format
  public let outputs: Int
  public let inputs: Int
  /// `outputs * inputs` numbers in 0...15, one in a byte.
  public let codes: [UInt8]
  /// `outputs * groups` scales as they are stored, with their selectors.
  public let scales: [UInt16]
  /// What every weight is multiplied by.
  public let tensorScale: Float

  /// - Parameters:
  ///   - format: a 4-bit format.
  ///   - specialValues: other special values than RaZeR's usual ones.
  /// - Throws: `invalidSpecialValues`, `invalidShape`, `sizeMismatch`, `invalidBits` for a code above 15, or a scale that is not
  ///   finite or has bits that its encoding does not; `invalidOption` for a tensor scale that is not finite.
  public init(
    format: WeightFormat, specialValues: [Float]? = nil, outputs: Int, inputs: Int, codes: [UInt8], scales: [UInt16],
    tensorScale: Float = 1
  ) throws(CompressionError) {
    let code4 = try format.code4(specialValues: specialValues)
    let count = try checkedCount("4-bit weights", rows: outputs, columns: inputs)
    let groups = code4.groups(inputs: inputs)
    guard codes.count == count else { throw .sizeMismatch(what: "codes", expected: count, got: codes.count) }
    guard scales.count == outputs * groups else {
      throw .sizeMismatch(what: "scales", expected: outputs * groups, got: scales.count)
    }
    if let index = codes.firstIndex(where: { $0 > 15 }) {
      throw .invalidBits(what: "code", row: index / inputs, index: index % inputs, bits: Int(codes[index]))
    }
    let largest: UInt16 = code4.scale.byteCount == 1 ? 0xFF : 0xFFFF
    if let index = scales.firstIndex(where: { $0 > largest || !code4.scale(bits: $0).isFinite }) {
      throw .invalidBits(what: "scale", row: index / groups, index: index % groups, bits: Int(scales[index]))
    }
    guard tensorScale.isFinite else { throw .invalidOption(name: "the tensor scale", value: Double(tensorScale)) }
    self.init(
      trusted: format, code4, outputs: outputs, inputs: inputs, codes: codes, scales: scales, tensorScale: tensorScale)
  }

  init(
    trusted format: WeightFormat, _ code4: Code4Format, outputs: Int, inputs: Int, codes: [UInt8], scales: [UInt16],
    tensorScale: Float
  ) {
    self.format = format
    self.code4 = code4
    self.outputs = outputs
    self.inputs = inputs
    self.codes = codes
    self.scales = scales
    self.tensorScale = tensorScale
  }

  /// Scales of a row.
  public var groups: Int { code4.groups(inputs: inputs) }

  /// The weights as numbers, row after row: value * scale * tensorScale, rounded once in each product.
  public func dequantized() -> [Float] {
    let tables = (0..<4).map { selector in (0..<16).map { code4.value(code: $0, selector: selector) } }
    return [Float](unsafeUninitializedCapacity: outputs * inputs) { target, count in
      for row in 0..<outputs {
        for group in 0..<groups {
          let bits = scales[row * groups + group]
          let values = tables[code4.selector(bits: bits)]
          let scale = code4.scale(bits: bits)
          for input in group * code4.group..<min((group + 1) * code4.group, inputs) {
            let index = row * inputs + input
            target.initializeElement(at: index, to: values[Int(codes[index])] * scale * tensorScale)
          }
        }
      }
      count = outputs * inputs
    }
  }

  /// Sum of (dequantised - w)^2 over sum of w^2; 0 when all weights are 0 and stay so.
  public func relativeSquaredError(to weights: Span<Float>) throws(CompressionError) -> Double {
    guard weights.count == outputs * inputs else {
      throw .sizeMismatch(what: "weights to compare", expected: outputs * inputs, got: weights.count)
    }
    var error = 0.0
    var whole = 0.0
    for (index, value) in dequantized().enumerated() {
      let difference = Double(value) - Double(weights[index])
      error += difference * difference
      whole += Double(weights[index]) * Double(weights[index])
    }
    return error == 0 ? 0 : error / whole
  }
}
