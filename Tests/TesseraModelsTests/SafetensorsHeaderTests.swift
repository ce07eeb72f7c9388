import Tessera
import Testing

@Suite struct SafetensorsHeaderTests {
  static func parse(_ bytes: [UInt8]) throws -> SafetensorsHeader {
    try bytes.withUnsafeBytes { try SafetensorsHeader(parsing: $0, file: "test") }
  }

  @Test func readsNamesTypesShapesAndOffsets() throws {
    let header = """
      {"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]}, "__metadata__" : {"format":"pt"},
       "\\u00e9\\ud83d\\ude00\\n\\/":{"data_offsets":[0,4],"shape":[],"dtype":"F32"}}   \("")
      """.replacing("\n", with: " ")
    let parsed = try Self.parse(safetensors(header, data: [UInt8](repeating: 7, count: 16)))
    #expect(parsed.metadata == ["format": "pt"])
    #expect(parsed.dataOffset == 8 + header.utf8.count)
    #expect(parsed.tensors.map(\.name) == ["é😀\n/", "b"])
    #expect(parsed["b"]?.shape == [2, 3])
    #expect(parsed["b"]?.type == .bf16)
    #expect(parsed["b"]?.offset == parsed.dataOffset + 4)
    #expect(parsed["b"]?.byteCount == 12)
    #expect(parsed["é😀\n/"]?.shape == [])
    #expect(parsed["c"] == nil)
  }

  @Test func emptyTensorsAndEmptyFilesAreLegal() throws {
    #expect(try Self.parse(safetensors("{}")).tensors.isEmpty)
    let header = #"{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"F32","shape":[0,5],"data_offsets":[0,0]}}"#
    #expect(try Self.parse(safetensors(header, data: [1])).tensors.map(\.name) == ["a", "b"])
  }

  @Test func everyTypeHasTheBitsOfTheFormat() throws {
    for type in SafetensorsType.allCases {
      let header = #"{"a":{"dtype":"\#(type.rawValue)","shape":[8],"data_offsets":[0,\#(type.bitCount)]}}"#
      let parsed = try Self.parse(safetensors(header, data: [UInt8](repeating: 0, count: type.bitCount)))
      #expect(parsed["a"]?.type == type)
    }
  }

  struct Culprit: Sendable, CustomTestStringConvertible {
    let what: String
    let bytes: [UInt8]
    let error: String
    var testDescription: String { what }
  }

  static func tensor(_ dtype: String, _ shape: String, _ offsets: String) -> String {
    #"{"a":{"dtype":"\#(dtype)","shape":\#(shape),"data_offsets":\#(offsets)}}"#
  }

