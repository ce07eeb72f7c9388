public import Tessera

/// A GGUF file, version 2 or 3, mapped read-only.
///
///     "GGUF"; UInt32 version; UInt64 tensor count; UInt64 metadata count
///     metadata: string key; UInt32 value type; value
///     tensors:  string name; UInt32 rank; UInt64 sizes; UInt32 type; UInt64 offset into the data section
///     zeros up to a multiple of the alignment
///     data section: the tensors in the same order, each padded to the alignment
///
/// Opening reads the header only. It checks that every count, length, shape and offset agrees with the bytes that are there, that
/// names are unique, and that the tensors cover the data section without overlaps, holes or trailing bytes; it allocates less
/// than twice the file's size plus 1 MiB whatever the file says. Weights are dequantised when asked for.
///
/// Source: the GGUF specification in the ggml project, `docs/gguf.md`.
public struct GGUFFile: Sendable {
  /// The most tensors of a file: above what any model has, and low enough that records of a few bytes cannot multiply into large
  /// tables.
  public static let tensorLimit = 8192
  /// The most metadata keys of a file, likewise.
  public static let metadataLimit = 1024
  /// Of a metadata key. The format allows 65535 bytes; keys are hashed by their canonical form, which takes quadratic time to
  /// find in a long run of combining marks.
  public static let keyByteLimit = 1024

  /// What was opened, for errors.
  public let path: String
  /// 2 or 3.
  public let version: UInt32
  /// Every tensor begins at a multiple of this many bytes in the data section, and the data section in the file.
  public let alignment: Int
  /// Every key with its value, such as `general.architecture`.
  public let metadata: [String: GGUFValue]
  /// In the order of the file.
  public let tensors: [GGUFTensor]
  private let positions: [String: Int32]
  private let data: MemoryRegion

  /// Maps the file at `path` and reads its header.
  /// - Throws: what `MappedFile` throws, and what is wrong with the header, with the field or tensor and the numbers.
  public init(path: String) throws(WeightFileError) {
    try self.init(region: MappedFile(path: path).region, path: path)
  }

  /// Reads the header of a GGUF file that lies in memory.
  /// - Parameters:
  ///   - region: the whole file.
  ///   - path: names it in errors.
  public init(region: MemoryRegion, path: String) throws(WeightFileError) {
    var reader = GGUFReader(file: path, region: region)
    self.path = path
    self.version = try reader.magicAndVersion()
    let tensorCount = try reader.count("the tensor count", limit: GGUFFile.tensorLimit)
    let metadataCount = try reader.count("the metadata count", limit: GGUFFile.metadataLimit)
    self.metadata = try reader.metadata(count: metadataCount)
    self.alignment = try reader.alignment(in: metadata)
    (self.tensors, self.positions) = try reader.tensors(count: tensorCount)
    self.data = try reader.dataSection(holding: tensors, alignment: alignment)
  }

  /// The record of the tensor of a name.
  /// - Throws: `missingTensor`.
  public func tensor(named name: String) throws(WeightFileError) -> GGUFTensor {
    guard let position = positions[name] else { throw WeightFileError.missingTensor(file: path, tensor: name) }
    return tensors[Int(position)]
  }

  /// The bytes of a tensor as they lie in the file; nothing is copied.
  /// - Throws: `missingTensor`.
  public func bytes(of name: String) throws(WeightFileError) -> MemoryRegion {
    let tensor = try tensor(named: name)
    return MemoryRegion(base: data.base + tensor.offset, byteCount: tensor.byteCount, keeping: data)
  }
}

extension GGUFReader {
  fileprivate mutating func magicAndVersion() throws(WeightFileError) -> UInt32 {
    let magic = Array("GGUF".utf8)
    let start = try skip(4, field: "the magic")
    let found = Array(region.bytes[start..<position])
    guard found == magic else { throw WeightFileError.badMagic(file: file, expected: magic, got: found) }
    let version: UInt32 = try integer("the version")
    guard version == 2 || version == 3 else {
      // A big-endian file of version 3 begins with 3 in the last of the four bytes.
      let got = version != 0 && version & 0xFFFF == 0 ? "\(version.byteSwapped), big-endian" : "\(version)"
      throw WeightFileError.unsupportedVersion(file: file, got: got, supported: "2, 3")
    }
    return version
  }

