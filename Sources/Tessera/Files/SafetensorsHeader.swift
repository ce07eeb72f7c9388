/// The element types of safetensors. The raw value is the name in the header.
public enum SafetensorsType: String, Sendable, CaseIterable {
  /// A byte, 0 or 1.
  case bool = "BOOL"
  /// E2M1, two in a byte.
  case f4 = "F4"
  /// Floating point of 6 bits: 2 of exponent, 3 of fraction.
  case f6E2M3 = "F6_E2M3"
  /// Floating point of 6 bits: 3 of exponent, 2 of fraction.
  case f6E3M2 = "F6_E3M2"
  /// UInt8.
  case u8 = "U8"
  /// Int8.
  case i8 = "I8"
  /// Floating point of 8 bits: 5 of exponent, 2 of fraction.
  case f8E5M2 = "F8_E5M2"
  /// Floating point of 8 bits: 4 of exponent, 3 of fraction.
  case f8E4M3 = "F8_E4M3"
  /// A power of two, 8 bits of exponent: the scale of MX blocks.
  case f8E8M0 = "F8_E8M0"
  /// E4M3 without infinities and -0.
  case f8E4M3FNUZ = "F8_E4M3FNUZ"
  /// E5M2 without infinities and -0.
  case f8E5M2FNUZ = "F8_E5M2FNUZ"
  /// UInt16.
  case u16 = "U16"
  /// Int16.
  case i16 = "I16"
  /// IEEE binary16.
  case f16 = "F16"
  /// bfloat16, the upper half of a Float.
  case bf16 = "BF16"
  /// UInt32.
  case u32 = "U32"
  /// Int32.
  case i32 = "I32"
  /// Float.
  case f32 = "F32"
  /// UInt64.
  case u64 = "U64"
  /// Int64.
  case i64 = "I64"
  /// Double.
  case f64 = "F64"
  /// A complex number of two Float.
  case c64 = "C64"

  /// The bits of one element.
  public var bitCount: Int {
    switch self {
    case .f4: 4
    case .f6E2M3, .f6E3M2: 6
    case .bool, .u8, .i8, .f8E5M2, .f8E4M3, .f8E8M0, .f8E4M3FNUZ, .f8E5M2FNUZ: 8
    case .u16, .i16, .f16, .bf16: 16
    case .u32, .i32, .f32: 32
    case .u64, .i64, .f64, .c64: 64
    }
  }
}

/// What a safetensors file says about its tensors, checked against the file's length (rules S1 to S12 of Docs/Formats.md).
///
/// A header that initialises is safe to use: every tensor lies inside the file, no two share a byte, no byte belongs to none, and
/// each has exactly the bytes that its shape and type need. The values themselves are not looked at.
public struct SafetensorsHeader: Sendable {
  /// One entry of the header.
  public struct Tensor: Sendable, Equatable {
    /// 1 to 256 bytes (rule S7).
    public let name: String
    /// The type of its elements.
    public let type: SafetensorsType
    /// Row-major, slowest dimension first; empty for a scalar.
    public let shape: [Int]
    /// Where the tensor begins, counted from the start of the file.
    public let offset: Int
    /// Its size.
    public let byteCount: Int

    /// Whether it only aligns what follows (rule P3).
    public var isPadding: Bool { name.hasPrefix(SafetensorsWriter.paddingPrefix) }
  }

  /// The longest header that is read (rule S2).
  public static let maximumByteCount: UInt64 = 100_000_000
  /// The longest name of a tensor, in bytes of UTF-8 (rule S7).
  public static let maximumNameBytes = 256
  /// The most dimensions of a tensor (rule S8).
  public static let maximumRank = 8

  /// In the order of their bytes in the file.
  public let tensors: [Tensor]
  /// What `__metadata__` says; empty where there is none.
  public let metadata: [String: String]
  /// Where the first tensor begins, counted from the start of the file.
  public let dataOffset: Int
  private let indices: [String: Int]

  /// The tensor of a name, or nil.
  public subscript(name: String) -> Tensor? { indices[name].map { tensors[$0] } }

