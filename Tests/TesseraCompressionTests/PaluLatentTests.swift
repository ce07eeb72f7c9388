import TesseraLayers
import Testing

@testable import TesseraCompression

@Suite struct PaluLatentTests {
  private func dequantized(_ latent: [Float], bits: Int) throws -> [Float] {
    try LatentQuantizer(bits: bits).quantize(latent.span).dequantized
  }

  /// Relative L2 errors that were computed independently; 8 bits by the step, range / 255 / sqrt(12).
  @Test(arguments: zip([8, 4, 3, 2], [0.0064, 0.109, 0.235, 0.546]))
  func errorsOfGaussianRows(bits: Int, expected: Double) throws {
    let quantizer = try LatentQuantizer(bits: bits)
    var (error, energy) = (0.0, 0.0)
    for seed in 1...200 {
      let latent = randomFloats(256, seed: UInt64(seed))
      let row = quantizer.quantize(latent.span)
      for (h, restored) in zip(latent, row.dequantized) {
        if abs(h - restored) > row.scale / 2 * (1 + 1e-5) { Issue.record("\(h) became \(restored), scale \(row.scale)") }
        error += Double(h - restored) * Double(h - restored)
        energy += Double(h) * Double(h)
      }
    }
    let relative = (error / energy).squareRoot()
    #expect(abs(relative / expected - 1) < 0.03, "\(relative)")
  }

  @Test(arguments: [2, 3, 4, 8])
  func rowsOfOneSignDoNotSaturate(bits: Int) throws {
    for sign in [Float(1), -1] {
      let latent = (0..<64).map { sign * (100 + Float($0) / 7) }
      let row = try LatentQuantizer(bits: bits).quantize(latent.span)
      #expect(row.zero == (sign > 0 ? 0 : UInt8(1 << bits - 1)))
      for (h, restored) in zip(latent, row.dequantized) { #expect(abs(h - restored) <= row.scale / 2 * (1 + 1e-5)) }
    }
  }

  @Test(arguments: [2, 3, 4, 8])
  func constantRows(bits: Int) throws {
    let restored = try dequantized([Float](repeating: -2.5, count: 32), bits: bits)
    for value in restored { #expect(abs(value + 2.5) < 1e-5) }
    let zeros = try LatentQuantizer(bits: bits).quantize([0, 0, -0.0].span)
    #expect(zeros.dequantized == [0, 0, 0])
    #expect(zeros.scale == 1e-5 / Float(1 << bits - 1))
  }

  @Test func tiesGoToEvenCodes() throws {
    // scale 1, zero 1
    let row = try LatentQuantizer(bits: 2).quantize([-1, 2, 0.5, 1.5, -0.5].span)
    #expect(row.scale == 1 && row.zero == 1)
    #expect(row.codes == [0, 3, 1, 3, 1])
  }

  /// Both ends half-way between codes: rounded apart, they would need one code more than there is.
  @Test func theRangeNeverNeedsOneCodeMore() throws {
    let row = try LatentQuantizer(bits: 2).quantize([-1.5, 1.5].span)
    #expect(row.codes == [0, 3] && row.zero == 2)
    #expect(row.dequantized == [-2, 1])
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func whatIsNotFiniteIsNotHidden(value: Float) throws {
    let restored = try dequantized([1, value, -1], bits: 4)
    #expect(restored.count == 3 && restored.allSatisfy { $0.isNaN })
    let tooWide = try dequantized([.greatestFiniteMagnitude, -.greatestFiniteMagnitude], bits: 4)
    #expect(tooWide.allSatisfy { $0.isNaN })
  }

  @Test func anEmptyRow() throws { #expect(try dequantized([], bits: 4).isEmpty) }

  @Test(arguments: [0, 1, 5, 16])
  func otherBitsAreRefused(bits: Int) {
    #expect(throws: CompressionError.invalidOption(name: "bits of a latent", value: Double(bits))) {
      try LatentQuantizer(bits: bits)
    }
  }

  @Test func rotatedLatentsLoseLess() throws {
    let rank = 96
    let rotation = HadamardRotation(rank: rank)
    var random = SeededGenerator(seed: 8)
    var (plain, rotated) = (0.0, 0.0)
    for _ in 0..<100 {
      var latent = (0..<rank).map { 10 * random.gaussian() / Double(1 + $0) }
      let floats = latent.map { Float($0) }
      for (h, restored) in zip(floats, try dequantized(floats, bits: 3)) { plain += Double((h - restored) * (h - restored)) }
      rotation.apply(to: &latent)
      let turned = latent.map { Float($0) }
      for (h, restored) in zip(turned, try dequantized(turned, bits: 3)) { rotated += Double((h - restored) * (h - restored)) }
    }
    #expect(rotated < 0.7 * plain, "\(rotated), \(plain)")
  }
}
