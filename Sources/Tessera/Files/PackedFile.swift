/// Weights in packed form, mapped from a file and used in place.
///
/// The container is safetensors, so other tools can list and read the parts; Docs/Formats.md gives every byte and numbers the
/// rules that opening checks. What opening does not check is the inside of the parts: turning a tensor into weights does, before
/// a kernel sees them.
public struct PackedFile: Sendable {
  /// How much of a file is checked when it is opened. Structure always is.
  public enum Verification: Sendable {
    /// Also the checksums of the header and of every part: reads the whole file once.
    case checksums
    /// Sizes, types and descriptions only: for a file that was verified before, or that is inspected without being run.
    case structure
  }

  /// In the order of their bytes in the file.
  public let tensors: [PackedTensor]
  /// What the writer was given; the keys that begin with `tessera.` are left out.
  public let metadata: [String: String]
  /// What errors call the file: the path that was opened.
  public let file: String
  private let indices: [String: Int]
  private let prelude: PackedPrelude
  /// By tensor and part, as the file has them.
  private let recordedChecksums: [String: [String: UInt64]]

  /// The tensor of a name, or nil.
  public subscript(name: String) -> PackedTensor? { indices[name].map { tensors[$0] } }

  /// The tensor of a name that must be there.
  /// - Throws: `missingTensor`.
  public func tensor(named name: String) throws(WeightFileError) -> PackedTensor {
    guard let tensor = self[name] else { throw .missingTensor(file: file, tensor: name) }
    return tensor
  }

  /// Whether a file calls itself a packed one, whole or damaged; false for what cannot be opened.
  public static func isPacked(_ path: String) -> Bool {
    guard let file = try? MappedFile(path: path) else { return false }
    return file.withBytes { bytes in
      if bytes.count > 8, bytes[8...].starts(with: PackedPrelude.text) { return true }
      let header = try? SafetensorsHeader(parsing: bytes, file: path)
      return header?.metadata.keys.contains { $0.hasPrefix("tessera.") } ?? false
    }
  }

  /// Maps the file and checks it. The mapping lives as long as any part of any of its tensors.
  /// - Parameters:
  ///   - path: a file that `PackedFile.write` wrote.
  ///   - verification: whether checksums are compared too.
  /// - Throws: what is wrong, with the tensor, the field and the numbers.
  public static func open(
    _ path: String, verifying verification: Verification = .checksums
  ) throws(WeightFileError) -> PackedFile {
    try PackedFile(contents: MappedFile(path: path).region, file: path, verifying: verification)
  }

  /// The same for a file that is already in memory, at a 64-byte aligned address.
  /// - Parameters:
  ///   - contents: the whole file; the tensors' parts lie inside it and keep it alive.
  ///   - file: what errors call it.
  ///   - verification: whether checksums are compared too.
  public init(
    contents: MemoryRegion, file: String, verifying verification: Verification = .checksums
  ) throws(WeightFileError) {
    defer { withExtendedLifetime(contents) {} }
    let header = try SafetensorsHeader(parsing: contents.bytes, file: file)
    let prelude = PackedPrelude(contents: contents, header: header, file: file)
    try prelude.checkVersion()
    if verification == .checksums { try prelude.checkHeader() }

    var described: [String: PackedDescription] = [:]
    var metadata: [String: String] = [:]
    for (key, value) in header.metadata {
      if let name = PackedDescription.tensor(ofKey: key) {
        described[name] = try PackedDescription(parsing: value, ofTensor: name, file: file)
      } else if !key.hasPrefix("tessera.") {
        metadata[key] = value
      } else if !PackedPrelude.keys.contains(key) {
        throw WeightFileError.wrongMetadata(file: file, key: key, detail: "no key of version \(PackedPrelude.version)")
      }
    }
    var loader = PackedLoader(contents: contents, header: header, file: file, verification: verification)
    // Sorted, so that of several faults the same one is reported each time.
    for (name, description) in described.sorted(by: { $0.key < $1.key }) { try loader.load(name, description) }
    tensors = try loader.finish()
    self.metadata = metadata
    self.file = file
    self.prelude = prelude
    recordedChecksums = described.mapValues(\.checksums)
    indices = Dictionary(uniqueKeysWithValues: tensors.enumerated().map { ($1.name, $0) })
  }

