import Tessera
import Testing

@testable import TesseraModels

/// One file per way to be wrong, each with the error that names the culprit and the numbers.
@Suite struct GGUFBadFileTests {
  @Test(arguments: BadFile.header + BadFile.metadata + BadFile.tensors + BadFile.data)
  func throwsTheErrorThatNamesTheCulprit(file: BadFile) {
    #expect(throws: file.error) { try GGUFFile(region: guardedRegion(file.bytes), path: "f") }
  }

  @Test func opensTheValidFilesThatTheBadOnesAreMadeFrom() throws {
    let file = try GGUFFile(region: guardedRegion(GGUFDraft.valid.bytes), path: "f")
    #expect(file.names == ["norm", "linear", "cube"])
    #expect(try file.shape(of: "cube") == [2, 2, 2] && file.shape(of: "linear") == [2, 32])
    #expect(try file.float32("norm") == [1, 0, 0])
    #expect(try file.strings("list") == ["a", "", "xyz"])
    #expect(try file.integers("numbers") == [-1, 2])
    #expect(try GGUFFile(region: guardedRegion(GGUFDraft.single.bytes), path: "f").float32("t") == [1])
  }

  @Test func opensVersion2AndFilesWithoutTensors() throws {
    var draft = GGUFDraft.single
    draft.version = 2
    #expect(try GGUFFile(region: guardedRegion(draft.bytes), path: "f").version == 2)
    #expect(try GGUFFile(region: guardedRegion(GGUFDraft().bytes), path: "f").names.isEmpty)
    #expect(try GGUFFile(region: guardedRegion(Array(GGUFDraft().bytes.prefix(24))), path: "f").names.isEmpty)
  }

  @Test func opensFilesWhoseLastTensorIsNotPadded() throws {
    let bytes = GGUFDraft.single.bytes
    #expect(try GGUFFile(region: guardedRegion(Array(bytes.dropLast(28))), path: "f").float32("t") == [1])
    #expect(throws: WeightFileError.trailingBytes(file: "f", expected: 96, got: 69)) {
      try GGUFFile(region: guardedRegion(Array(bytes.dropLast(27))), path: "f")
    }
  }

  @Test func honoursTheAlignmentOfTheFile() throws {
    var draft = GGUFDraft.valid
    draft.alignment = 256
    draft.metadata.append(entry("general.alignment", .uint32, little(256 as UInt32)))
    let file = try GGUFFile(region: guardedRegion(draft.bytes), path: "f")
    #expect(file.alignment == 256 && file.tensors.map(\.offset) == [0, 256, 512])
  }

  @Test func typesThatCannotBeDequantisedOpenAndFailWhenUsed() throws {
    var draft = GGUFDraft.single
    draft.tensors[0] = .init(name: Array("t".utf8), sizes: [256], type: 16, data: Array(repeating: 0, count: 66))
    let file = try GGUFFile(region: guardedRegion(draft.bytes), path: "f")
    #expect(try file.shape(of: "t") == [256] && file.bytes(of: "t").byteCount == 66)
    let error = WeightFileError.unsupportedType(
      file: "f", tensor: "t", type: "IQ2_XXS",
      supported: "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, MXFP4, NVFP4")
    #expect(throws: error) { try file.float32("t") }
    #expect(throws: error) { try file.bfloat16("t") }
  }

  @Test func namesThatAreNotThereAreErrors() throws {
    let file = try GGUFFile(region: guardedRegion(GGUFDraft.single.bytes), path: "f")
    let error = WeightFileError.missingTensor(file: "f", tensor: "u")
    #expect(throws: error) { try file.float32("u") }
    #expect(throws: error) { try file.bfloat16("u") }
    #expect(throws: error) { try file.shape(of: "u") }
    #expect(throws: error) { try file.bytes(of: "u") }
  }

  @Test func stringsOfInvalidUTF8FailWhenUsed() throws {
    var draft = GGUFDraft.single
    draft.metadata = [entry("list", .array, little(GGUFType.string) + little(1 as UInt64) + string([0xFF]))]
    let file = try GGUFFile(region: guardedRegion(draft.bytes), path: "f")
    #expect(throws: WeightFileError.wrongMetadata(file: "f", key: "list", detail: "is not an array of UTF-8 strings")) {
      try file.strings("list")
    }
  }
}

