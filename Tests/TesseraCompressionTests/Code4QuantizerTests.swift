import Tessera
import Testing

@testable import TesseraCompression

@Suite struct Code4QuantizerTests {
  // MARK: Rounding

  @Test func tiesGoAwayFromZero() throws {
    let weights: [Float] = [6, 2.5, -2.5, 0.25, -0.25, 1.25, -1.25, 3.5, -3.5, 0.75, -0.75, 1.75, -1.75, -6]
    let matrix = try Code4Quantizer(.fp4G32).quantize(weights, outputs: 1, inputs: weights.count)
    #expect(matrix.dequantized() == [6, 3, -3, 0.5, -0.5, 1.5, -1.5, 4, -4, 1, -1, 2, -2, -6])
  }

  /// -w under mirrored special values has the mirrored codes of w.
  @Test(arguments: [WeightFormat.razerG16, .razerG128])
  func negatingMirrors(format: WeightFormat) throws {
    // Eighths, so that there are ties.
    let weights = randomFloats(64 * 128, seed: 1).map { ($0 * 8).rounded() / 8 }
    let plain = try Code4Quantizer(format).quantize(weights, outputs: 64, inputs: 128)
    let negative = try Code4Quantizer(format).with(specialValues: [-5, 5, -8, 8]).quantize(
      weights.map { -$0 }, outputs: 64, inputs: 128)
    #expect(plain.scales == negative.scales)
    #expect(plain.dequantized() == negative.dequantized().map { 0 - $0 })
  }

  /// No code of any format could be replaced by a nearer one.
  @Test(arguments: WeightFormat.code4Formats)
  func everyCodeIsTheNearest(format: WeightFormat) throws {
    let code4 = try #require(format.code4)
    let (outputs, inputs) = (7, 200)
    let weights = randomFloats(outputs * inputs, seed: 2)
    let matrix = try Code4Quantizer(format).quantize(weights, outputs: outputs, inputs: inputs)
    let values = matrix.dequantized()
    for index in weights.indices {
      let bits = matrix.scales[index / inputs * matrix.groups + index % inputs / code4.group]
      let scale = code4.scale(bits: bits) * matrix.tensorScale
      let nearest = (0..<16).map { abs(code4.value(code: $0, selector: code4.selector(bits: bits)) * scale - weights[index]) }
        .min()
      #expect(abs(values[index] - weights[index]) <= (nearest ?? 0) + 1e-6 * abs(weights[index]))
    }
  }

  /// What is representable stays, whatever the options.
  @Test(arguments: WeightFormat.code4Formats)
  func representableWeightsStay(format: WeightFormat) throws {
    let once = try Code4Quantizer(format).quantize(randomFloats(5 * 256, seed: 3), outputs: 5, inputs: 256)
    let weights = once.dequantized()
    let again = try Code4Quantizer(format, refits: 1, clips: Code4Quantizer.usualClips).quantize(weights, outputs: 5, inputs: 256)
    let error = try again.relativeSquaredError(to: weights.span)
    // The tensor's scale is not found again to the last bit where the largest weight was clipped.
    #expect(error < (once.code4.scale.byteCount == 1 ? 2e-3 : 1e-12), "\(error)")
  }

  // MARK: Groups

