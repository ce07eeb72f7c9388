#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Writes a safetensors file whose tensors all begin at multiples of 64 bytes.
///
/// The tensors' bytes are streamed in the declared order to `PATH.partial-PID-RANDOM` beside the target; `finish` makes them
/// durable and renames the file over the target. Until then the target is untouched, and a writer that goes away without
/// finishing, or that throws, leaves nothing behind. safetensors allows no holes, so alignment comes from spaces at the end of
/// the header and from tensors `tessera.padding.0`, `tessera.padding.1`, ... of 1 to 63 zero bytes (rules P2 and P3 of
/// Docs/Formats.md).
public struct SafetensorsWriter: ~Copyable {
  /// What will be written: everything but the bytes.
  public struct Tensor: Sendable, Equatable {
    /// 1 to 256 bytes without NUL; no two of a file are equal.
    public let name: String
    /// The type of the elements.
    public let type: SafetensorsType
    /// Slowest dimension first, at most 8; empty for a scalar.
    public let shape: [Int]

    /// Names, types and shapes are checked when the writer is made.
    public init(name: String, type: SafetensorsType, shape: [Int]) {
      self.name = name
      self.type = type
      self.shape = shape
    }
  }

  package static let alignment = 64
  package static let paddingPrefix = "tessera.padding."

  private let output: OutputFile
  private let tensors: [PlacedTensor]
  private var current = 0
  private var writtenOfCurrent = 0

  /// Creates the partial file and writes the header.
  /// - Throws: `invalidName`, `duplicateName`, `wrongMetadata`, `badShape` or `tooLarge` for what no file can hold,
  ///   `notRegularFile`, `writeFailed`.
  public init(path: String, tensors: [Tensor], metadata: [(key: String, value: String)] = []) throws(WeightFileError) {
    let placed = try SafetensorsWriter.place(tensors, file: path)
    let header = try SafetensorsWriter.header(of: placed, metadata: metadata, file: path)
    try self.init(path: path, placed: placed, header: header)
  }

  package init(path: String, placed: [PlacedTensor], header: [UInt8]) throws(WeightFileError) {
    let output = try OutputFile(path: path)
    try output.write(header)
    self.output = output
    tensors = placed
  }

  /// Appends the next bytes of the tensors, which follow one another in the declared order; a call may hold a part of a tensor,
  /// never parts of two.
  public mutating func write(_ bytes: UnsafeRawBufferPointer) throws(WeightFileError) {
    if bytes.isEmpty { return }
    try passCompleteTensors()
    precondition(current < tensors.count, "\(bytes.count) bytes after the last tensor")
    let tensor = tensors[current]
    precondition(
      bytes.count <= tensor.byteCount - writtenOfCurrent,
      "\(bytes.count) bytes for '\(tensor.name)', which needs \(tensor.byteCount - writtenOfCurrent) more")
    try output.write(bytes)
    writtenOfCurrent += bytes.count
  }

  /// Makes the file durable under its name. Every tensor must have been written.
  public consuming func finish() throws(WeightFileError) {
    try passCompleteTensors()
    precondition(current == tensors.count, "'\(current < tensors.count ? tensors[current].name : "")' was not written to its end")
    try output.commit()
  }

  /// Moves on past tensors that are complete (also those of no bytes), writing the padding that follows.
  private mutating func passCompleteTensors() throws(WeightFileError) {
    while current < tensors.count {
      let tensor = tensors[current]
      if tensor.isPadding {
        try output.write([UInt8](repeating: 0, count: tensor.byteCount))
      } else if writtenOfCurrent < tensor.byteCount {
        return
      }
      current += 1
      writtenOfCurrent = 0
    }
  }
}

/// A tensor of a file that is to be written, with its place in the data section.
package struct PlacedTensor: Sendable {
  package let name: String
  package let type: SafetensorsType
  package let shape: [Int]
  package let begin: Int
  package let byteCount: Int
  package let isPadding: Bool
}

