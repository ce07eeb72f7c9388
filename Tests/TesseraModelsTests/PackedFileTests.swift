import Tessera
import Testing

@Suite struct PackedFileTests {
  private let folder = TemporaryFolder()

  /// Parts of the right sizes with counting bytes: what opening looks at.
  static func tensor(
    _ name: String, _ format: PackedFormat, rows: Int, columns: Int, nonZeroCount: Int? = nil, bias: Bool = false
  ) throws -> PackedTensor {
    let count = nonZeroCount ?? rows * columns
    let layout = try #require(format.parts(rows: rows, columns: columns, nonZeroCount: count))
    var parts: [String: MemoryRegion] = [:]
    for part in layout where !part.isOptional || bias {
      parts[part.name] = try region((0..<part.byteCount).map { UInt8(truncatingIfNeeded: $0 + part.name.utf8.count) })
    }
    return PackedTensor(name: name, format: format, rows: rows, columns: columns, nonZeroCount: count, parts: parts)
  }

  static func allFormats() throws -> [PackedTensor] {
    [
      try tensor("layers.0.dense", .bf16, rows: 17, columns: 33, bias: true),
      try tensor("layers.0.bf16 \"é\"", .bitmapBF16, rows: 33, columns: 7, nonZeroCount: 100),
      try tensor("layers.0.int8", .bitmapInt8, rows: 16, columns: 65, nonZeroCount: 0, bias: true),
      try tensor("embedding", .plainBF16, rows: 3, columns: 5), try tensor("norm", .plainF32, rows: 1, columns: 9),
    ]
  }

  /// The file that is cut, flipped and corrupted.
  static func smallFile() throws -> [UInt8] {
    let folder = TemporaryFolder()
    let path = folder.file("small.safetensors")
    let tensors = [
      try tensor("w", .bitmapInt8, rows: 2, columns: 3, nonZeroCount: 4, bias: true),
      try tensor("n", .plainF32, rows: 1, columns: 2),
    ]
    try PackedFile.write(tensors, metadata: ["k": "v"], to: path)
    return try readFile(path)
  }

  static func open(_ bytes: [UInt8], verifying: PackedFile.Verification = .checksums) throws -> PackedFile {
    try PackedFile(contents: region(bytes), file: "test", verifying: verifying)
  }

  static func expectEqual(_ a: [PackedTensor], _ b: [PackedTensor], _ comment: Comment? = nil) {
    #expect(a.map(\.name) == b.map(\.name), comment)
    #expect(a.map(\.format) == b.map(\.format), comment)
    #expect(a.map { [$0.rows, $0.columns, $0.nonZeroCount] } == b.map { [$0.rows, $0.columns, $0.nonZeroCount] }, comment)
    #expect(a.map { $0.parts.mapValues { Array($0.bytes) } } == b.map { $0.parts.mapValues { Array($0.bytes) } }, comment)
  }

  // MARK: Round trip