  fileprivate mutating func count(_ what: String, limit: Int) throws(WeightFileError) -> Int {
    let count: UInt64 = try integer(what)
    guard count <= UInt64(limit) else {
      throw WeightFileError.tooLarge(file: file, what: what, value: count, limit: UInt64(limit))
    }
    return Int(count)
  }

  fileprivate mutating func metadata(count: Int) throws(WeightFileError) -> [String: GGUFValue] {
    let minimumRecordBytes = 8 + 1 + 4 + 1
    try require(UInt64(count), recordsOf: minimumRecordBytes, field: "the metadata")
    var metadata = [String: GGUFValue](minimumCapacity: count)
    for _ in 0..<count {
      let key = try string("a metadata key")
      try checkName(key, limit: GGUFFile.keyByteLimit)
      let value = try value(of: valueType(of: key), key: key)
      guard metadata.updateValue(value, forKey: key) == nil else {
        throw WeightFileError.duplicateName(file: file, name: key)
      }
    }
    return metadata
  }

  fileprivate func alignment(in metadata: [String: GGUFValue]) throws(WeightFileError) -> Int {
    let key = "general.alignment"
    let limit: UInt32 = 1 << 20
    switch metadata[key] {
    case nil: return 32
    case .uint32(let value) where value >= 8 && value <= limit && value & (value - 1) == 0: return Int(value)
    case .uint32(let value):
      throw WeightFileError.wrongMetadata(file: file, key: key, detail: "\(value) is no power of two in 8...\(limit)")
    default:
      throw WeightFileError.wrongMetadata(file: file, key: key, detail: "is not of type uint32")
    }
  }

  fileprivate mutating func tensors(
    count: Int
  ) throws(WeightFileError) -> (tensors: [GGUFTensor], positions: [String: Int32]) {
    try require(UInt64(count), recordsOf: GGUFTensor.minimumRecordBytes, field: "the tensor records")
    var tensors: [GGUFTensor] = []
    tensors.reserveCapacity(count)
    var positions = [String: Int32](minimumCapacity: count)
    for position in 0..<count {
      let tensor = try GGUFTensor(reading: &self)
      guard positions.updateValue(Int32(position), forKey: tensor.name) == nil else {
        throw WeightFileError.duplicateName(file: file, name: tensor.name)
      }
      tensors.append(tensor)
    }
    return (tensors, positions)
  }

  /// The rest of the file, from the first multiple of the alignment on. Every tensor begins where the padding of the one before
  /// it ends; the last one ends the file, with or without its padding.
  fileprivate func dataSection(holding tensors: [GGUFTensor], alignment: Int) throws(WeightFileError) -> MemoryRegion {
    // A file's size fits an Int with room for one alignment, so the sums below cannot overflow once `end` is inside the file.
    let start = min(rounded(position, to: alignment), region.byteCount)
    let available = region.byteCount - start
    var end = 0
    var paddedEnd = 0
    for tensor in tensors {
      guard tensor.offset % alignment == 0 else {
        throw WeightFileError.misaligned(
          file: file, tensor: tensor.name, offset: UInt64(tensor.offset), alignment: UInt64(alignment))
      }
      guard tensor.offset == paddedEnd else {
        throw WeightFileError.overlapOrHole(
          file: file, tensor: tensor.name, expected: UInt64(paddedEnd), got: UInt64(tensor.offset))
      }
      guard tensor.offset <= available, tensor.byteCount <= available - tensor.offset else {
        throw WeightFileError.badExtent(
          file: file, tensor: tensor.name, offset: UInt64(tensor.offset), byteCount: UInt64(tensor.byteCount),
          available: UInt64(available))
      }
      end = tensor.offset + tensor.byteCount
      paddedEnd = rounded(end, to: alignment)
    }
    guard available == end || available == paddedEnd else {
      throw WeightFileError.trailingBytes(
        file: file, expected: UInt64(start + paddedEnd), got: UInt64(region.byteCount))
    }
    return MemoryRegion(base: region.base + start, byteCount: available, keeping: region)
  }

  private func rounded(_ value: Int, to alignment: Int) -> Int { (value + alignment - 1) / alignment * alignment }
}