extension SafetensorsWriter {
  /// Gives every tensor its offset and inserts the padding between them.
  package static func place(_ tensors: [Tensor], file: String) throws(WeightFileError) -> [PlacedTensor] {
    var names: Set<String> = []
    var placed: [PlacedTensor] = []
    var offset = 0
    var paddings = 0
    for (index, tensor) in tensors.enumerated() {
      try SafetensorsHeader.checkName(tensor.name, file: file)
      guard tensor.name != "__metadata__", !tensor.name.hasPrefix(paddingPrefix) else {
        throw WeightFileError.invalidName(file: file, name: tensor.name, detail: "is reserved")
      }
      guard names.insert(tensor.name).inserted else { throw WeightFileError.duplicateName(file: file, name: tensor.name) }
      let byteCount = try byteCount(of: tensor, file: file)
      placed.append(
        PlacedTensor(
          name: tensor.name, type: tensor.type, shape: tensor.shape, begin: offset, byteCount: byteCount, isPadding: false))
      let (end, wraps) = offset.addingReportingOverflow(byteCount)
      guard !wraps, end <= Int.max - 2 * Int(SafetensorsHeader.maximumByteCount) else {
        throw WeightFileError.tooLarge(
          file: file, what: "the data section", value: UInt64(offset) + UInt64(byteCount), limit: UInt64(Int.max))
      }
      offset = end
      if end % alignment != 0 && index < tensors.count - 1 {
        let gap = alignment - end % alignment
        placed.append(
          PlacedTensor(
            name: "\(paddingPrefix)\(paddings)", type: .u8, shape: [gap], begin: end, byteCount: gap, isPadding: true))
        paddings += 1
        offset += gap
      }
    }
    return placed
  }

  private static func byteCount(of tensor: Tensor, file: String) throws(WeightFileError) -> Int {
    var bits = tensor.type.bitCount
    for dimension in tensor.shape {
      precondition(dimension >= 0, "tensor '\(tensor.name)' has a dimension of \(dimension)")
      let (product, wraps) = bits.multipliedReportingOverflow(by: dimension)
      guard !wraps else {
        throw WeightFileError.badShape(
          file: file, tensor: tensor.name, shape: tensor.shape.map(UInt64.init), detail: "its size does not fit")
      }
      bits = product
    }
    guard tensor.shape.count <= SafetensorsHeader.maximumRank, bits % 8 == 0 else {
      throw WeightFileError.badShape(
        file: file, tensor: tensor.name, shape: tensor.shape.map(UInt64.init),
        detail: "more than \(SafetensorsHeader.maximumRank) dimensions, or elements that fill no whole byte")
    }
    return bits / 8
  }

  private static func checkKey(_ key: String, file: String) throws(WeightFileError) {
    let (count, limit) = (key.utf8.count, JSONReader.maximumNameBytes)
    guard count <= limit else {
      let start = String(key.unicodeScalars.prefix(32)) + "..."
      throw WeightFileError.wrongMetadata(file: file, key: start, detail: "has \(count) bytes, the limit is \(limit)")
    }
  }

  /// The length field and the header, padded with spaces so that the data section begins at a multiple of 64.
  package static func header(
    of tensors: [PlacedTensor], metadata: [(key: String, value: String)], file: String
  ) throws(WeightFileError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 8)
    bytes.append(UInt8(ascii: "{"))
    if !metadata.isEmpty {
      bytes += Array("\"__metadata__\":{".utf8)
      var keys: Set<String> = []
      for (index, (key, value)) in metadata.enumerated() {
        try checkKey(key, file: file)
        guard keys.insert(key).inserted else { throw WeightFileError.duplicateName(file: file, name: key) }
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        appendJSON(key, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        appendJSON(value, to: &bytes)
      }
      bytes.append(UInt8(ascii: "}"))
    }
    for (index, tensor) in tensors.enumerated() {
      if index > 0 || !metadata.isEmpty { bytes.append(UInt8(ascii: ",")) }
      appendJSON(tensor.name, to: &bytes)
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      let end = tensor.begin + tensor.byteCount
      bytes += Array(
        ":{\"dtype\":\"\(tensor.type.rawValue)\",\"shape\":[\(shape)],\"data_offsets\":[\(tensor.begin),\(end)]}".utf8)
    }
    bytes.append(UInt8(ascii: "}"))
    while bytes.count % alignment != 0 { bytes.append(UInt8(ascii: " ")) }
    let length = UInt64(bytes.count - 8)
    guard length <= SafetensorsHeader.maximumByteCount else {
      throw WeightFileError.tooLarge(file: file, what: "the header", value: length, limit: SafetensorsHeader.maximumByteCount)
    }
    withUnsafeBytes(of: length.littleEndian) { bytes.replaceSubrange(0..<8, with: $0) }
    return bytes
  }
}