  /// Compares the header's checksum: what a file that was opened by its structure may still be asked for.
  /// - Throws: `checksumMismatch` for `__metadata__`.
  public func verifyHeader() throws(WeightFileError) { try prelude.checkHeader() }

  /// Compares the checksums of a tensor's parts, which reads all of it.
  /// - Throws: `missingTensor`, `checksumMismatch` naming the part.
  public func verify(_ name: String) throws(WeightFileError) {
    let tensor = try tensor(named: name)
    for (part, recorded) in (recordedChecksums[name] ?? [:]).sorted(by: { $0.key < $1.key }) {
      guard let contents = tensor.parts[part] else { continue }
      try Checksum.check(contents.bytes, of: "\(name).\(part)", recorded: recorded, file: file)
    }
  }
}

/// The first bytes of the header, which every packed file begins with (rules P1 and P4):
///
///     {"__metadata__":{"tessera.version":"1","tessera.checksum":"0123456789abcdef"
///
/// The checksum is XXH64 of the header's bytes with these sixteen digits written as zeros.
struct PackedPrelude: Sendable {
  static let version = "1"
  static let versionKey = "tessera.version"
  static let checksumKey = "tessera.checksum"
  static let keys: Set<String> = [versionKey, checksumKey]
  static let blankDigits = String(repeating: "0", count: Checksum.digitCount)
  /// Everything before the digits, counted from the start of the header.
  static let text = Array("{\"__metadata__\":{\"\(versionKey)\":\"\(version)\",\"\(checksumKey)\":\"".utf8)

  let contents: MemoryRegion
  let header: SafetensorsHeader
  let file: String

  /// Rule P1.
  func checkVersion() throws(WeightFileError) {
    guard let version = header.metadata[PackedPrelude.versionKey] else {
      throw WeightFileError.wrongMetadata(file: file, key: PackedPrelude.versionKey, detail: "absent: this is no packed file")
    }
    guard version.utf8.elementsEqual(PackedPrelude.version.utf8) else {
      throw WeightFileError.unsupportedVersion(
        file: file, got: String(version.unicodeScalars.prefix(32)), supported: PackedPrelude.version)
    }
    let digits = header.metadata[PackedPrelude.checksumKey] ?? ""
    guard contents.bytes[8..<header.dataOffset].starts(with: PackedPrelude.text + digits.utf8), recordedChecksum != nil else {
      throw WeightFileError.wrongMetadata(
        file: file, key: PackedPrelude.checksumKey,
        detail: "the header does not begin with the version and 16 hexadecimal digits")
    }
  }

  private var recordedChecksum: UInt64? { header.metadata[PackedPrelude.checksumKey].flatMap(Checksum.parse) }

  /// Rule P4.
  func checkHeader() throws(WeightFileError) {
    defer { withExtendedLifetime(contents) {} }
    let computed = PackedPrelude.checksum(ofHeader: Array(contents.bytes[8..<header.dataOffset]))
    guard computed == recordedChecksum else {
      throw WeightFileError.checksumMismatch(file: file, tensor: "__metadata__", expected: recordedChecksum ?? 0, got: computed)
    }
  }

  /// `header` begins with `text` and has at least the digits after it.
  static func checksum(ofHeader header: [UInt8]) -> UInt64 {
    var blanked = header
    blanked.replaceSubrange(text.count..<text.count + Checksum.digitCount, with: blankDigits.utf8)
    return blanked.withUnsafeBytes { Checksum.xxh64($0) }
  }
}

/// Collects the parts of the described tensors and accounts for every tensor of the container.
private struct PackedLoader {
  let contents: MemoryRegion
  let header: SafetensorsHeader
  let file: String
  let verification: PackedFile.Verification
  private var loaded: [(begin: Int, tensor: PackedTensor)] = []
  private var used: Set<String> = []

  init(contents: MemoryRegion, header: SafetensorsHeader, file: String, verification: PackedFile.Verification) {
    self.contents = contents
    self.header = header
    self.file = file
    self.verification = verification
  }

