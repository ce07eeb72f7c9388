import Tessera
import TesseraLayers
import Testing

@testable import TesseraCompression

@Suite struct PackingTests {
  /// What the quantiser means by codes and scales is what the kernels' packer means.
  @Test(arguments: WeightFormat.code4Formats)
  func packedWeightsAreTheMatrix(format: WeightFormat) throws {
    let (outputs, inputs) = (19, 200)
    let quantizer = Code4Quantizer(format, refits: 1, clips: [1, 0.9])
    let matrix = try quantizer.quantize(randomFloats(outputs * inputs, seed: 41), outputs: outputs, inputs: inputs)
    let packed = try matrix.packed()
    let unpacked = packed.unpacked()
    #expect(unpacked.codes == matrix.codes && unpacked.scales == matrix.scales)
    for (ours, theirs) in zip(matrix.dequantized(), packed.dequantized()) {
      #expect(abs(ours - theirs) <= 0x1p-22 * abs(ours))
    }
  }

  @Test func otherSpecialValuesArePacked() throws {
    let quantizer = try Code4Quantizer(.razerG16).with(specialValues: [5, -5, 7, -7])
    let matrix = try quantizer.quantize(randomFloats(16 * 64, seed: 42), outputs: 16, inputs: 64)
    #expect(try matrix.packed().code4.specialValues == [5, -5, 7, -7])
    #expect(try zip(matrix.dequantized(), matrix.packed().dequantized()).allSatisfy { abs($0 - $1) <= 0x1p-22 * abs($0) })
  }

  @Test(arguments: ActivationType.allCases)
  func aLayerIsQuantisedAndPackedInOneStep(activations: ActivationType) throws {
    let weights = randomFloats(20 * 130, seed: 44).map { BFloat16($0) }
    let bias = randomFloats(20, seed: 45)
    let quantizer = try Code4Quantizer(.razerG16, clips: [1, 0.9]).with(specialValues: [5, -5, 7, -7])
    let executor = try Executor(threads: 1)
    let layer = try RaZeRLinear(
      quantizing: weights.span, outputs: 20, inputs: 130, bias: bias, with: quantizer, activations: activations, on: executor)
    let packed = try quantizer.quantize(weights.span, outputs: 20, inputs: 130).packed(activations: activations, bias: bias)
    #expect(layer.weights.activations == activations && layer.weights.code4 == packed.code4)
    let x = randomFloats(130, seed: 46)
    #expect(try layer(x.span, rows: 1, on: executor) == RaZeRLinear(weights: packed)(x.span, rows: 1, on: executor))
  }

  @Test func aLayerSaysWhatIsWrong() throws {
    let weights = [BFloat16(1), BFloat16(2)]
    #expect(throws: CompressionError.sizeMismatch(what: "weights to quantise", expected: 3, got: 2)) {
      try RaZeRLinear(quantizing: weights.span, outputs: 1, inputs: 3)
    }
    #expect(throws: CompressionError.packing(.sizeMismatch(what: "bias", expected: 1, got: 2))) {
      try RaZeRLinear(quantizing: weights.span, outputs: 1, inputs: 2, bias: [1, 2])
    }
    #expect(throws: CompressionError.packing(.unsupportedActivations(.int8, format: .nf4G64))) {
      try RaZeRLinear(quantizing: weights.span, outputs: 1, inputs: 2, with: Code4Quantizer(.nf4G64), activations: .int8)
    }
  }

  @Test func packingRefusesAWrongBias() throws {
    let matrix = try Code4Quantizer(.fp4G128).quantize(randomFloats(16, seed: 43), outputs: 1, inputs: 16)
    #expect(throws: TesseraError.self) { try matrix.packed(bias: [1, 2]) }
  }
}

@Suite struct Code4MatrixTests {
  private func error(
    _ codes: [UInt8] = [1, 2, 3, 4], _ scales: [UInt16] = [0x3C00, 0x3C00], tensorScale: Float = 1, outputs: Int = 2,
    format: WeightFormat = .fp4G32
  ) -> CompressionError? {
    #expect(throws: CompressionError.self) {
      try Code4Matrix(
        format: format, outputs: outputs, inputs: 2, codes: codes, scales: scales, tensorScale: tensorScale)
    }
  }

  @Test func refusesShapes() { #expect(error(outputs: 0) == .invalidShape(what: "4-bit weights", rows: 0, columns: 2)) }

  @Test func refusesAWrongNumberOfCodes() { #expect(error([1, 2, 3]) == .sizeMismatch(what: "codes", expected: 4, got: 3)) }

  @Test func refusesAWrongNumberOfScales() {
    #expect(error([1, 2, 3, 4], [0]) == .sizeMismatch(what: "scales", expected: 2, got: 1))
  }

  @Test func refusesACode() {
    #expect(error([1, 2, 3, 16]) == .invalidBits(what: "code", row: 1, index: 1, bits: 16))
  }

  @Test(arguments: [0x7C00, 0xFE00] as [UInt16])
  func refusesAHalfThatIsNotFinite(bits: UInt16) {
    #expect(error([1, 2, 3, 4], [0, bits]) == .invalidBits(what: "scale", row: 1, index: 0, bits: Int(bits)))
  }

  @Test(arguments: [0x7F, 0xFF, 0x100] as [UInt16])
  func refusesAByteThatIsNoScale(bits: UInt16) {
    #expect(error([1, 2, 3, 4], [0, bits], format: .nvfp4) == .invalidBits(what: "scale", row: 1, index: 0, bits: Int(bits)))
  }

  @Test func refusesATensorScale() {
    #expect(error(tensorScale: .infinity) == .invalidOption(name: "the tensor scale", value: .infinity))
  }

  @Test func comparesOnlyWhatFits() throws {
    let matrix = try Code4Matrix(format: .fp4G32, outputs: 1, inputs: 2, codes: [2, 10], scales: [0x4000])
    #expect(matrix.dequantized() == [2, -2])
    #expect(try matrix.relativeSquaredError(to: [2, -1].span) == 0.2)
    #expect(throws: CompressionError.sizeMismatch(what: "weights to compare", expected: 2, got: 1)) {
      let one: [Float] = [1]
      return try matrix.relativeSquaredError(to: one.span)
    }
  }
}