  private static func length(_ value: UInt64, _ rest: [UInt8]) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) } + rest
  }

  private static let eight = [UInt8](repeating: 0, count: 8)
  private static func named(_ name: String) -> String { #"{"\#(name)":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"# }
  private static let good = #"{"dtype":"U8","shape":[4],"data_offsets":[0,4]}"#

  static let culprits: [Culprit] = [
    // The file and its length field.
    Culprit(what: "no bytes", bytes: [], error: "tooShort"),
    Culprit(what: "seven bytes", bytes: [2, 0, 0, 0, 0, 0, 0], error: "tooShort"),
    Culprit(what: "header length 0", bytes: length(0, Array("{}".utf8)), error: "headerLength"),
    Culprit(what: "header length 1", bytes: length(1, Array("{".utf8)), error: "headerLength"),
    Culprit(what: "header beyond the file", bytes: length(3, Array("{}".utf8)), error: "tooShort"),
    Culprit(what: "header length at the cap", bytes: length(100_000_000, Array("{}".utf8)), error: "tooShort"),
    Culprit(what: "header length above the cap", bytes: length(100_000_001, Array("{}".utf8)), error: "headerLength"),
    Culprit(what: "header length 2^63", bytes: length(1 << 63, Array("{}".utf8)), error: "headerLength"),
    Culprit(what: "header length 2^64 - 1", bytes: length(.max, Array("{}".utf8)), error: "headerLength"),
    Culprit(what: "header length 2^64 - 8", bytes: length(.max - 7, Array("{}".utf8)), error: "headerLength"),
    // JSON.
    Culprit(what: "leading space", bytes: safetensors(" {}"), error: "badMagic"),
    Culprit(what: "an array", bytes: safetensors("[]"), error: "badMagic"),
    Culprit(what: "GGUF", bytes: Array("GGUF".utf8) + [3, 0, 0, 0] + eight, error: "headerLength"),
    Culprit(what: "text after the object", bytes: safetensors("{} {}"), error: "malformedHeader"),
    Culprit(what: "line feed after the object", bytes: safetensors("{}\n"), error: "malformedHeader"),
    Culprit(what: "NUL after the object", bytes: safetensors("{}\0"), error: "malformedHeader"),
    Culprit(what: "object left open", bytes: safetensors(#"{"a":"#), error: "malformedHeader"),
    Culprit(what: "trailing comma", bytes: safetensors(named("a").dropLast() + ",}"), error: "malformedHeader"),
    Culprit(what: "string left open", bytes: safetensors(#"{"abc"#), error: "malformedHeader"),
    Culprit(what: "escape left open", bytes: safetensors("{\"abc\\"), error: "malformedHeader"),
    Culprit(what: "unknown escape", bytes: safetensors(named("\\x")), error: "malformedHeader"),
    Culprit(what: "short \\u", bytes: safetensors(named("\\u12g4")), error: "malformedHeader"),
    Culprit(what: "lead surrogate alone", bytes: safetensors(named("\\ud83d")), error: "malformedHeader"),
    Culprit(what: "lead surrogate twice", bytes: safetensors(named("\\ud83d\\ud83d")), error: "malformedHeader"),
    Culprit(what: "trail surrogate alone", bytes: safetensors(named("\\ude00")), error: "malformedHeader"),
    Culprit(what: "control character", bytes: safetensors(named("\u{1}")), error: "malformedHeader"),
    Culprit(
      what: "name not UTF-8", bytes: safetensors(header: named("?").utf8.map { $0 == UInt8(ascii: "?") ? 0xFF : $0 }),
      error: "malformedHeader"),
    Culprit(
      what: "name not UTF-8 after an escape",
      bytes: safetensors(header: named("\\n?").utf8.map { $0 == UInt8(ascii: "?") ? 0xC0 : $0 }),
      error: "malformedHeader"),
    Culprit(what: "nesting", bytes: safetensors(String(repeating: #"{"a":"#, count: 10_000)), error: "malformedHeader"),
    Culprit(
      what: "nested arrays", bytes: safetensors(tensor("U8", "[[4]]", "[0,4]"), data: [1, 2, 3, 4]), error: "malformedHeader"),
    // Names.
    Culprit(what: "empty name", bytes: safetensors(named("")), error: "invalidName"),
    Culprit(what: "257-byte name", bytes: safetensors(named(String(repeating: "n", count: 257))), error: "invalidName"),
    Culprit(
      what: "513-byte key", bytes: safetensors(#"{"__metadata__":{"\#(String(repeating: "k", count: 513))":""}}"#),
      error: "malformedHeader"),
    Culprit(what: "NUL in a name", bytes: safetensors(named("a\\u0000b")), error: "invalidName"),
    Culprit(
      what: "tensor twice", bytes: safetensors("{\"a\":\(good),\"a\":\(good)}", data: [1, 2, 3, 4]), error: "duplicateName"),
    Culprit(
      what: "tensor twice, once escaped", bytes: safetensors("{\"a\":\(good),\"\\u0061\":\(good)}", data: [1, 2, 3, 4]),
      error: "duplicateName"),
    Culprit(what: "metadata twice", bytes: safetensors(#"{"__metadata__":{},"__metadata__":{}}"#), error: "duplicateName"),
    Culprit(what: "metadata key twice", bytes: safetensors(#"{"__metadata__":{"a":"1","a":"2"}}"#), error: "duplicateName"),
    Culprit(
      what: "member twice", bytes: safetensors(#"{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#),
      error: "duplicateName"),
    // Metadata.
    Culprit(what: "metadata number", bytes: safetensors(#"{"__metadata__":{"a":1}}"#), error: "wrongMetadata"),
    Culprit(what: "metadata object", bytes: safetensors(#"{"__metadata__":{"a":{}}}"#), error: "wrongMetadata"),
    Culprit(what: "metadata null", bytes: safetensors(#"{"__metadata__":{"a":null}}"#), error: "wrongMetadata"),
    Culprit(what: "metadata array", bytes: safetensors(#"{"__metadata__":[]}"#), error: "malformedHeader"),
    // A tensor's members.
    Culprit(what: "no dtype", bytes: safetensors(#"{"a":{"shape":[0],"data_offsets":[0,0]}}"#), error: "malformedHeader"),
    Culprit(what: "no shape", bytes: safetensors(#"{"a":{"dtype":"U8","data_offsets":[0,0]}}"#), error: "malformedHeader"),
    Culprit(what: "no offsets", bytes: safetensors(#"{"a":{"dtype":"U8","shape":[0]}}"#), error: "malformedHeader"),
    Culprit(what: "one offset", bytes: safetensors(tensor("U8", "[0]", "[0]")), error: "malformedHeader"),
    Culprit(what: "three offsets", bytes: safetensors(tensor("U8", "[0]", "[0,0,0]")), error: "malformedHeader"),
    Culprit(
      what: "unknown member", bytes: safetensors(#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}}"#),
      error: "malformedHeader"),
    Culprit(what: "unknown type", bytes: safetensors(tensor("F7", "[0]", "[0,0]")), error: "unknownType"),
    Culprit(what: "type in lower case", bytes: safetensors(tensor("u8", "[0]", "[0,0]")), error: "unknownType"),
    Culprit(what: "negative dimension", bytes: safetensors(tensor("U8", "[-1]", "[0,0]")), error: "malformedHeader"),
    Culprit(what: "fraction", bytes: safetensors(tensor("U8", "[4.0]", "[0,4]"), data: [1, 2, 3, 4]), error: "malformedHeader"),
    Culprit(what: "exponent", bytes: safetensors(tensor("U8", "[4e0]", "[0,4]"), data: [1, 2, 3, 4]), error: "malformedHeader"),
    Culprit(
      what: "leading zero", bytes: safetensors(tensor("U8", "[04]", "[0,4]"), data: [1, 2, 3, 4]), error: "malformedHeader"),
    Culprit(what: "2^64", bytes: safetensors(tensor("U8", "[18446744073709551616]", "[0,0]")), error: "malformedHeader"),
    Culprit(what: "string as dimension", bytes: safetensors(tensor("U8", "[\"4\"]", "[0,4]")), error: "malformedHeader"),
    Culprit(
      what: "rank 9", bytes: safetensors(tensor("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), data: [1]), error: "malformedHeader"),
    // Shapes and extents.
    Culprit(what: "dimension 2^63", bytes: safetensors(tensor("U8", "[9223372036854775808,0]", "[0,0]")), error: "badShape"),
    Culprit(what: "product wraps to 0", bytes: safetensors(tensor("U8", "[4294967296,4294967296]", "[0,0]")), error: "badShape"),
    Culprit(
      what: "product times bits wraps", bytes: safetensors(tensor("F64", "[1152921504606846976]", "[0,0]")), error: "badShape"),
    Culprit(what: "half a byte", bytes: safetensors(tensor("F4", "[3]", "[0,2]"), data: [1, 2]), error: "badShape"),
    Culprit(
      what: "shape larger than extent", bytes: safetensors(tensor("F32", "[2]", "[0,4]"), data: [1, 2, 3, 4]),
      error: "wrongByteCount"),
    Culprit(
      what: "shape smaller than extent", bytes: safetensors(tensor("U8", "[3]", "[0,4]"), data: [1, 2, 3, 4]),
      error: "wrongByteCount"),
    Culprit(
      what: "end before begin", bytes: safetensors(tensor("U8", "[0]", "[0,0]").replacing("[0,0]", with: "[1,0]")),
      error: "overlapOrHole"),
    Culprit(
      what: "end beyond the file", bytes: safetensors(tensor("U8", "[5]", "[0,5]"), data: [1, 2, 3, 4]), error: "badExtent"),
    Culprit(
      what: "end 2^64 - 1", bytes: safetensors(tensor("U8", "[18446744073709551615]", "[0,18446744073709551615]")),
      error: "badExtent"),
    Culprit(
      what: "hole at the start", bytes: safetensors(tensor("U8", "[3]", "[1,4]"), data: [1, 2, 3, 4]), error: "overlapOrHole"),
    Culprit(
      what: "hole in the middle",
      bytes: safetensors(
        #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}"#,
        data: [1, 2, 3]),
      error: "overlapOrHole"),
    Culprit(
      what: "overlap",
      bytes: safetensors(
        #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
        data: [1, 2, 3]),
      error: "overlapOrHole"),
    Culprit(
      what: "the same bytes twice",
      bytes: safetensors(
        #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#,
        data: [1, 2]),
      error: "overlapOrHole"),
    Culprit(what: "trailing bytes", bytes: safetensors(tensor("U8", "[1]", "[0,1]"), data: [1, 2]), error: "trailingBytes"),
    Culprit(what: "data without tensors", bytes: safetensors("{}", data: [1]), error: "trailingBytes"),
  ]

  @Test(arguments: culprits)
  func refuses(_ culprit: Culprit) throws {
    let error = #expect(throws: WeightFileError.self) { try Self.parse(culprit.bytes) }
    #expect(error?.kind == culprit.error, "\(error.map(String.init(describing:)) ?? "")")
    #expect(error.map(String.init(describing:))?.hasPrefix("test: ") == true)
  }

  @Test func errorsCarryTheNumbers() {
    #expect(throws: WeightFileError.badExtent(file: "test", tensor: "a", offset: 0, byteCount: 5, available: 4)) {
      try Self.parse(safetensors(Self.tensor("U8", "[5]", "[0,5]"), data: [1, 2, 3, 4]))
    }
    #expect(throws: WeightFileError.malformedHeader(file: "test", position: 22, detail: "expected a non-negative integer")) {
      try Self.parse(safetensors(#"{"a":{"data_offsets":[-1,0]}}"#))
    }
  }

  @Test func everyTruncationIsAnError() throws {
    let first = #""a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}"#
    let second = #""b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#
    let whole = safetensors(
      #"{"__metadata__":{"k":"v"},\#(first),\#(second)}"#,
      data: [1, 2, 3, 4, 5, 6, 7, 8])
    _ = try Self.parse(whole)
    for length in 0..<whole.count {
      #expect(throws: WeightFileError.self, "\(length) bytes") { try Self.parse(Array(whole[..<length])) }
    }
  }
}
