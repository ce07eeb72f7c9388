import Tessera
import TesseraModels
import Testing

@testable import TesseraCompression

@Suite struct GGUFImportTests {
  /// A file of one tensor "t" of two rows.
  private func file(_ type: GGUFTensorType, blocks: [[UInt8]]) throws -> GGUFFile {
    func little(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
    var bytes = Array("GGUF".utf8) + little(UInt32(3)) + little(UInt64(1)) + little(UInt64(0))
    bytes += little(UInt64(1)) + Array("t".utf8) + little(UInt32(2))
    bytes += little(UInt64(blocks.count / 2 * type.block.weights)) + little(UInt64(2))
    bytes += little(type.rawValue) + little(UInt64(0))
    bytes += [UInt8](repeating: 0, count: (32 - bytes.count % 32) % 32)
    bytes += blocks.joined()
    bytes += [UInt8](repeating: 0, count: (32 - bytes.count % 32) % 32)
    let region = try MemoryRegion(byteCount: bytes.count) { $0.copyBytes(from: bytes) }
    return try GGUFFile(region: region, path: "memory")
  }

  private func randomBlocks(_ type: GGUFTensorType, scale: (inout SeededGenerator) -> [UInt8]) -> [[UInt8]] {
    var random = SeededGenerator(seed: 51)
    return (0..<8).map { _ in
      let scale = scale(&random)
      return scale + (scale.count..<type.block.bytes).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }
  }

  /// Bit for bit what the file's own formulas give, but for the sign of zeros.
  private func expectSame(_ matrix: Code4Matrix, as file: GGUFFile) throws {
    let expected = try file.float32("t").map { $0 == 0 ? 0 : $0 }
    #expect(matrix.dequantized().map { $0 == 0 ? 0 : $0 } == expected)
    #expect(matrix.outputs == 2 && matrix.outputs * matrix.inputs == expected.count)
  }

  @Test func q4_0IsInt4() throws {
    let blocks = randomBlocks(.q4_0) { random in
      [UInt8.random(in: 0...255, using: &random), UInt8.random(in: 0...0x7B, using: &random)]
    }
    // Negative, denormal and zero scales.
    let special = blocks.enumerated().map { index, block -> [UInt8] in
      [[0x12, 0xB4], [0x01, 0x00], [0x00, 0x80]].indices.contains(index)
        ? [[0x12, 0xB4], [0x01, 0x00], [0x00, 0x80]][index] + block.dropFirst(2) : block
    }
    let file = try file(.q4_0, blocks: special)
    let matrix = try Code4Matrix(importing: "t", of: file)
    #expect(matrix.format == .int4G32)
    try expectSame(matrix, as: file)
  }

  /// The file reader has no formula for iq4_nl: the codes and scales are checked where they lie.
  @Test func iq4NLKeepsCodesAndScales() throws {
    let blocks = randomBlocks(.iq4_nl) { random in [UInt8.random(in: 0...255, using: &random), 0x2C] }
    let matrix = try Code4Matrix(importing: "t", of: file(.iq4_nl, blocks: blocks))
    #expect(matrix.format == .iq4NL)
    for (index, block) in blocks.enumerated() {
      #expect(matrix.scales[index] == UInt16(block[0]) | 0x2C00)
      let codes = block.dropFirst(2).map { $0 & 15 } + block.dropFirst(2).map { $0 >> 4 }
      #expect(Array(matrix.codes[index * 32..<(index + 1) * 32]) == codes)
    }
  }

  @Test(arguments: [(64, 127), (127, 190), (0, 63), (191, 254)] as [(UInt8, UInt8)])
  func mxfp4KeepsItsExponents(least: UInt8, most: UInt8) throws {
    var ends = [least, most].makeIterator()
    let blocks = randomBlocks(.mxfp4) { random in [ends.next() ?? UInt8.random(in: least...most, using: &random)] }
    let file = try file(.mxfp4, blocks: blocks)
    let matrix = try Code4Matrix(importing: "t", of: file)
    #expect(matrix.format == .mxfp4 && !matrix.codes.contains(8))
    try expectSame(matrix, as: file)
  }

  @Test func mxfp4GroupsOfZerosHaveNoExponent() throws {
    var blocks = randomBlocks(.mxfp4) { _ in [127] }
    blocks[3] = [255] + [UInt8](repeating: 0x80, count: 16)
    blocks[4] = [0] + [UInt8](repeating: 0x08, count: 16)
    let matrix = try Code4Matrix(importing: "t", of: file(.mxfp4, blocks: blocks))
    #expect(matrix.scales[3] == 0 && matrix.scales[4] == 0)
    let values = matrix.dequantized()[96..<160]
    #expect(values.allSatisfy { $0 == 0 && $0.sign == .plus })
  }

  @Test func nvfp4KeepsItsScales() throws {
    let blocks = randomBlocks(.nvfp4) { random in (0..<4).map { _ in UInt8.random(in: 0...0x7E, using: &random) } }
    let special = blocks.enumerated().map { $0 == 0 ? [0x7F, 0x80, 0x01, 0xB8] + $1.dropFirst(4) : $1 }
    let file = try file(.nvfp4, blocks: special)
    let matrix = try Code4Matrix(importing: "t", of: file)
    #expect(matrix.format == .nvfp4 && !matrix.codes.contains(8))
    #expect(Array(matrix.scales.prefix(4)) == [0, 0, 1, 0x38])
    try expectSame(matrix, as: file)
    #expect(try Code4Matrix(importing: "t", of: file, tensorScale: 0.25).dequantized() == matrix.dequantized().map { $0 / 4 })
  }

  // MARK: What has no counterpart

  private func error(_ type: GGUFTensorType, _ blocks: [[UInt8]], tensorScale: Float = 1) throws -> CompressionError? {
    let file = try file(type, blocks: blocks)
    return #expect(throws: CompressionError.self) { try Code4Matrix(importing: "t", of: file, tensorScale: tensorScale) }
  }

  @Test(arguments: [GGUFTensorType.q4_0, .iq4_nl])
  func refusesAHalfThatIsNotFinite(type: GGUFTensorType) throws {
    var blocks = randomBlocks(type) { _ in [0, 0x3C] }
    blocks[6][1] = 0xFC
    #expect(try error(type, blocks) == .unrepresentable(what: "t", row: 1, group: 2, detail: "its scale is not finite"))
  }

  @Test func refusesExponentsTooFarApart() throws {
    var blocks = randomBlocks(.mxfp4) { _ in [127] }
    blocks[5][0] = 127 - 64
    #expect(
      try error(.mxfp4, blocks)
        == .unrepresentable(
          what: "t", row: 1, group: 1,
          detail: "its scale is 2^-64, the largest of the tensor 2^0: at most 2^63 lie between them"))
  }