  @Test func readsBackWhatWasWritten() throws {
    let path = folder.file("model.safetensors")
    let tensors = try Self.allFormats()
    try PackedFile.write(tensors, metadata: ["model": "é\n", "a": ""], to: path)
    let file = try PackedFile.open(path)
    Self.expectEqual(file.tensors, tensors)
    #expect(file.metadata == ["model": "é\n", "a": ""])
    #expect(file["norm"]?.rows == 1)
    #expect(file["absent"] == nil)
    #expect(file.tensors.allSatisfy { $0.origin == .file(path: path) })
    for part in file.tensors.flatMap(\.parts) { #expect(Int(bitPattern: part.value.base) % 64 == 0, "\(part.key)") }

    let again = folder.file("again.safetensors")
    try PackedFile.write(file.tensors, metadata: file.metadata, to: again)
    #expect(try readFile(again) == readFile(path))
  }

  /// Names that change what Character the text before or after them ends in.
  @Test(arguments: ["\u{301}x", "x\u{301}", "\u{200D}", "\n", "e\u{301}\u{323}"])
  func namesAreBytes(name: String) throws {
    let path = folder.file("model.safetensors")
    try PackedFile.write([try Self.tensor(name, .plainF32, rows: 1, columns: 2)], to: path)
    #expect(try PackedFile.open(path).tensors.map { Array($0.name.utf8) } == [Array(name.utf8)])
  }

  @Test func anEmptyFileIsLegal() throws {
    let path = folder.file("empty.safetensors")
    try PackedFile.write([], to: path)
    #expect(try PackedFile.open(path).tensors.isEmpty)
  }

  @Test func partsOutliveTheFile() throws {
    let path = folder.file("model.safetensors")
    try PackedFile.write([try Self.tensor("n", .plainF32, rows: 1, columns: 2)], to: path)
    let part = try #require(try PackedFile.open(path)["n"]?.parts["values"])
    #expect(Array(part.bytes) == Array(6..<14))
  }

  @Test func refusesToWriteNamesAndKeysThatCannotBeRead() throws {
    let path = folder.file("model.safetensors")
    let one = try Self.tensor("n", .plainF32, rows: 1, columns: 2)
    func kind(_ tensors: [PackedTensor], _ metadata: [String: String] = [:]) -> String? {
      #expect(throws: WeightFileError.self) { try PackedFile.write(tensors, metadata: metadata, to: path) }?.kind
    }
    #expect(kind([one, one]) == "duplicateName")
    #expect(kind([try Self.tensor("a\0", .plainF32, rows: 1, columns: 1)]) == "invalidName")
    #expect(kind([try Self.tensor(String(repeating: "x", count: 250), .plainF32, rows: 1, columns: 1)]) == "invalidName")
    #expect(kind([one], ["tessera.x": ""]) == "wrongMetadata")
    #expect(folder.contents.isEmpty)
  }

  // MARK: Sizes

  @Test func sizesFollowTheKernelsLayouts() throws {
    func bytes(_ format: PackedFormat, _ rows: Int, _ columns: Int, _ count: Int) -> [String: Int]? {
      format.parts(rows: rows, columns: columns, nonZeroCount: count).map {
        Dictionary(uniqueKeysWithValues: $0.map { ($0.name, $0.byteCount) })
      }
    }
    #expect(bytes(.bf16, 17, 33, 561) == ["values": 2 * 16 * 64 * 2, "bias": 68])
    #expect(bytes(.bitmapBF16, 17, 33, 100) == ["values": 256 + 64, "bitmap": 2 * 2 * 64, "offsets": 24, "bias": 68])
    #expect(
      bytes(.bitmapInt8, 16, 65, 64)
        == ["values": 128, "bitmap": 2 * 128, "offsets": 16, "row_scale": 64, "row_sum": 64, "bias": 64])
    #expect(
      bytes(.weights(.bitmapRazerG128), 17, 65, 129)
        == [
          "codes": 256, "bitmap": 2 * 2 * 128, "offsets": 24, "scales": 2 * 16 * 2, "tensor_scale": 4, "special_values": 16,
          "bias": 68,
        ])
    for format in PackedFormat.allCases {
      #expect(bytes(format, 0, 1, 0) == nil)
      #expect(bytes(format, 1, 0, 0) == nil)
      #expect(bytes(format, -1, 1, -1) == nil)
      #expect(bytes(format, 2, 2, 5) == nil)
      #expect(bytes(format, 1 << 32, 1 << 32, 1) == nil)
      #expect(bytes(format, .max, 1, .max) == nil)
    }
    #expect(bytes(.bf16, 2, 2, 3) == nil)
  }

  // MARK: Damage

  @Test func everyTruncationIsAnError() throws {
    let whole = try Self.smallFile()
    for length in 0..<whole.count {
      #expect(throws: WeightFileError.self, "\(length) bytes") { try Self.open(Array(whole[..<length])) }
    }
    #expect(throws: WeightFileError.self) { try Self.open(whole + [0]) }
  }

  @Test func everyBitFlipIsAnErrorOrChangesNothing() throws {
    let whole = try Self.smallFile()
    let original = try Self.open(whole)
    var unnoticed = 0
    for bit in 0..<8 * whole.count {
      var damaged = whole
      damaged[bit / 8] ^= 1 << (bit % 8)
      guard let file = try? Self.open(damaged) else { continue }
      unnoticed += 1
      Self.expectEqual(file.tensors, original.tensors, "bit \(bit)")
      #expect(file.metadata == original.metadata, "bit \(bit)")
    }
    #expect(unnoticed == 0, "every byte of a packed file is covered by a rule")
  }

  /// With checksums unverified, damage may go through; it must not crash, nor hand out anything outside the file.
  @Test func randomDamageNeverCrashes() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("PackedFileTests.randomDamageNeverCrashes: seed \(seed)")
    var random = SeededGenerator(seed: seed)
    let whole = try Self.smallFile()
    for _ in 0..<1000 {
      var damaged = whole
      for _ in 0..<Int.random(in: 1...8, using: &random) {
        // Half of the damage goes to the header, which is a small part of the file's bytes but holds all the decisions.
        let end = Bool.random(using: &random) ? damaged.count : min(damaged.count, 700)
        if end == 0 { break }
        let place = Int.random(in: 0..<end, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: damaged[place] = UInt8.random(in: 0...255, using: &random)
        case 1: damaged[place] = UInt8(ascii: "0") + UInt8.random(in: 0..<10, using: &random)
        case 2: damaged.remove(at: place)
        default: damaged.insert(UInt8.random(in: 0...255, using: &random), at: place)
        }
      }
      if damaged.isEmpty { continue }
      for verification in [PackedFile.Verification.checksums, .structure] {
        let contents = try region(damaged)
        guard let file = try? PackedFile(contents: contents, file: "test", verifying: verification) else { continue }
        for part in file.tensors.flatMap(\.parts.values) {
          #expect(part.base >= contents.base && part.base + part.byteCount <= contents.base + damaged.count, "seed \(seed)")
        }
      }
    }
  }

  // MARK: Crafted files

  /// The small file with its header's text edited and its checksum made right again, so that only the edit can be what is
  /// refused.
  static func edited(_ edit: (String) -> String) throws -> [UInt8] {
    let whole = try smallFile()
    let length = Int(whole[0]) | Int(whole[1]) << 8
    let text = String(decoding: whole[8..<8 + length], as: UTF8.self)
    let changed = edit(text)
    precondition(changed != text, "the edit changed nothing")
    var header = Array(changed.utf8)
    // Trailing spaces are given back or taken, so that the data stays aligned.
    while header.last == UInt8(ascii: " ") { header.removeLast() }
    while (8 + header.count) % 64 != 0 { header.append(UInt8(ascii: " ")) }
    return safetensors(header: header, data: Array(whole[(8 + length)...]))
  }

  struct Edit: Sendable, CustomTestStringConvertible {
    let from: String
    let to: String
    let error: String
    var testDescription: String { "\(from) -> \(to)" }
  }

  static let edits: [Edit] = [
    Edit(from: #""tessera.version":"1","#, to: "", error: "wrongMetadata"),
    Edit(from: #""tessera.version":"1""#, to: #""tessera.version":"2""#, error: "unsupportedVersion"),
    Edit(from: #""tessera.version":"1""#, to: #""tessera.version": "1""#, error: "wrongMetadata"),
    Edit(from: #""tessera.version":"1""#, to: #""tessera.version":"""#, error: "unsupportedVersion"),
    Edit(from: #""tessera.checksum":"#, to: #""tessera.checksun":"#, error: "wrongMetadata"),
    Edit(from: #""tessera.checksum":""#, to: #""tessera.checksum":"\u0030"#, error: "wrongMetadata"),
    Edit(from: #""k":"v""#, to: #""tessera.k":"v""#, error: "wrongMetadata"),
    Edit(from: #"bitmap-int8"#, to: "bitmap-int9", error: "unknownType"),
    Edit(from: #"bitmap-int8"#, to: "bitmap-bf16", error: "unsupportedType"),
    Edit(from: #"\"rows\":2"#, to: #"\"rows\":3"#, error: "wrongByteCount"),
    Edit(from: #"\"rows\":2"#, to: #"\"rows\":0"#, error: "badShape"),
    Edit(from: #"\"rows\":2"#, to: #"\"rows\":9223372036854775807"#, error: "badShape"),
    Edit(from: #"\"rows\":2"#, to: #"\"rows\":9223372036854775808"#, error: "wrongMetadata"),
    Edit(from: #"\"rows\":2"#, to: #"\"rows\":-2"#, error: "wrongMetadata"),
    Edit(from: #"\"rows\":2,"#, to: "", error: "wrongMetadata"),
    Edit(from: #"\"rows\":2,"#, to: #"\"rows\":2,\"rows\":2,"#, error: "wrongMetadata"),
    Edit(from: #"\"rows\":2,"#, to: #"\"rows\":2,\"x\":2,"#, error: "wrongMetadata"),
    Edit(from: #"\"columns\":3"#, to: #"\"columns\":129"#, error: "wrongByteCount"),
    Edit(from: #"\"nonzeros\":4"#, to: #"\"nonzeros\":65"#, error: "badShape"),
    Edit(from: #"\"nonzeros\":4"#, to: #"\"nonzeros\":7"#, error: "badShape"),
    Edit(from: #"\"bitmap\":"#, to: #"\"bitmaq\":"#, error: "wrongMetadata"),
    Edit(from: #"\"bias\":"#, to: #"\"bibs\":"#, error: "wrongMetadata"),
    Edit(from: #"\"checksums\":{"#, to: #"\"checksums\":{\"stray\":\"0123456789abcdef\","#, error: "missingTensor"),
    Edit(from: #"\"checksums\":{"#, to: #"\"checksums\":{\"stray\":\"0123456789ABCDEF\","#, error: "wrongMetadata"),
    Edit(from: #"\"checksums\":{"#, to: #"\"checksums\":{\"stray\":\"0\","#, error: "wrongMetadata"),
    Edit(from: #"}}","tessera.tensor.n""#, to: #"}}}","tessera.tensor.n""#, error: "wrongMetadata"),
    Edit(from: #"tessera.tensor.n""#, to: #"tessera.tensor.m""#, error: "missingTensor"),
    Edit(from: #""w.bitmap":"#, to: #""w.bitmaq":"#, error: "missingTensor"),
    Edit(from: #""w.bias":"#, to: #""w.bibs":"#, error: "missingTensor"),
    Edit(from: #""w.row_sum":{"dtype":"I32""#, to: #""w.row_sum":{"dtype":"F32""#, error: "unsupportedType"),
    Edit(from: #""w.row_sum":{"dtype":"I32","shape":[2]"#, to: #""w.row_sum":{"dtype":"I32","shape":[2,1]"#, error: "badShape"),
    Edit(from: #""tessera.padding.0""#, to: #""stray""#, error: "wrongMetadata"),
    Edit(from: #""tessera.padding.0":{"dtype":"U8""#, to: #""tessera.padding.0":{"dtype":"I8""#, error: "corruptTensor"),
  ]

  @Test(arguments: edits)
  func refusesWhatContradictsTheDescription(_ edit: Edit) throws {
    let bytes = try Self.edited { $0.replacing(edit.from, with: edit.to, maxReplacements: 1) }
    let error = #expect(throws: WeightFileError.self) { try Self.open(bytes, verifying: .structure) }
    #expect(error?.kind == edit.error, "\(error.map(String.init(describing:)) ?? "")")
  }

  @Test func anUneditedFileOpensWithoutItsChecksum() throws {
    let bytes = try Self.edited { $0.replacing(#""k":"v""#, with: #""k":"w""#) }
    #expect(try Self.open(bytes, verifying: .structure).metadata == ["k": "w"])
    let error = #expect(throws: WeightFileError.self) { try Self.open(bytes) }
    #expect(error?.kind == "checksumMismatch")
  }

  @Test func namesThePartWhoseBytesChanged() throws {
    var bytes = try Self.smallFile()
    let header = try SafetensorsHeaderTests.parse(bytes)
    let bitmap = try #require(header["w.bitmap"])
    bytes[bitmap.offset + 5] ^= 0x10
    guard
      case .checksumMismatch(_, "w.bitmap", let expected, let got) = #expect(
        throws: WeightFileError.self, performing: { try Self.open(bytes) })
    else {
      Issue.record("another error")
      return
    }
    #expect(expected != got)
    #expect(try Self.open(bytes, verifying: .structure).tensors.count == 2)
  }

  @Test func refusesPaddingThatHoldsSomething() throws {
    var bytes = try Self.smallFile()
    let padding = try #require(try SafetensorsHeaderTests.parse(bytes).tensors.first { $0.name.hasPrefix("tessera.padding.") })
    bytes[padding.offset + padding.byteCount - 1] = 1
    let error = #expect(throws: WeightFileError.self) { try Self.open(bytes) }
    #expect(error?.kind == "corruptTensor")
  }

  @Test func refusesMisalignedParts() throws {
    // One byte of header more, and one less of padding nowhere: every part moves.
    let whole = try Self.smallFile()
    let length = Int(whole[0]) | Int(whole[1]) << 8
    let bytes = safetensors(header: Array(whole[8..<8 + length]) + [UInt8(ascii: " ")], data: Array(whole[(8 + length)...]))
    let error = #expect(throws: WeightFileError.self) { try Self.open(bytes, verifying: .structure) }
    #expect(error?.kind == "misaligned")
  }

  @Test func anOrdinarySafetensorsFileIsNoPackedFile() throws {
    let error = #expect(throws: WeightFileError.self) { try Self.open(safetensors("{}")) }
    #expect(error == .wrongMetadata(file: "test", key: "tessera.version", detail: "absent: this is no packed file"))
  }
}