  /// Reads the header of the file whose contents are `bytes`.
  ///
  /// Allocates no more than a fixed multiple of the header that is really there, whatever the file claims.
  /// - Parameters:
  ///   - bytes: the whole file.
  ///   - file: its path, for errors.
  /// - Throws: what breaks a rule: `tooShort`, `headerLength`, `badMagic`, `malformedHeader`, `duplicateName`, `invalidName`,
  ///   `wrongMetadata`, `badShape`, `unknownType`, `badExtent`, `overlapOrHole`, `wrongByteCount`, `trailingBytes`.
  public init(parsing bytes: UnsafeRawBufferPointer, file: String) throws(WeightFileError) {
    let header = try SafetensorsHeader.headerBytes(of: bytes, file: file)
    var reader = JSONReader(header, file: file)
    var metadata: [String: String] = [:]
    var claims: [Claim] = []
    try reader.object { (reader, name) throws(WeightFileError) in
      if name == "__metadata__" {
        metadata = try SafetensorsHeader.readMetadata(&reader, file: file)
      } else {
        try SafetensorsHeader.checkName(name, file: file)  // S7
        claims.append(try Claim(reading: &reader, name: name, file: file))
      }
    }
    try reader.end()

    dataOffset = 8 + header.count
    tensors = try SafetensorsHeader.place(claims, after: dataOffset, in: bytes.count, file: file)
    indices = Dictionary(uniqueKeysWithValues: tensors.enumerated().map { ($1.name, $0) })
    self.metadata = metadata
  }

  /// Rules S1 to S4: the length field, its cap, the file's length, the first character.
  private static func headerBytes(of bytes: UnsafeRawBufferPointer, file: String) throws(WeightFileError)
    -> UnsafeRawBufferPointer
  {
    guard bytes.count >= 8 else {
      throw WeightFileError.tooShort(file: file, field: "the header length", needed: 8, available: UInt64(bytes.count))
    }
    let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard (2...maximumByteCount).contains(length) else {
      throw WeightFileError.headerLength(file: file, length: length, limit: maximumByteCount)
    }
    guard length <= UInt64(bytes.count - 8) else {
      throw WeightFileError.tooShort(file: file, field: "the header", needed: length, available: UInt64(bytes.count - 8))
    }
    guard bytes[8] == UInt8(ascii: "{") else {
      throw WeightFileError.badMagic(file: file, expected: [UInt8(ascii: "{")], got: [bytes[8]])
    }
    return UnsafeRawBufferPointer(rebasing: bytes[8..<8 + Int(length)])
  }

  /// Rule S6: strings to strings.
  private static func readMetadata(_ reader: inout JSONReader, file: String) throws(WeightFileError) -> [String: String] {
    var metadata: [String: String] = [:]
    try reader.object { (reader, key) throws(WeightFileError) in
      guard reader.isAtString() else {
        throw WeightFileError.wrongMetadata(file: file, key: key, detail: "the value is not a string")
      }
      metadata[key] = try reader.string()
    }
    return metadata
  }

  /// Rule S7.
  package static func checkName(_ name: String, file: String) throws(WeightFileError) {
    let count = name.utf8.count
    if count == 0 { throw WeightFileError.invalidName(file: file, name: name, detail: "is empty") }
    if count > maximumNameBytes {
      let start = String(name.unicodeScalars.prefix(32)) + "..."
      throw WeightFileError.invalidName(file: file, name: start, detail: "has \(count) bytes, the limit is \(maximumNameBytes)")
    }
    if name.utf8.contains(0) { throw WeightFileError.invalidName(file: file, name: name, detail: "contains NUL") }
  }