  @Test func refusesAnExponentThatIsNaN() throws {
    var blocks = randomBlocks(.mxfp4) { _ in [127] }
    blocks[1][0] = 255
    #expect(try error(.mxfp4, blocks) == .unrepresentable(what: "t", row: 0, group: 1, detail: "its scale is NaN"))
  }

  @Test func refusesASmallFloatThatIsNaN() throws {
    var blocks = randomBlocks(.nvfp4) { _ in [1, 2, 3, 4] }
    blocks[4][3] = 0xFF
    #expect(try error(.nvfp4, blocks) == .unrepresentable(what: "t", row: 1, group: 3, detail: "its scale is -NaN"))
  }

  @Test func refusesOtherTypes() throws {
    #expect(try error(.q8_0, randomBlocks(.q8_0) { _ in [0, 0] }) == .unsupportedType("Q8_0"))
  }

  @Test func refusesATensorScaleWhereThereIsNone() throws {
    let blocks = randomBlocks(.q4_0) { _ in [0, 0] }
    #expect(try error(.q4_0, blocks, tensorScale: 2) == .invalidOption(name: "the tensor scale", value: 2))
  }

  @Test func refusesAMissingTensor() throws {
    let file = try file(.q4_0, blocks: randomBlocks(.q4_0) { _ in [0, 0] })
    #expect(throws: WeightFileError.self) { try Code4Matrix(importing: "u", of: file) }
  }
}
