import Tessera
import Testing

/// Weights through a file: packed, written, mapped, and multiplied from in place.
@Suite struct PackedWeightsFileTests {
  private let folder = TemporaryFolder()
  private static let (rows, columns) = (35, 70)

  /// Small integers, about half of them 0.
  private static func matrix() -> [Float] {
    var random = SeededGenerator(seed: 7)
    return (0..<rows * columns).map { _ in Bool.random(using: &random) ? 0 : Float(Int.random(in: -127...127, using: &random)) }
  }

  private func reopened(_ tensor: PackedTensor) throws -> PackedTensor {
    let path = folder.file("\(tensor.name).safetensors")
    try PackedFile.write([tensor], to: path)
    return try #require(try PackedFile.open(path)[tensor.name])
  }

  @Test func denseWeightsComeBack() throws {
    let matrix = Self.matrix().map { BFloat16($0) }
    let bias = (0..<Self.rows).map(Float.init)
    let weights = try DenseWeights(packing: matrix.span, outputs: Self.rows, inputs: Self.columns, bias: bias)
    let back = try #require(try reopened(weights.packedTensor(named: "w")).weights() as? DenseWeights)
    #expect(back.unpacked() == matrix)
    #expect(back.bias.map { Array($0.bytes) } == weights.bias.map { Array($0.bytes) })
  }

  @Test func bitmapWeightsComeBack() throws {
    let matrix = Self.matrix().map { BFloat16($0) }
    let weights = try BitmapWeights(packing: matrix.span, outputs: Self.rows, inputs: Self.columns)
    let back = try #require(try reopened(weights.packedTensor(named: "w")).weights() as? BitmapWeights)
    #expect(back.unpackedBFloat16() == matrix)
    #expect(back.bias == nil)
  }

  @Test func quantisedBitmapWeightsComeBack() throws {
    let weights = try BitmapWeights(quantizing: Self.matrix().span, outputs: Self.rows, inputs: Self.columns)
    let back = try #require(try reopened(weights.packedTensor(named: "w")).weights() as? BitmapWeights)
    #expect(back.unpackedInt8() == weights.unpackedInt8())
    #expect(back.rowScale.map { Array($0.bytes) } == weights.rowScale.map { Array($0.bytes) })
  }

  /// Codes of two rows of 40, every third of them 0.
  private static func bitmapCodes() throws -> Code4Weights {
    let codes: [UInt8] = (UInt8(0)..<80).map { $0 % 3 == 0 ? 0 : 1 + $0 % 15 }
    return try Code4Weights(packing: codes.span, scales: [0x3C01, 0x4002].span, format: .bitmapRazerG128, outputs: 2, inputs: 40)
  }

  @Test func codesUnderABitmapComeBack() throws {
    let weights = try Self.bitmapCodes()
    let tensor = try reopened(weights.packedTensor(named: "w"))
    #expect(tensor.nonZeroCount == 27)
    let back = try #require(try tensor.weights() as? Code4Weights)
    #expect(back.unpacked().codes == weights.unpacked().codes)
    #expect(back.dequantized() == weights.dequantized())
  }

  @Test(arguments: ["bitmap", "offsets"])
  func aBitmapOfCodesThatContradictsItselfNeverReachesAKernel(part: String) throws {
    try expectEveryFlippedBitIsRefused(of: part, in: Self.bitmapCodes().packedTensor(named: "w"))
  }

  @Test func aCountOfCodesThatTheContentsDenyIsRefused() throws {
    let honest = try Self.bitmapCodes().packedTensor(named: "w")
    let lying = PackedTensor(name: "w", format: honest.format, rows: 2, columns: 40, nonZeroCount: 54, parts: honest.parts)
    let tensor = try reopened(lying)
    let error = #expect(throws: WeightFileError.self) { try tensor.weights() }
    #expect(error?.kind == "corruptTensor")
  }

  @Test func plainTensorsAreNoWeightsOfAKernel() throws {
    let tensor = try reopened(PackedFileTests.tensor("norm", .plainF32, rows: 1, columns: 4))
    let error = #expect(throws: WeightFileError.self) { try tensor.weights() }
    #expect(error?.kind == "unsupportedType")
  }

  @Test(arguments: ["bitmap", "offsets", "row_sum"])
  func contentsThatContradictThemselvesNeverReachAKernel(part: String) throws {
    let weights = try BitmapWeights(quantizing: [3, 0, -1, 0, 0, 2].span, outputs: 2, inputs: 3)
    try expectEveryFlippedBitIsRefused(of: part, in: weights.packedTensor(named: "w"))
  }

  /// Every bit of a part that kernels steer by, flipped behind the checksums' back.
  private func expectEveryFlippedBitIsRefused(of part: String, in tensor: PackedTensor) throws {
    let path = folder.file("w.safetensors")
    try PackedFile.write([tensor], to: path)
    let whole = try readFile(path)
    let extent = try #require(try SafetensorsHeaderTests.parse(whole)["\(tensor.name).\(part)"])
    for bit in 0..<8 * extent.byteCount {
      var damaged = whole
      damaged[extent.offset + bit / 8] ^= 1 << (bit % 8)
      let tensor = try #require(try PackedFileTests.open(damaged, verifying: .structure)[tensor.name])
      let error = #expect(throws: WeightFileError.self, "bit \(bit)") { try tensor.weights() }
      #expect(error?.kind == "corruptTensor")
    }
  }

  @Test func aCountThatTheContentsDenyIsRefused() throws {
    let weights = try BitmapWeights(quantizing: [3, 0, -1, 0, 0, 2].span, outputs: 2, inputs: 3)
    let honest = weights.packedTensor(named: "w")
    let lying = PackedTensor(name: "w", format: .bitmapInt8, rows: 2, columns: 3, nonZeroCount: 4, parts: honest.parts)
    let tensor = try reopened(lying)
    let error = #expect(throws: WeightFileError.self) { try tensor.weights() }
    #expect(error?.kind == "corruptTensor")
  }
}