  @Test(arguments: WeightFormat.code4Formats)
  func groupsOfZerosAreZeros(format: WeightFormat) throws {
    let code4 = try #require(format.code4)
    let inputs = 2 * code4.group
    var weights = [Float](repeating: 0, count: 3 * inputs)
    let none = try Code4Quantizer(format).quantize(weights, outputs: 3, inputs: inputs)
    #expect(none.dequantized().allSatisfy { $0 == 0 })
    #expect(none.tensorScale == 1)
    weights[inputs + code4.group] = -3
    let one = try Code4Quantizer(format).quantize(weights, outputs: 3, inputs: inputs)
    for (index, value) in one.dequantized().enumerated() where index != inputs + code4.group {
      #expect(abs(value) <= (code4.values.contains(0) ? 0 : 3.0 / 113), "\(index)")
    }
    if code4.values[0] == 0 { #expect(one.codes.prefix(inputs).allSatisfy { $0 == 0 }) }
  }

  @Test(arguments: WeightFormat.code4Formats, [3.0, -3.0, 1e-3, 77] as [Float])
  func aSingleWeightIsKept(format: WeightFormat, weight: Float) throws {
    let code4 = try #require(format.code4)
    for place in [0, 5, code4.group - 1] {
      var weights = [Float](repeating: 0, count: code4.group)
      weights[place] = weight
      let value = try Code4Quantizer(format).quantize(weights, outputs: 1, inputs: code4.group).dequantized()[place]
      // fp16 has 11 bits, with a selector 9; MXFP4's scale is a power of two.
      let tolerance: Float = format == .mxfp4 ? 1 / 5 : 0x1p-9
      #expect(abs(value / weight - 1) <= tolerance, "\(place): \(value)")
    }
  }

  @Test func equalErrorsKeepTheFirstSpecialValue() throws {
    let weights: [Float] = [6, 4, -3, 0.5, 0, -6, 2, -1.5, 1, 1, 1, 1, 1, 1, 1, 1]
    let matrix = try Code4Quantizer(.razerG128).quantize(weights, outputs: 1, inputs: 16)
    #expect(matrix.code4.selector(bits: matrix.scales[0]) == 0)
    #expect(matrix.dequantized() == weights)
  }

  @Test(arguments: WeightFormat.code4Formats, [1, 15, 17, 100, 129])
  func aRowMayEndInsideAGroup(format: WeightFormat, inputs: Int) throws {
    let outputs = 3
    let weights = randomFloats(outputs * inputs, seed: UInt64(inputs))
    let matrix = try Code4Quantizer(format).quantize(weights, outputs: outputs, inputs: inputs)
    #expect(matrix.scales.count == outputs * ((inputs + matrix.code4.group - 1) / matrix.code4.group))
    // The same as of a row that ends in zeros.
    let padded = matrix.groups * matrix.code4.group
    let long = (0..<outputs * padded).map { $0 % padded < inputs ? weights[$0 / padded * inputs + $0 % padded] : 0 }
    let whole = try Code4Quantizer(format).quantize(long, outputs: outputs, inputs: padded)
    if matrix.code4.values.contains(0) {
      #expect(whole.scales == matrix.scales)
      #expect((0..<outputs).flatMap { whole.codes[$0 * padded..<$0 * padded + inputs] } == matrix.codes)
    }
  }

  @Test(arguments: [WeightFormat.razerG16, .nvfp4, .mxfp4], [-90, -60, 0, 60, 125])
  func aPowerOfTwoMovesIntoTheTensorScale(format: WeightFormat, exponent: Int) throws {
    let factor = Float(sign: .plus, exponent: exponent, significand: 1)
    let weights = randomFloats(4 * 64, seed: 4).map { max(-1.9, min(1.9, $0)) }
    let quantizer = Code4Quantizer(format, refits: 1, clips: Code4Quantizer.usualClips)
    let plain = try quantizer.quantize(weights, outputs: 4, inputs: 64)
    let scaled = try quantizer.quantize(weights.map { $0 * factor }, outputs: 4, inputs: 64)
    #expect(scaled.codes == plain.codes)
    #expect(scaled.scales == plain.scales)
    #expect(abs(scaled.tensorScale / factor / plain.tensorScale - 1) < 1e-2)
  }

  // MARK: Importance

  @Test func importantInputsLoseLess() throws {
    let (outputs, inputs) = (64, 256)
    let weights = randomFloats(outputs * inputs, seed: 5)
    let importance = (0..<inputs).map { Float($0 % 7 == 0 ? 100 : 1) }
    func weightedError(_ inputWeights: [Float]?) throws -> Double {
      let quantizer = Code4Quantizer(.razerG128, clips: Code4Quantizer.usualClips, inputWeights: inputWeights)
      let values = try quantizer.quantize(weights, outputs: outputs, inputs: inputs).dequantized()
      return weights.indices.reduce(0.0) { sum, index in
        let difference = Double(values[index] - weights[index])
        return sum + Double(importance[index % inputs]) * difference * difference
      }
    }
    #expect(try weightedError(importance) < 0.97 * weightedError(nil))
  }

  // MARK: Threads, progress

  @Test(arguments: WeightFormat.code4Formats)
  func threadsChangeNothing(format: WeightFormat) throws {
    let weights = randomFloats(37 * 160, seed: 6)
    let quantizer = Code4Quantizer(format, refits: 1, clips: [1, 0.9])
    let alone = try quantizer.quantize(weights, outputs: 37, inputs: 160)
    for pool in try pools() { #expect(try quantizer.quantize(weights, outputs: 37, inputs: 160, on: pool) == alone) }
  }

  @Test func progressRisesToOne() throws {
    var fractions: [Double] = []
    let weights = randomFloats(200 * 16, seed: 7)
    _ = try Code4Quantizer(.razerG16).quantize(weights.span, outputs: 200, inputs: 16) {
      fractions.append($0)
      return true
    }
    #expect(fractions.count == 50 && fractions.last == 1 && fractions == fractions.sorted())
  }

  @Test func progressMayStop() {
    let weights = randomFloats(200 * 16, seed: 8)
    var calls = 0
    #expect(throws: CompressionError.cancelled) {
      try Code4Quantizer(.razerG16).quantize(weights.span, outputs: 200, inputs: 16) { _ in
        calls += 1
        return calls < 3
      }
    }
    #expect(calls == 3)
  }

  @Test func aCancelledTaskStops() async {
    let task = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      return try Code4Quantizer(.razerG16).quantize(randomFloats(32, seed: 9), outputs: 2, inputs: 16)
    }
    await #expect(throws: CompressionError.cancelled) { try await task.value }
  }

