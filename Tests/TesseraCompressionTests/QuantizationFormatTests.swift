import Testing

@testable import TesseraCompression

@Suite struct QuantizationFormatTests {
  @Test func codesOfRaZeRAreE2M1ButForTheSpecialValue() {
    let magnitudes: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    for format in [QuantizationFormat.razerG16, .razerG32, .razerG64, .razerG128] {
      for (selector, special) in [Float(5), -5, 8, -8].enumerated() {
        for code in 0..<8 { #expect(format.value(code: code, selector: selector) == magnitudes[code]) }
        #expect(format.value(code: 8, selector: selector) == special)
        for code in 9..<16 { #expect(format.value(code: code, selector: selector) == -magnitudes[code - 8]) }
      }
    }
    let zero = QuantizationFormat.fp4G32.value(code: 8, selector: 0)
    #expect(zero == 0 && zero.sign == .plus)
  }

  @Test func e3m3IsItsFormula() {
    for bits in UInt16(0)..<256 {
      let (exponent, mantissa) = (Int(bits & 63) >> 3, Float(bits & 7))
      let expected =
        exponent == 0 ? mantissa / 32 : (1 + mantissa / 8) * Float(sign: .plus, exponent: exponent - 3, significand: 1)
      #expect(QuantizationFormat.razerG16.scale(bits: bits) == expected)
      #expect(QuantizationFormat.razerG16.selector(bits: bits) == Int(bits >> 6))
    }
    #expect([0, 7, 8, 0x20, 0x3F].map { QuantizationFormat.razerG16.scale(bits: $0) } == [0, 7.0 / 32, 0.25, 2, 30])
  }

  @Test func e4m3IsItsFormula() {
    let format = QuantizationFormat.nvfp4
    #expect([0, 1, 8, 0x38, 0x7E].map { format.scale(bits: $0) } == [0, 0x1p-9, 0x1p-6, 1, 448])
    #expect(format.scale(bits: 0x7F).isNaN)
    #expect(format.selector(bits: 0x80) == 1 && format.scale(bits: 0xB8) == 1)
  }

  @Test func powersOfTwoAreAroundOne() {
    #expect([0, 32, 63, 0xE0].map { QuantizationFormat.mxfp4.scale(bits: $0) } == [0x1p-32, 1, 0x1p31, 1])
  }

  @Test(arguments: [(0x3C00, 1), (0xC000, -2), (0x0001, 0x1p-24), (0x7BFF, 65504), (0x0000, 0)] as [(UInt16, Float)])
  func halves(bits: UInt16, value: Float) { #expect(QuantizationFormat.fp4G32.scale(bits: bits) == value) }

  @Test func aSelectorDoesNotCountInItsHalf() {
    for selector in UInt16(0)..<4 {
      #expect(QuantizationFormat.razerG128.scale(bits: 0x3C04 | selector) == 1 + 0x1p-8)
      #expect(QuantizationFormat.razerG128.selector(bits: 0x3C04 | selector) == Int(selector))
    }
    #expect(QuantizationFormat.fp4G32.scale(bits: 0x7C00).isNaN, "infinity is no scale")
    #expect(QuantizationFormat.razerG128.scale(bits: 0x7C00).isNaN)
  }

  /// A group whose largest weight is 6 times a scale keeps exactly this scale, for every scale there is.
  @Test func everyScaleIsFoundAgain() throws {
    let formats: [(QuantizationFormat, ClosedRange<UInt16>, UInt16)] = [
      (.fp4G32, 1...0x7BFF, 1), (.razerG128, 4...0x7BFC, 4),
    ]
    for (format, bits, step) in formats {
      let all = Array(stride(from: bits.lowerBound, through: bits.upperBound, by: Int(step)))
      let weights = all.flatMap { [6 * format.scale(bits: $0)] }
      let matrix = try Code4Quantizer(format).quantize(weights, outputs: all.count, inputs: 1)
      #expect(matrix.scales == all)
      #expect(matrix.dequantized() == weights)
    }
  }

  @Test func bitsPerWeight() {
    #expect(
      QuantizationFormat.all.map(\.bitsPerWeight) == [4.5, 4.25, 4.25, 4.125, 4.5, 4.125, 4.5, 4.25, 4.25, 4.5, 4.5, 4.125])
  }

  @Test func takesOtherSpecialValues() throws {
    let format = try QuantizationFormat.razerG16.with(specialValues: [5, -5, 7, -7])
    #expect((0..<4).map { format.value(code: 8, selector: $0) } == [5, -5, 7, -7])
  }

  @Test(arguments: [[], [5, -5, 7, -7, 8], [5.25], [8.5], [.nan], [-.infinity]] as [[Float]])
  func refusesSpecialValues(values: [Float]) {
    #expect(throws: CompressionError.self) { try QuantizationFormat.razerG16.with(specialValues: values) }
  }

  @Test func refusesSpecialValuesOfAFormatWithoutThem() {
    #expect(throws: CompressionError.invalidSpecialValues([5])) { try QuantizationFormat.nvfp4.with(specialValues: [5]) }
  }
}
