/// A JSON value as a tree, for small files and small parts of large ones: configurations, not vocabularies.
package enum JSONValue: Sendable {
  case null
  case bool(Bool)
  /// As it is written: valid by JSON's grammar.
  case number(String)
  case string(String)
  case array([JSONValue])
  /// In the order of the file; no name occurs twice.
  case object([(name: String, value: JSONValue)])

  /// The member of an object, or nil where there is none or it is null.
  package subscript(name: String) -> JSONValue? {
    guard case .object(let members) = self, let value = members.first(where: { $0.name == name })?.value else { return nil }
    return value.isNull ? nil : value
  }

  package var isNull: Bool { if case .null = self { true } else { false } }
  package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  package var string: String? { if case .string(let value) = self { value } else { nil } }
  package var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }

  /// The value of a number that is written as an integer and fits an Int.
  package var integer: Int? { if case .number(let text) = self { Int(text) } else { nil } }

  /// The value of any number: infinite, if it is too large.
  package var double: Double? { if case .number(let text) = self { Double(text) } else { nil } }
}

extension JSONReader {
  /// Reads one value of any kind, nested at most `maximumDepth` deep.
  package mutating func value(depth: Int = 0) throws(WeightFileError) -> JSONValue {
    guard depth < JSONReader.maximumDepth else { throw malformed("nested deeper than \(JSONReader.maximumDepth)") }
    skipSpace()
    guard position < bytes.count else { throw malformed("expected a value") }
    switch bytes[position] {
    case UInt8(ascii: "{"):
      var members: [(name: String, value: JSONValue)] = []
      try object { (reader, name) throws(WeightFileError) in members.append((name, try reader.value(depth: depth + 1))) }
      return .object(members)
    case UInt8(ascii: "["):
      var elements: [JSONValue] = []
      try array { (reader) throws(WeightFileError) in elements.append(try reader.value(depth: depth + 1)) }
      return .array(elements)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return .bool(try word("true", true))
    case UInt8(ascii: "f"): return .bool(try word("false", false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default:
      let start = position
      try skipNumber()
      return .number(String(decoding: bytes[start..<position], as: UTF8.self))
    }
  }

  private mutating func word<Value>(_ word: StaticString, _ value: Value) throws(WeightFileError) -> Value {
    try skip(word)
    return value
  }
}

extension JSONValue {
  /// Reads a JSON file of at most `limit` bytes.
  /// - Throws: what `MappedFile` and `JSONReader` throw, `tooLarge`.
  package init(path: String, limit: Int) throws(WeightFileError) {
    let file = try MappedFile(path: path)
    self = try file.withBytes { (bytes) throws(WeightFileError) in
      try JSONValue(parsing: bytes, file: path, limit: limit)
    }
  }

  /// Reads JSON that is in memory, at most `limit` bytes.
  /// - Throws: what `JSONReader` throws, `tooLarge`.
  package init(parsing bytes: UnsafeRawBufferPointer, file: String, limit: Int) throws(WeightFileError) {
    guard bytes.count <= limit else {
      throw WeightFileError.tooLarge(file: file, what: "the file", value: UInt64(bytes.count), limit: UInt64(limit))
    }
    var reader = JSONReader(bytes, file: file)
    let value = try reader.value()
    try reader.end(allowing: .whiteSpace)
    self = value
  }
}