  mutating func load(_ name: String, _ description: PackedDescription) throws(WeightFileError) {
    let (rows, columns, count) = (description.rows, description.columns, description.nonZeroCount)
    guard let layout = description.format.parts(rows: rows, columns: columns, nonZeroCount: count) else {  // P8
      throw WeightFileError.badShape(
        file: file, tensor: name, shape: [UInt64(rows), UInt64(columns)],
        detail: "no \(description.format.rawValue) matrix of this shape has \(count) stored values")
    }
    var parts: [String: MemoryRegion] = [:]
    var begin = Int.max
    for part in layout {
      guard let tensor = header["\(name).\(part.name)"] else {
        if part.isOptional { continue }
        throw WeightFileError.missingTensor(file: file, tensor: "\(name).\(part.name)")
      }
      try check(tensor, against: part)
      try checkChecksum(of: tensor, recorded: description.checksums[part.name])
      parts[part.name] = MemoryRegion(base: contents.base + tensor.offset, byteCount: tensor.byteCount, keeping: contents)
      used.insert(tensor.name)
      begin = min(begin, tensor.offset)
    }
    if let stray = description.checksums.keys.filter({ parts[$0] == nil }).min() {  // P7
      throw WeightFileError.missingTensor(file: file, tensor: "\(name).\(stray)")
    }
    let tensor = PackedTensor(
      name: name, format: description.format, rows: rows, columns: columns, nonZeroCount: count, parts: parts,
      origin: .file(path: file))
    loaded.append((begin, tensor))
  }

  /// Rules P2, P9 and P10.
  private func check(_ tensor: SafetensorsHeader.Tensor, against part: PackedPart) throws(WeightFileError) {
    guard tensor.type == part.type else {
      throw WeightFileError.unsupportedType(
        file: file, tensor: tensor.name, type: tensor.type.rawValue, supported: part.type.rawValue)
    }
    guard tensor.byteCount == part.byteCount else {
      throw WeightFileError.wrongByteCount(
        file: file, tensor: tensor.name, expected: UInt64(part.byteCount), got: UInt64(tensor.byteCount))
    }
    guard tensor.shape == part.shape else {
      throw WeightFileError.badShape(
        file: file, tensor: tensor.name, shape: tensor.shape.map(UInt64.init), detail: "a part must have the shape \(part.shape)")
    }
    guard Int(bitPattern: contents.base + tensor.offset) % SafetensorsWriter.alignment == 0 else {
      throw WeightFileError.misaligned(
        file: file, tensor: tensor.name, offset: UInt64(tensor.offset), alignment: UInt64(SafetensorsWriter.alignment))
    }
  }

  /// Rule P11.
  private func checkChecksum(of tensor: SafetensorsHeader.Tensor, recorded: UInt64?) throws(WeightFileError) {
    guard let recorded else {
      throw WeightFileError.wrongMetadata(file: file, key: "checksums", detail: "there is none for '\(tensor.name)'")
    }
    guard verification == .checksums else { return }
    try Checksum.check(bytes(of: tensor), of: tensor.name, recorded: recorded, file: file)
  }

  private func bytes(of tensor: SafetensorsHeader.Tensor) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: contents.bytes[tensor.offset..<tensor.offset + tensor.byteCount])
  }

  /// Rules P3 and P12: what is no part is padding of at most 63 zero bytes.
  consuming func finish() throws(WeightFileError) -> [PackedTensor] {
    for tensor in header.tensors where !used.contains(tensor.name) {
      guard tensor.isPadding else {
        throw WeightFileError.wrongMetadata(
          file: file, key: PackedDescription.keyPrefix + tensor.name,
          detail: "tensor '\(tensor.name)' is part of no described tensor")
      }
      guard tensor.type == .u8, tensor.byteCount < SafetensorsWriter.alignment, bytes(of: tensor).allSatisfy({ $0 == 0 }) else {
        throw WeightFileError.corruptTensor(file: file, tensor: tensor.name, detail: "padding is 1 to 63 zero bytes")
      }
    }
    return loaded.sorted { $0.begin < $1.begin }.map(\.tensor)
  }
}