  /// Rules S9 to S12: sorted by their offsets, the tensors cover the data section exactly, and each has the bytes it needs.
  private static func place(
    _ claims: [Claim], after dataOffset: Int, in fileByteCount: Int, file: String
  ) throws(WeightFileError) -> [Tensor] {
    let available = UInt64(fileByteCount - dataOffset)
    var tensors: [Tensor] = []
    tensors.reserveCapacity(claims.count)
    var end: UInt64 = 0
    for claim in claims.sorted(by: { ($0.begin, $0.end) < ($1.begin, $1.end) }) {
      guard claim.begin == end else {
        throw WeightFileError.overlapOrHole(file: file, tensor: claim.name, expected: end, got: claim.begin)
      }
      guard claim.end >= claim.begin, claim.end <= available else {
        let byteCount = claim.end >= claim.begin ? claim.end - claim.begin : 0
        throw WeightFileError.badExtent(
          file: file, tensor: claim.name, offset: claim.begin, byteCount: byteCount, available: available)
      }
      let needed = try claim.byteCount(file: file)
      guard needed == claim.end - claim.begin else {
        throw WeightFileError.wrongByteCount(file: file, tensor: claim.name, expected: needed, got: claim.end - claim.begin)
      }
      // Offsets and sizes are at most the file's length, and the dimensions at most Int.max: none of these conversions can trap.
      tensors.append(
        Tensor(
          name: claim.name, type: claim.type, shape: claim.shape.map(Int.init), offset: dataOffset + Int(claim.begin),
          byteCount: Int(needed)))
      end = claim.end
    }
    guard end == available else {
      throw WeightFileError.trailingBytes(file: file, expected: UInt64(dataOffset) + end, got: UInt64(fileByteCount))
    }
    return tensors
  }
}

/// One member of the header as it is written, before it is compared with the file.
private struct Claim {
  let name: String
  let type: SafetensorsType
  let shape: [UInt64]
  let begin: UInt64
  let end: UInt64

  /// Rule S8: exactly `dtype`, `shape` and `data_offsets`.
  init(reading reader: inout JSONReader, name: String, file: String) throws(WeightFileError) {
    var type: SafetensorsType?
    var shape: [UInt64]?
    var offsets: [UInt64] = []
    let start = reader.position
    try reader.object { (reader, member) throws(WeightFileError) in
      switch member {
      case "dtype":
        let text = try reader.name()
        type = SafetensorsType(rawValue: text)
        if type == nil { throw WeightFileError.unknownType(file: file, tensor: name, type: text) }
      case "shape":
        shape = try Claim.integers(&reader, atMost: SafetensorsHeader.maximumRank, what: "dimensions", name: name)
      case "data_offsets":
        offsets = try Claim.integers(&reader, atMost: 2, what: "data_offsets", name: name)
      default:
        throw reader.malformed("'\(name)' has the unknown member '\(member)'")
      }
    }
    guard let type, let shape, offsets.count == 2 else {
      throw reader.malformed("'\(name)' lacks its dtype, its shape or one of two data_offsets", at: start)
    }
    self.name = name
    self.type = type
    self.shape = shape
    (begin, end) = (offsets[0], offsets[1])
  }

  private static func integers(
    _ reader: inout JSONReader, atMost limit: Int, what: String, name: String
  ) throws(WeightFileError) -> [UInt64] {
    var values: [UInt64] = []
    try reader.array { (reader) throws(WeightFileError) in
      guard values.count < limit else { throw reader.malformed("'\(name)' has more than \(limit) \(what)") }
      values.append(try reader.unsigned())
    }
    return values
  }

  /// Rule S11: elements times bits, in whole bytes, without wrapping anywhere.
  func byteCount(file: String) throws(WeightFileError) -> UInt64 {
    var bits = UInt64(type.bitCount)
    for dimension in shape {
      let (product, wraps) = bits.multipliedReportingOverflow(by: dimension)
      guard !wraps, dimension <= UInt64(Int.max) else {
        throw WeightFileError.badShape(file: file, tensor: name, shape: shape, detail: "its size does not fit 64 bits")
      }
      bits = product
    }
    guard bits % 8 == 0 else {
      throw WeightFileError.badShape(
        file: file, tensor: name, shape: shape, detail: "\(type.rawValue) elements that fill no whole byte")
    }
    return bits / 8
  }
}
