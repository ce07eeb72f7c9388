import Tessera
import Testing

@testable import TesseraCompression

@Suite struct PublishedRaZeRTests {
  private static let e2m1: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6]

  /// The scale of fp16 bits, by the definition.
  private func half(_ bits: UInt16) -> Float {
    let (exponent, mantissa) = (Int(bits >> 10 & 31), Float(bits & 1023))
    let magnitude =
      exponent == 0 ? mantissa * 0x1p-24 : (1024 + mantissa) * Float(sign: .plus, exponent: exponent - 25, significand: 1)
    return bits & 0x8000 == 0 ? magnitude : -magnitude
  }

  /// What each encoding's own kernel computes.
  private func value(_ encoding: RaZeREncoding, code: Int, bits: UInt16, selector: UInt8) -> Float {
    switch encoding {
    case .kernel:
      let magnitude = [0.5, 0, 1, 1.5, 2, 3, 4, 6][code >> 1] as Float
      let special = [5, 8, -5, -8][Int(selector)] as Float
      return (code == 3 ? special : code & 1 == 0 ? magnitude : -magnitude) * half(bits)
    case .cudaG128:
      let scale = half(bits & 0xBFFF)
      return (code == 0 ? (bits & 0x4000 == 0 ? 5 : 8) : Self.e2m1[code]) * scale
    case .cudaG16:
      let (exponent, mantissa) = (Int(bits >> 3 & 7), Float(bits & 7))
      let scale =
        exponent == 0 ? mantissa / 32 : (1 + mantissa / 8) * Float(sign: .plus, exponent: exponent - 3, significand: 1)
      let special = (bits & 0x40 == 0 ? 5 : 8) * (bits & 0x80 == 0 ? 1 : -1) as Float
      return (code == 0 ? special : Self.e2m1[code]) * scale
    case .marlin:
      // The special value is put below the sign bit of a negative zero.
      return (code == 8 ? -(bits & 1 == 0 ? 5 : 8) : Self.e2m1[code]) * half(bits & 0xFFFE)
    }
  }

  /// Stored scales with every special value, some of them negative where the encoding has that. Their scales need no rounding.
  private func scales(_ encoding: RaZeREncoding) -> (bits: [UInt16], selectors: [UInt8]) {
    let halves: [UInt16] = [0x0000, 0x0004, 0x2D5C, 0x3400, 0x3BFC]
    switch encoding {
    case .kernel: return (halves.flatMap { [$0, $0, $0, $0] }, halves.flatMap { _ in [0, 1, 2, 3] })
    case .cudaG128: return (halves.flatMap { [$0, $0 | 0x4000, $0 | 0x8000, $0 | 0xC000] }, [])
    case .cudaG16: return (Array(0...0xFF), [])
    case .marlin: return ((halves + [0x7BFC]).flatMap { [$0, $0 | 1, $0 | 0x8000, $0 | 0x8001] }, [])
    }
  }

  /// A row for each scale, with each code once.
  private func everything(_ encoding: RaZeREncoding) -> PublishedRaZeR {
    let (bits, selectors) = scales(encoding)
    return PublishedRaZeR(
      encoding, outputs: bits.count, inputs: 16, codes: bits.flatMap { _ in UInt8(0)..<16 }, scales: bits, selectors: selectors)
  }

  @Test(arguments: RaZeREncoding.allCases)
  func everyCodeKeepsItsValue(encoding: RaZeREncoding) throws {
    let published = everything(encoding)
    let matrix = try Code4Matrix(importing: published)
    #expect(matrix.format == encoding.format)
    for (index, value) in matrix.dequantized().enumerated() {
      let (row, code) = (index / 16, index % 16)
      let selector = encoding == .kernel ? published.selectors[row] : 0
      let expected = self.value(encoding, code: code, bits: published.scales[row], selector: selector)
      #expect(value == expected, "code \(code) under \(published.scales[row])")
      if matrix.codes[index] == 0 { #expect(value.sign == .plus, "a zero is +0") }
    }
  }

  @Test(arguments: RaZeREncoding.allCases)
  func thereAndBack(encoding: RaZeREncoding) throws {
    let published = everything(encoding)
    #expect(try PublishedRaZeR(Code4Matrix(importing: published), as: encoding) == published)
  }

  @Test(arguments: RaZeREncoding.allCases)
  func backAndThere(encoding: RaZeREncoding) throws {
    let (outputs, inputs) = (9, 300)
    let weights = randomFloats(outputs * inputs, seed: 51)
    let matrix = try Code4Quantizer(encoding.format, refits: 1).quantize(weights, outputs: outputs, inputs: inputs)
    #expect(try Code4Matrix(importing: PublishedRaZeR(matrix, as: encoding)) == matrix)
  }

  /// An fp16 scale has two bits more than are kept.
  @Test(
    arguments: [(0x3C00, 0x3C00), (0x3C01, 0x3C00), (0x3C02, 0x3C04), (0x3C03, 0x3C04), (0x7BFF, 0x7BFC)] as [(UInt16, UInt16)])
  func roundsHalves(bits: UInt16, expected: UInt16) throws {
    let published = PublishedRaZeR(.kernel, outputs: 1, inputs: 1, codes: [4], scales: [bits], selectors: [0])
    #expect(try Code4Matrix(importing: published).scales == [expected])
  }

  @Test func cudaHasNoScalesFrom2On() throws {
    let matrix = try Code4Matrix(format: .razerG128, outputs: 2, inputs: 1, codes: [1, 1], scales: [0x3C00, 0x4000])
    #expect(
      throws: CompressionError.unrepresentable(what: "cudaG128", row: 1, group: 0, detail: "its scale, 2.0, is not below 2")
    ) { try PublishedRaZeR(matrix, as: .cudaG128) }
  }

  @Test func otherMatricesAreNotStored() throws {
    let fp4 = try Code4Matrix(format: .fp4G128, outputs: 1, inputs: 1, codes: [1], scales: [0x3C00])
    #expect(throws: CompressionError.self) { try PublishedRaZeR(fp4, as: .kernel) }
    let sevens = try Code4Matrix(
      format: .razerG128, specialValues: [5, -5, 7, -7], outputs: 1, inputs: 1, codes: [1], scales: [0x3C00])
    #expect(throws: CompressionError.self) { try PublishedRaZeR(sevens, as: .kernel) }
  }

  // MARK: Bad input

  private func error(
    _ encoding: RaZeREncoding, _ codes: [UInt8] = [1, 2], _ scales: [UInt16] = [0, 0], _ selectors: [UInt8] = [], outputs: Int = 2
  ) -> CompressionError? {
    #expect(throws: CompressionError.self) {
      try Code4Matrix(
        importing: PublishedRaZeR(encoding, outputs: outputs, inputs: 1, codes: codes, scales: scales, selectors: selectors))
    }
  }

  @Test func refusesShapes() {
    #expect(error(.marlin, outputs: 0) == .invalidShape(what: "4-bit weights", rows: 0, columns: 1))
  }

  @Test func refusesWrongCounts() {
    #expect(error(.marlin, [1]) == .sizeMismatch(what: "codes", expected: 2, got: 1))
    #expect(error(.marlin, [1, 2], [0]) == .sizeMismatch(what: "scales", expected: 2, got: 1))
    #expect(error(.kernel) == .sizeMismatch(what: "selectors", expected: 2, got: 0))
    #expect(error(.marlin, [1, 2], [0, 0], [0, 0]) == .sizeMismatch(what: "selectors", expected: 0, got: 2))
  }

  @Test func refusesACode() {
    #expect(error(.marlin, [1, 16]) == .invalidBits(what: "code", row: 1, index: 0, bits: 16))
  }

  @Test func refusesASelector() {
    #expect(error(.kernel, [1, 2], [0, 0], [3, 4]) == .invalidBits(what: "selector", row: 1, index: 0, bits: 4))
  }

  @Test(arguments: [(RaZeREncoding.kernel, 0x7C00), (.kernel, 0x8001), (.cudaG16, 0x100), (.marlin, 0xFC00)])
  func refusesAScale(encoding: RaZeREncoding, bits: Int) {
    let selectors: [UInt8] = encoding == .kernel ? [0, 0] : []
    let expected = CompressionError.invalidBits(what: "scale", row: 1, index: 0, bits: bits)
    #expect(error(encoding, [1, 2], [0, UInt16(bits)], selectors) == expected)
  }
}
