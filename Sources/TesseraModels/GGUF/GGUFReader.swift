internal import Tessera

/// A cursor over the bytes of a GGUF file. Every read is checked against the bytes that are left, and nothing is allocated but
/// the strings that are returned.
struct GGUFReader {
  let file: String
  let region: MemoryRegion
  private(set) var position = 0

  init(file: String, region: MemoryRegion) {
    self.file = file
    self.region = region
  }

  var remaining: Int { region.byteCount - position }

  /// Checks that `count` records of at least `minimumBytes` each can follow.
  func require(
    _ count: UInt64, recordsOf minimumBytes: Int, field: @autoclosure () -> String
  ) throws(WeightFileError) {
    let (needed, overflow) = count.multipliedReportingOverflow(by: UInt64(minimumBytes))
    guard !overflow, needed <= UInt64(remaining) else {
      throw WeightFileError.tooShort(
        file: file, field: field(), needed: overflow ? .max : needed, available: UInt64(remaining))
    }
  }

  /// Moves over `count` bytes and returns where they begin.
  @discardableResult
  mutating func skip(_ count: UInt64, field: @autoclosure () -> String) throws(WeightFileError) -> Int {
    try require(count, recordsOf: 1, field: field())
    defer { position += Int(count) }
    return position
  }

  mutating func integer<Integer: FixedWidthInteger & BitwiseCopyable>(
    _ field: @autoclosure () -> String, as: Integer.Type = Integer.self
  ) throws(WeightFileError) -> Integer {
    let start = try skip(UInt64(MemoryLayout<Integer>.size), field: field())
    return Integer(littleEndian: region.bytes.loadUnaligned(fromByteOffset: start, as: Integer.self))
  }

  /// A UInt64 length and as many bytes of UTF-8.
  mutating func string(_ field: @autoclosure () -> String) throws(WeightFileError) -> String {
    let start = try skipString(field())
    let bytes = UnsafeRawBufferPointer(rebasing: region.bytes[start..<position])
    guard let string = String(validating: bytes, as: UTF8.self) else {
      throw WeightFileError.malformedHeader(file: file, position: start, detail: "\(field()) is not UTF-8")
    }
    return string
  }

  /// Moves over a string without reading it and returns where its bytes begin.
  @discardableResult
  mutating func skipString(_ field: @autoclosure () -> String) throws(WeightFileError) -> Int {
    let length: UInt64 = try integer(field())
    return try skip(length, field: field())
  }
}