/// The header is 24 bytes; a metadata entry with the key "k" 13 bytes before its value; the record of the tensor "t" 33.
struct BadFile: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let bytes: [UInt8]
  let error: WeightFileError

  init(_ name: String, _ draft: GGUFDraft, _ error: WeightFileError) {
    self.init(name, bytes: draft.bytes, error)
  }

  init(_ name: String, bytes: [UInt8], _ error: WeightFileError) {
    self.testDescription = name
    self.bytes = bytes
    self.error = error
  }

  private static func single(_ change: (inout GGUFDraft) -> Void) -> GGUFDraft {
    var draft = GGUFDraft.single
    change(&draft)
    return draft
  }

  private static func tensor(_ change: (inout GGUFDraft.Tensor) -> Void) -> GGUFDraft {
    single { change(&$0.tensors[0]) }
  }

  private static func two(_ offset: UInt64) -> GGUFDraft {
    single { $0.tensors.append(.init(name: Array("u".utf8), sizes: [1], offset: offset, data: [0, 0, 0, 0])) }
  }

  private static func key(_ record: [UInt8]) -> GGUFDraft { single { $0.metadata = [record] } }

  static let header = [
    BadFile("nothing", bytes: [], .tooShort(file: "f", field: "the magic", needed: 4, available: 0)),
    BadFile(
      "another magic", single { $0.magic = Array("GGML".utf8) },
      .badMagic(file: "f", expected: Array("GGUF".utf8), got: Array("GGML".utf8))),
    BadFile("version 0", single { $0.version = 0 }, .unsupportedVersion(file: "f", got: "0", supported: "2, 3")),
    BadFile("version 1", single { $0.version = 1 }, .unsupportedVersion(file: "f", got: "1", supported: "2, 3")),
    BadFile("version 4", single { $0.version = 4 }, .unsupportedVersion(file: "f", got: "4", supported: "2, 3")),
    BadFile(
      "big-endian", single { $0.version = 3 << 24 },
      .unsupportedVersion(file: "f", got: "3, big-endian", supported: "2, 3")),
    BadFile(
      "2^64-1 tensors", single { $0.tensorCount = .max },
      .tooLarge(file: "f", what: "the tensor count", value: .max, limit: 8192)),
    BadFile(
      "2^63 metadata entries", single { $0.metadataCount = 1 << 63 },
      .tooLarge(file: "f", what: "the metadata count", value: 1 << 63, limit: 1024)),
    BadFile(
      "more tensors than bytes", single { $0.tensorCount = 8192 },
      .tooShort(file: "f", field: "the tensor records", needed: 8192 * 33, available: 72)),
    BadFile(
      "more metadata than bytes", single { $0.metadataCount = 1024 },
      .tooShort(file: "f", field: "the metadata", needed: 1024 * 14, available: 72)),
  ]

  static let metadata = [
    BadFile("empty key", key(entry("", .uint8, [1])), .invalidName(file: "f", name: "", detail: "is empty")),
    BadFile("key with NUL", key(entry("a\0", .uint8, [1])), .invalidName(file: "f", name: "a\0", detail: "contains NUL")),
    BadFile(
      "key of 1025 bytes", key(entry(String(repeating: "k", count: 1025), .uint8, [1])),
      .invalidName(file: "f", name: String(repeating: "k", count: 32) + "...", detail: "has 1025 bytes, more than 1024")),
    BadFile(
      "key of invalid UTF-8", key(string([0x6B, 0xC3]) + little(GGUFType.uint8) + [1]),
      .malformedHeader(file: "f", position: 32, detail: "a metadata key is not UTF-8")),
    BadFile(
      "key of 2^64-1 bytes", key(little(UInt64.max) + Array("kkkkkkkk".utf8)),
      .tooShort(file: "f", field: "a metadata key", needed: .max, available: 96)),
    BadFile(
      "key twice", single { $0.metadata = [entry("k", .uint8, [1]), entry("k", .int8, [1])] },
      .duplicateName(file: "f", name: "k")),
    BadFile(
      "unknown value type", key(string("k") + little(13 as UInt32) + [0]),
      .wrongMetadata(file: "f", key: "k", detail: "unknown value type 13")),
    BadFile("bool of 2", key(entry("k", .bool, [2])), .wrongMetadata(file: "f", key: "k", detail: "a bool of value 2")),
    BadFile(
      "string value of invalid UTF-8", key(entry("k", .string, string([0x80]))),
      .malformedHeader(file: "f", position: 45, detail: "k is not UTF-8")),
    BadFile(
      "array of arrays", key(entry("k", .array, little(GGUFType.array) + little(0 as UInt64))),
      .wrongMetadata(file: "f", key: "k", detail: "an array of arrays")),
    BadFile(
      "array of an unknown type", key(entry("k", .array, little(99 as UInt32) + little(0 as UInt64))),
      .wrongMetadata(file: "f", key: "k", detail: "unknown value type 99")),
    BadFile(
      "array of 2^62 numbers", key(entry("k", .array, little(GGUFType.uint32) + little(1 << 62 as UInt64))),
      .tooShort(file: "f", field: "k", needed: .max, available: 79)),
    BadFile(
      "array of 1000 strings", key(entry("k", .array, little(GGUFType.string) + little(1000 as UInt64))),
      .tooShort(file: "f", field: "k", needed: 8000, available: 79)),
    BadFile(
      "array whose string does not end",
      key(entry("k", .array, little(GGUFType.string) + little(1 as UInt64) + little(1 << 40 as UInt64))),
      .tooShort(file: "f", field: "k", needed: 1 << 40, available: 71)),
    BadFile(
      "alignment of another type", key(entry("general.alignment", .uint64, little(32 as UInt64))),
      .wrongMetadata(file: "f", key: "general.alignment", detail: "is not of type uint32")),
    alignment(0), alignment(4), alignment(48), alignment(1 << 21), alignment(1 << 31),
  ]

  private static func alignment(_ value: UInt32) -> BadFile {
    BadFile(
      "alignment \(value)", key(entry("general.alignment", .uint32, little(value))),
      .wrongMetadata(file: "f", key: "general.alignment", detail: "\(value) is no power of two in 8...1048576"))
  }

  static let tensors = [
    BadFile("empty name", tensor { $0.name = [] }, .invalidName(file: "f", name: "", detail: "is empty")),
    BadFile("name with NUL", tensor { $0.name = [0x74, 0] }, .invalidName(file: "f", name: "t\0", detail: "contains NUL")),
    BadFile(
      "name of 64 bytes", tensor { $0.name = Array(repeating: 0x74, count: 64) },
      .invalidName(file: "f", name: String(repeating: "t", count: 32) + "...", detail: "has 64 bytes, more than 63")),
    BadFile(
      "name of invalid UTF-8", tensor { $0.name = [0xFF] },
      .malformedHeader(file: "f", position: 32, detail: "a tensor's name is not UTF-8")),
    BadFile("name twice", single { $0.tensors += $0.tensors }, .duplicateName(file: "f", name: "t")),
    BadFile("rank 0", tensor { $0.sizes = [] }, shape([], "rank 0 is outside 1...4")),
    BadFile("rank 5", tensor { $0.sizes = [1, 1, 1, 1, 1] }, shape([], "rank 5 is outside 1...4")),
    BadFile("size 0", tensor { $0.sizes = [4, 0] }, shape([0, 4], "a size is 0")),
    BadFile("size 2^63", tensor { $0.sizes = [1 << 63] }, shape([1 << 63], "a size does not fit an Int")),
    BadFile(
      "product of 2^64", tensor { $0.sizes = [1 << 32, 1 << 32] },
      shape([1 << 32, 1 << 32], "the product of the sizes does not fit an Int")),
    BadFile("2^63 bytes", tensor { $0.sizes = [1 << 61] }, shape([1 << 61], "the bytes of a F32 tensor do not fit an Int")),
    BadFile("retired type", tensor { $0.type = 4 }, .unknownType(file: "f", tensor: "t", type: "4")),
    BadFile("type 2^32-1", tensor { $0.type = .max }, .unknownType(file: "f", tensor: "t", type: "4294967295")),
    BadFile(
      "rows that cut a block",
      tensor {
        $0.type = 2
        $0.sizes = [48, 2]
      },
      shape([2, 48], "rows are not a multiple of the 32 weights of a Q4_0 block")),
  ]

  private static func shape(_ shape: [UInt64], _ detail: String) -> WeightFileError {
    .badShape(file: "f", tensor: "t", shape: shape, detail: detail)
  }

  static let data = [
    BadFile(
      "offset 2^64-1", tensor { $0.offset = .max },
      .badExtent(file: "f", tensor: "t", offset: .max, byteCount: 0, available: 39)),
    BadFile("first tensor not at 0", tensor { $0.offset = 32 }, .overlapOrHole(file: "f", tensor: "t", expected: 0, got: 32)),
    BadFile("misaligned", two(33), .misaligned(file: "f", tensor: "u", offset: 33, alignment: 32)),
    BadFile("overlap", two(0), .overlapOrHole(file: "f", tensor: "u", expected: 32, got: 0)),
    BadFile("hole", two(64), .overlapOrHole(file: "f", tensor: "u", expected: 32, got: 64)),
    BadFile(
      "tensor larger than the file", tensor { $0.sizes = [9] },
      .badExtent(file: "f", tensor: "t", offset: 0, byteCount: 36, available: 32)),
    BadFile(
      "tensor of 2^62 bytes", tensor { $0.sizes = [1 << 60] },
      .badExtent(file: "f", tensor: "t", offset: 0, byteCount: 1 << 62, available: 32)),
    BadFile("one byte too many", single { $0.trailing = [0] }, .trailingBytes(file: "f", expected: 96, got: 97)),
    BadFile(
      "32 bytes too many", single { $0.trailing = Array(repeating: 0, count: 32) },
      .trailingBytes(file: "f", expected: 96, got: 128)),
  ]
}
