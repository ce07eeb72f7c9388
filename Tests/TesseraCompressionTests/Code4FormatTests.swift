import CCompression
import Tessera
import Testing

@testable import TesseraCompression

@Suite struct Code4FormatTests {
  private func code4(_ format: WeightFormat) throws -> Code4Format { try #require(format.code4) }

  @Test func codesOfRaZeRAreE2M1ButForTheSpecialValue() throws {
    let magnitudes: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    for format in try [WeightFormat.razerG16, .razerG32, .razerG64, .razerG128].map(code4) {
      for (selector, special) in [Float(5), -5, 8, -8].enumerated() {
        for code in 0..<8 { #expect(format.value(code: code, selector: selector) == magnitudes[code]) }
        #expect(format.value(code: 8, selector: selector) == special)
        for code in 9..<16 { #expect(format.value(code: code, selector: selector) == -magnitudes[code - 8]) }
      }
    }
    let zero = try code4(.fp4G32).value(code: 8, selector: 0)
    #expect(zero == 0 && zero.sign == .plus)
  }

  @Test func e3m3IsItsFormula() throws {
    let format = try code4(.razerG16)
    for bits in UInt16(0)..<256 {
      let (exponent, mantissa) = (Int(bits & 63) >> 3, Float(bits & 7))
      let expected =
        exponent == 0 ? mantissa / 32 : (1 + mantissa / 8) * Float(sign: .plus, exponent: exponent - 3, significand: 1)
      #expect(format.scale(bits: bits) == expected)
      #expect(format.selector(bits: bits) == Int(bits >> 6))
    }
    #expect([0, 7, 8, 0x20, 0x3F].map { format.scale(bits: $0) } == [0, 7.0 / 32, 0.25, 2, 30])
  }

  @Test func e4m3IsItsFormula() throws {
    let format = try code4(.nvfp4)
    #expect([0, 1, 8, 0x38, 0x7E].map { format.scale(bits: $0) } == [0, 0x1p-9, 0x1p-6, 1, 448])
    #expect(format.scale(bits: 0x7F).isNaN)
    #expect(format.selector(bits: 0x80) == 1 && format.scale(bits: 0xB8) == 1)
  }

  @Test func powersOfTwoAreAroundOne() throws {
    let format = try code4(.mxfp4)
    #expect([0, 32, 63, 0xE0].map { format.scale(bits: $0) } == [0x1p-32, 1, 0x1p31, 1])
  }

  @Test(arguments: [(0x3C00, 1), (0xC000, -2), (0x0001, 0x1p-24), (0x7BFF, 65504), (0x0000, 0)] as [(UInt16, Float)])
  func halves(bits: UInt16, value: Float) throws { #expect(try code4(.fp4G32).scale(bits: bits) == value) }

  @Test func aSelectorDoesNotCountInItsHalf() throws {
    let format = try code4(.razerG128)
    for selector in UInt16(0)..<4 {
      #expect(format.scale(bits: 0x3C04 | selector) == 1 + 0x1p-8)
      #expect(format.selector(bits: 0x3C04 | selector) == Int(selector))
    }
    #expect(try !code4(.fp4G32).scale(bits: 0x7C00).isFinite, "infinity is no scale")
    #expect(!format.scale(bits: 0x7C00).isFinite)
  }

  /// A group whose largest weight is 6 times a scale keeps exactly this scale, for every scale there is.
  @Test func everyScaleIsFoundAgain() throws {
    let formats: [(WeightFormat, ClosedRange<UInt16>, UInt16)] = [
      (.fp4G32, 1...0x7BFF, 1), (.razerG128, 4...0x7BFC, 4),
    ]
    for (format, bits, step) in formats {
      let code4 = try code4(format)
      let all = Array(stride(from: bits.lowerBound, through: bits.upperBound, by: Int(step)))
      let weights = all.flatMap { [6 * code4.scale(bits: $0)] }
      let matrix = try Code4Quantizer(format).quantize(weights, outputs: all.count, inputs: 1)
      #expect(matrix.scales == all)
      #expect(matrix.dequantized() == weights)
    }
  }

  /// The search and the kernels mean the same by a stored scale.
  @Test(arguments: Code4Format.Scale.allCases)
  func theSearchReadsScalesAsKernelsDo(scale: Code4Format.Scale) {
    let format = Code4Format(group: 128, scale: scale, values: [])
    for bits in 0...(scale.byteCount == 1 ? UInt16(0xFF) : 0xFFFF) {
      let (searched, stored) = (cc_scale_value(UInt32(bits), scale.searchType), format.scale(bits: bits))
      #expect(searched == stored || !(searched.isFinite || stored.isFinite), "\(bits)")
    }
  }

  @Test func quantisesToOtherSpecialValues() throws {
    let quantizer = try Code4Quantizer(.razerG16).with(specialValues: [5, -5, 7, -7])
    #expect((0..<4).map { quantizer.code4.value(code: 8, selector: $0) } == [5, -5, 7, -7])
    #expect(try quantizer.quantize([7, 6, 4, -6], outputs: 1, inputs: 4).codes == [8, 7, 6, 15])
  }

  @Test(arguments: [[], [5, -5, 7, -7, 8], [5.25], [8.5], [.nan], [-.infinity]] as [[Float]])
  func refusesSpecialValues(values: [Float]) {
    #expect(throws: CompressionError.self) { try Code4Quantizer(.razerG16).with(specialValues: values) }
  }

  @Test func refusesSpecialValuesOfAFormatWithoutThem() {
    #expect(throws: CompressionError.invalidSpecialValues([5])) { try Code4Quantizer(.nvfp4).with(specialValues: [5]) }
  }
}
