import Tessera
import Testing

@testable import TesseraCompression

@Suite struct ChannelScaleTests {
  private let outputs = 48
  private let inputs = 256
  private var weights: [Float] { randomFloats(outputs * inputs, seed: 31) }
  /// A few inputs are far larger than the others, as in language models.
  private var importance: [Float] { (0..<inputs).map { $0 % 37 == 0 ? 400 : Float(1 + $0 % 3) } }

  private func weightedError(_ values: [Float], _ weights: [Float]) -> Double {
    weights.indices.reduce(0.0) { sum, index in
      let difference = Double(values[index] - weights[index])
      return sum + Double(importance[index % inputs]) * difference * difference
    }
  }

  @Test(arguments: [WeightFormat.razerG16, .razerG128, .fp4G32, .int4G128, .nvfp4])
  func lowersTheWeightedError(format: WeightFormat) throws {
    let quantizer = Code4Quantizer(format, inputWeights: importance)
    let scaled = try quantizer.quantizeWithChannelScales(weights.span, outputs: outputs, inputs: inputs)
    let plain = try quantizer.quantize(weights, outputs: outputs, inputs: inputs)
    let unscaled = scaled.matrix.dequantized().enumerated().map { $1 / scaled.scales[$0 % inputs] }
    let error = weightedError(unscaled, weights)
    let plainError = weightedError(plain.dequantized(), weights)
    #expect(error < 0.9 * plainError, "\(error / plainError) at \(scaled.exponent)")
    #expect(abs(scaled.error / error - 1) < 1e-3)
    #expect(abs(scaled.unscaledError / plainError - 1) < 1e-3)
    #expect(scaled.exponent > 0)
  }

  @Test func oneStepIsNoScaling() throws {
    let quantizer = Code4Quantizer(.razerG128, inputWeights: importance)
    let scaled = try quantizer.quantizeWithChannelScales(weights.span, outputs: outputs, inputs: inputs, steps: 1)
    #expect(scaled.scales == [Float](repeating: 1, count: inputs))
    #expect(try scaled.matrix == quantizer.quantize(weights, outputs: outputs, inputs: inputs))
  }

  @Test func inputsThatNothingFeedsAreNotScaled() throws {
    var importance = importance
    importance[3] = 0
    let quantizer = Code4Quantizer(.int4G128, inputWeights: importance)
    let scaled = try quantizer.quantizeWithChannelScales(weights.span, outputs: outputs, inputs: inputs)
    #expect(scaled.scales[3] == 1)
    #expect(scaled.scales.allSatisfy { $0 > 0 && $0.isFinite })
  }

  @Test func threadsChangeNothing() throws {
    let quantizer = Code4Quantizer(.razerG16, inputWeights: importance)
    let alone = try quantizer.quantizeWithChannelScales(weights.span, outputs: outputs, inputs: inputs, steps: 4)
    for pool in try pools() {
      let shared = try quantizer.quantizeWithChannelScales(weights.span, outputs: outputs, inputs: inputs, steps: 4, on: pool)
      #expect(shared.matrix == alone.matrix && shared.error == alone.error)
    }
  }

  @Test func progressRuns() throws {
    var fractions: [Double] = []
    let quantizer = Code4Quantizer(.razerG16, inputWeights: importance)
    _ = try quantizer.quantizeWithChannelScales(weights.span, outputs: outputs, inputs: inputs, steps: 3) {
      fractions.append($0)
      return true
    }
    #expect(fractions.last == 1 && fractions == fractions.sorted())
    #expect(throws: CompressionError.cancelled) {
      try quantizer.quantizeWithChannelScales(weights.span, outputs: outputs, inputs: inputs) { $0 < 0.3 }
    }
  }

  @Test func refusesToWorkWithoutImportance() {
    #expect(throws: CompressionError.invalidOption(name: "the number of input weights", value: 0)) {
      try Code4Quantizer(.razerG16).quantizeWithChannelScales(weights.span, outputs: outputs, inputs: inputs)
    }
  }

  @Test(arguments: [0, 101])
  func refusesSteps(steps: Int) {
    let quantizer = Code4Quantizer(.razerG16, inputWeights: importance)
    #expect(throws: CompressionError.invalidOption(name: "steps", value: Double(steps))) {
      try quantizer.quantizeWithChannelScales(weights.span, outputs: outputs, inputs: inputs, steps: steps)
    }
  }

  @Test func refusesAWrongCount() {
    let quantizer = Code4Quantizer(.razerG16, inputWeights: importance)
    #expect(throws: CompressionError.sizeMismatch(what: "weights to quantise", expected: 256, got: 1)) {
      try quantizer.quantizeWithChannelScales([1].span, outputs: 1, inputs: inputs)
    }
  }
}
