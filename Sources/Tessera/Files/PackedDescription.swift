/// What the metadata of a packed file says about one tensor (rules P6 and P7 of Docs/Formats.md).
///
/// Written as JSON without white space:
///
///     {"format":"bitmap-bf16","rows":32,"columns":64,"nonzeros":1024,"checksums":{"bitmap":"0123456789abcdef",...}}
struct PackedDescription {
  let format: PackedFormat
  let rows: Int
  let columns: Int
  let nonZeroCount: Int
  /// XXH64 of each part that is there.
  let checksums: [String: UInt64]

  static let keyPrefix = "tessera.tensor."

  /// The tensor that a metadata key describes, or nil. By bytes: a name may begin with a scalar that merges with the prefix's
  /// last one into one Character.
  static func tensor(ofKey key: String) -> String? {
    guard key.utf8.starts(with: keyPrefix.utf8) else { return nil }
    return String(Substring(key.utf8.dropFirst(keyPrefix.utf8.count)))
  }

  func json() -> String {
    var text: [UInt8] = Array(
      "{\"format\":\"\(format.rawValue)\",\"rows\":\(rows),\"columns\":\(columns),\"nonzeros\":\(nonZeroCount),\"checksums\":{"
        .utf8)
    for (index, (part, checksum)) in checksums.sorted(by: { $0.key < $1.key }).enumerated() {
      if index > 0 { text.append(UInt8(ascii: ",")) }
      text += Array("\"\(part)\":\"\(Checksum.text(checksum))\"".utf8)
    }
    text += Array("}}".utf8)
    return String(decoding: text, as: UTF8.self)
  }

  init(format: PackedFormat, rows: Int, columns: Int, nonZeroCount: Int, checksums: [String: UInt64]) {
    self.format = format
    self.rows = rows
    self.columns = columns
    self.nonZeroCount = nonZeroCount
    self.checksums = checksums
  }

  /// - Throws: `wrongMetadata` for the whole description, `unknownType` for a format this version does not know.
  init(parsing text: String, ofTensor name: String, file: String) throws(WeightFileError) {
    let key = PackedDescription.keyPrefix + name
    do throws(WeightFileError) {
      self = try Array(text.utf8).withUnsafeBufferPointer { (bytes) throws(WeightFileError) in
        try PackedDescription(reading: UnsafeRawBufferPointer(bytes), ofTensor: name, file: file)
      }
    } catch .malformedHeader(_, let position, let detail) {
      throw WeightFileError.wrongMetadata(file: file, key: key, detail: "byte \(position): \(detail)")
    } catch .duplicateName(_, let member) {
      throw WeightFileError.wrongMetadata(file: file, key: key, detail: "'\(member)' occurs twice")
    } catch {
      throw error
    }
  }

  private init(reading bytes: UnsafeRawBufferPointer, ofTensor name: String, file: String) throws(WeightFileError) {
    var reader = JSONReader(bytes, file: file)
    var formatName: String?
    var numbers: [String: Int] = [:]
    var checksums: [String: UInt64]?
    try reader.object { (reader, member) throws(WeightFileError) in
      switch member {
      case "format":
        formatName = try reader.name()
      case "rows", "columns", "nonzeros":
        let value = try reader.unsigned()
        guard let number = Int(exactly: value) else { throw reader.malformed("\(member) is \(value)") }
        numbers[member] = number
      case "checksums":
        checksums = try PackedDescription.readChecksums(&reader)
      default:
        throw reader.malformed("unknown member '\(member)'")
      }
    }
    try reader.end()
    guard
      let formatName, let checksums, let rows = numbers["rows"], let columns = numbers["columns"],
      let nonZeroCount = numbers["nonzeros"]
    else { throw reader.malformed("one of format, rows, columns, nonzeros and checksums is missing") }
    guard let format = PackedFormat(rawValue: formatName) else {
      throw WeightFileError.unknownType(file: file, tensor: name, type: formatName)
    }
    self.init(format: format, rows: rows, columns: columns, nonZeroCount: nonZeroCount, checksums: checksums)
  }

  private static func readChecksums(_ reader: inout JSONReader) throws(WeightFileError) -> [String: UInt64] {
    var checksums: [String: UInt64] = [:]
    try reader.object { (reader, part) throws(WeightFileError) in
      guard let checksum = Checksum.parse(try reader.name()) else {
        throw reader.malformed("the checksum of '\(part)' is not 16 lower-case hexadecimal digits")
      }
      checksums[part] = checksum
    }
    return checksums
  }
}
