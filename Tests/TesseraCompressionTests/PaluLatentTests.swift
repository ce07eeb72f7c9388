import Tessera
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

  /// What a cache holds is what this quantiser makes, bit for bit.
  @Test(arguments: [(2, KVFormat.affine2), (3, .affine3), (4, .affine4), (8, .affine8)], [32, 64, 96, 256])
  func cachesHoldTheseNumbers(form: (bits: Int, format: KVFormat), rank: Int) throws {
    let quantizer = try LatentQuantizer(bits: form.bits)
    let shape = try AttentionShape(queryHeads: 4, keyValueHeads: 4, keyDimension: 64)
    let matrix = [Float](repeating: 0, count: 4 * 64 * rank)
    let latentKeys = try LatentKeys([matrix], ranks: [rank], rotary: RotaryEmbedding(rotated: 64, theta: 10000), shape: shape)
    var cache = try KVCache(
      shape, keys: form.format, latentKeys: latentKeys, values: form.format,
      latentValues: LatentValues(fusedRanks: [rank], shape: shape))
    let rows = (0..<100).map { token -> [Float] in
      let scale: Float = [1, 1e-7, 3e4, 0, 1e-30][token % 5]
      return randomFloats(rank, seed: UInt64(token + 1)).map { $0 * scale + (token % 7 == 3 ? scale * 5 : 0) }
    }
    let all = rows.flatMap { $0 }
    try cache.append(keys: all.span, values: all.span)
    for (token, row) in rows.enumerated() {
      let wanted = quantizer.quantize(row.span).dequantized.map(\.bitPattern)
      #expect(cache.key(at: token, head: 0).map(\.bitPattern) == wanted, "token \(token)")
      #expect(cache.value(at: token, head: 0).map(\.bitPattern) == wanted, "token \(token)")
    }
    #expect(cache.bytesPerToken == 2 * LatentStorage.quantized(quantizer).bytes(rank: rank))
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