  @Test func bfloat16IsExact() throws {
    let weights = randomFloats(4 * 32, seed: 10).map { BFloat16($0) }
    let matrix = try Code4Quantizer(.razerG16).quantize(weights.span, outputs: 4, inputs: 32)
    #expect(try matrix == Code4Quantizer(.razerG16).quantize(weights.map { Float($0) }, outputs: 4, inputs: 32))
  }

  // MARK: Bad input

  private func error(
    _ quantizer: Code4Quantizer = Code4Quantizer(.razerG16), _ weights: [Float] = [1, 2, 3, 4, 5, 6], outputs: Int = 2,
    inputs: Int = 3
  ) -> CompressionError? {
    #expect(throws: CompressionError.self) { try quantizer.quantize(weights.span, outputs: outputs, inputs: inputs) }
  }

  @Test(arguments: [(0, 6), (6, 0), (-2, -3), (Int.max, 2)])
  func refusesShapes(outputs: Int, inputs: Int) {
    #expect(
      error(outputs: outputs, inputs: inputs) == .invalidShape(what: "weights to quantise", rows: outputs, columns: inputs))
  }

  @Test func refusesAWrongCount() {
    #expect(error(inputs: 4) == .sizeMismatch(what: "weights to quantise", expected: 8, got: 6))
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func refusesWeightsThatAreNotFinite(weight: Float) {
    for format in WeightFormat.code4Formats {
      #expect(error(Code4Quantizer(format), [1, 2, 3, 4, weight, .nan]) == .nonFiniteWeight(row: 1, column: 1))
    }
  }

  @Test func refusesAScaleThatOverflows() {
    var weights = [Float](repeating: 1, count: 3 * 130)
    weights[130 + 128] = -1e6
    weights[2 * 130] = 1e7
    #expect(
      error(Code4Quantizer(.razerG128), weights, outputs: 3, inputs: 130)
        == .scaleOverflow(format: "razer-g128", row: 1, group: 1))
  }

  @Test func takesTheLargestWeightsWhereTheTensorHasAScale() throws {
    let large = Float.greatestFiniteMagnitude
    for format in [WeightFormat.razerG16, .nvfp4] {
      let values = try Code4Quantizer(format).quantize([large, -large / 2, 0, 0], outputs: 2, inputs: 2).dequantized()
      #expect(values[0] > 0.99 * large && values[1] < -0.49 * large)
    }
  }

  @Test(arguments: [-1, Float.infinity])
  func refusesInputWeights(weight: Float) {
    #expect(
      error(Code4Quantizer(.razerG16, inputWeights: [1, weight, 1])) == .invalidInputWeight(column: 1, value: weight))
  }

  @Test func refusesAnInputWeightThatIsNoNumber() {
    #expect(
      error(Code4Quantizer(.razerG16, inputWeights: [1, 1, .nan]))?.description
        == "the importance of input 2 is nan; it must be finite and not negative")
  }

  @Test func refusesAWrongNumberOfInputWeights() {
    #expect(
      error(Code4Quantizer(.razerG16, inputWeights: [1])) == .sizeMismatch(what: "input weights", expected: 3, got: 1))
  }

  @Test func refusesOptions() {
    #expect(error(Code4Quantizer(.razerG16, refits: -1)) == .invalidOption(name: "refits", value: -1))
    #expect(error(Code4Quantizer(.razerG16, clips: [])) == .invalidOption(name: "the number of clips", value: 0))
    #expect(error(Code4Quantizer(.razerG16, clips: [1, 0])) == .invalidOption(name: "a clip", value: 0))
    #expect(error(Code4Quantizer(.razerG16, clips: [.infinity])) == .invalidOption(name: "a clip", value: .infinity))
  }
}
