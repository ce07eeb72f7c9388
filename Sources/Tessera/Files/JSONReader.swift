/// Reads the JSON of weight files: a strict, pull-style reader over bytes that stay where they are.
///
/// The caller walks the grammar it expects; only `skipValue` recurses, at most `maximumDepth` deep. Refused beyond RFC 8259: a
/// name that occurs twice in one object, surrogates that form no pair, and (by `unsigned`) signs, fractions and exponents.
package struct JSONReader {
  package static let maximumDepth = 16
  /// Of names and of what is compared with known words. Strings hash and compare by their canonical form, which takes quadratic
  /// time to find in a long run of combining marks: minutes for a megabyte.
  package static let maximumNameBytes = 512

  let bytes: UnsafeRawBufferPointer
  private let file: String
  package private(set) var position = 0

  package init(_ bytes: UnsafeRawBufferPointer, file: String) {
    self.bytes = bytes
    self.file = file
  }

  // MARK: Values

  /// `{ "name": value, ... }`; `member` must consume the value.
  package mutating func object(
    _ member: (_ reader: inout JSONReader, _ name: String) throws(WeightFileError) -> Void
  ) throws(WeightFileError) {
    var names: Set<String> = []
    try expect(.openBrace)
    if take(.closeBrace) { return }
    repeat {
      let name = try self.name()
      guard names.insert(name).inserted else { throw WeightFileError.duplicateName(file: file, name: name) }
      try expect(.colon)
      try member(&self, name)
    } while take(.comma)
    try expect(.closeBrace)
  }

  /// `[ value, ... ]`; `element` must consume the value.
  package mutating func array(
    _ element: (_ reader: inout JSONReader) throws(WeightFileError) -> Void
  ) throws(WeightFileError) {
    try expect(.openBracket)
    if take(.closeBracket) { return }
    repeat { try element(&self) } while take(.comma)
    try expect(.closeBracket)
  }

  /// A string short enough to be looked up.
  package mutating func name() throws(WeightFileError) -> String {
    skipSpace()
    let start = position
    let name = try string()
    guard name.utf8.count <= JSONReader.maximumNameBytes else {
      throw malformed("a name of \(name.utf8.count) bytes, the limit is \(JSONReader.maximumNameBytes)", at: start)
    }
    return name
  }

  /// A string of any length: to be kept or parsed, not to be compared.
  package mutating func string() throws(WeightFileError) -> String {
    try expect(.quote)
    let start = position
    while position < bytes.count, bytes[position] != .quote, bytes[position] != .backslash, bytes[position] >= 0x20 {
      position += 1
    }
    if position < bytes.count, bytes[position] == .quote {
      position += 1
      return try text(UnsafeRawBufferPointer(rebasing: bytes[start..<position - 1]), at: start)
    }
    var unescaped = Array(bytes[start..<position])
    while true {
      guard position < bytes.count else { throw malformed("the string does not end") }
      let byte = bytes[position]
      position += 1
      switch byte {
      case .quote: return try text(unescaped, at: start)
      case .backslash: try appendEscape(to: &unescaped)
      case 0..<0x20: throw malformed("a control character inside a string", at: position - 1)
      default: unescaped.append(byte)
      }
    }
  }

  /// A non-negative integer below 2^64, written with digits only and without leading zeros.
  package mutating func unsigned() throws(WeightFileError) -> UInt64 {
    skipSpace()
    let start = position
    var value: UInt64 = 0
    while position < bytes.count, bytes[position].isDigit {
      let (product, wraps) = value.multipliedReportingOverflow(by: 10)
      let (sum, carries) = product.addingReportingOverflow(UInt64(bytes[position] - .zero))
      guard !wraps, !carries else { throw malformed("the number does not fit 64 bits", at: start) }
      value = sum
      position += 1
    }
    guard position > start else { throw malformed("expected a non-negative integer") }
    guard position == start + 1 || bytes[start] != .zero else { throw malformed("a number with a leading zero", at: start) }
    if position < bytes.count, bytes[position] == .point || bytes[position] | 0x20 == .exponent {
      throw malformed("expected an integer, found a fraction", at: start)
    }
    return value
  }

  /// Whether the next value is a string; consumes nothing but white space.
  package mutating func isAtString() -> Bool {
    skipSpace()
    return position < bytes.count && bytes[position] == .quote
  }

  /// Consumes one value of any kind.
  package mutating func skipValue(depth: Int = 0) throws(WeightFileError) {
    guard depth < JSONReader.maximumDepth else { throw malformed("nested deeper than \(JSONReader.maximumDepth)") }
    skipSpace()
    guard position < bytes.count else { throw malformed("expected a value") }
    switch bytes[position] {
    case .openBrace: try object { (reader, _) throws(WeightFileError) in try reader.skipValue(depth: depth + 1) }
    case .openBracket: try array { (reader) throws(WeightFileError) in try reader.skipValue(depth: depth + 1) }
    case .quote: _ = try string()
    case UInt8(ascii: "t"): try skip("true")
    case UInt8(ascii: "f"): try skip("false")
    case UInt8(ascii: "n"): try skip("null")
    default: try skipNumber()
    }
  }

  package enum Ending { case spaces, whiteSpace }

  /// Nothing else may follow the last value. A safetensors header is padded with spaces, other files end in a line feed.
  package mutating func end(allowing ending: Ending = .spaces) throws(WeightFileError) {
    if ending == .whiteSpace { skipSpace() }
    while position < bytes.count, bytes[position] == .space { position += 1 }
    guard position == bytes.count else { throw malformed("text after the end of the JSON value") }
  }

  package func malformed(_ detail: String, at place: Int? = nil) -> WeightFileError {
    .malformedHeader(file: file, position: place ?? position, detail: detail)
  }

  // MARK: Pieces

  private func text(_ utf8: some Sequence<UInt8>, at start: Int) throws(WeightFileError) -> String {
    guard let text = String(validating: utf8, as: UTF8.self) else { throw malformed("a string that is not UTF-8", at: start) }
    return text
  }

  private mutating func appendEscape(to target: inout [UInt8]) throws(WeightFileError) {
    guard position < bytes.count else { throw malformed("the string does not end") }
    let start = position - 1
    let letter = bytes[position]
    position += 1
    switch letter {
    case .quote, .backslash, UInt8(ascii: "/"): target.append(letter)
    case UInt8(ascii: "b"): target.append(0x08)
    case UInt8(ascii: "f"): target.append(0x0C)
    case UInt8(ascii: "n"): target.append(0x0A)
    case UInt8(ascii: "r"): target.append(0x0D)
    case UInt8(ascii: "t"): target.append(0x09)
    case UInt8(ascii: "u"): target.append(contentsOf: UTF8.encode(try escapedScalar(at: start)).map(Array.init) ?? [])
    default: throw malformed("an unknown escape", at: start)
    }
  }

  private mutating func escapedScalar(at start: Int) throws(WeightFileError) -> Unicode.Scalar {
    let unit = try fourHexDigits()
    var code = UInt32(unit)
    if UTF16.isLeadSurrogate(unit), position + 1 < bytes.count, bytes[position] == .backslash,
      bytes[position + 1] == UInt8(ascii: "u")
    {
      position += 2
      let trail = try fourHexDigits()
      guard UTF16.isTrailSurrogate(trail) else { throw malformed("a surrogate without its partner", at: start) }
      code = 0x10000 + (UInt32(unit) - 0xD800) << 10 + (UInt32(trail) - 0xDC00)
    }
    guard let scalar = Unicode.Scalar(code) else { throw malformed("a surrogate without its partner", at: start) }
    return scalar
  }

  private mutating func fourHexDigits() throws(WeightFileError) -> UInt16 {
    var value: UInt16 = 0
    for _ in 0..<4 {
      guard position < bytes.count, let digit = bytes[position].hexValue else {
        throw malformed("expected four hexadecimal digits")
      }
      value = value << 4 | UInt16(digit)
      position += 1
    }
    return value
  }

  mutating func skip(_ word: StaticString) throws(WeightFileError) {
    let length = word.utf8CodeUnitCount
    guard bytes.count - position >= length,
      UnsafeRawBufferPointer(rebasing: bytes[position..<position + length]).elementsEqual(
        UnsafeRawBufferPointer(start: word.utf8Start, count: length))
    else { throw malformed("expected a value") }
    position += length
  }

  mutating func skipNumber() throws(WeightFileError) {
    let start = position
    if bytes[position] == UInt8(ascii: "-") { position += 1 }
    let integer = position
    guard skipDigits() > 0 else { throw malformed("expected a value", at: start) }
    guard position == integer + 1 || bytes[integer] != .zero else { throw malformed("a number with a leading zero", at: start) }
    if position < bytes.count, bytes[position] == .point {
      position += 1
      guard skipDigits() > 0 else { throw malformed("a fraction without digits") }
    }
    if position < bytes.count, bytes[position] | 0x20 == .exponent {
      position += 1
      if position < bytes.count, bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-") { position += 1 }
      guard skipDigits() > 0 else { throw malformed("an exponent without digits") }
    }
  }

  private mutating func skipDigits() -> Int {
    let start = position
    while position < bytes.count, bytes[position].isDigit { position += 1 }
    return position - start
  }

  mutating func skipSpace() {
    while position < bytes.count, bytes[position].isJSONSpace { position += 1 }
  }

  private mutating func expect(_ byte: UInt8) throws(WeightFileError) {
    guard take(byte) else { throw malformed("expected '\(Character(Unicode.Scalar(byte)))'") }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    skipSpace()
    guard position < bytes.count, bytes[position] == byte else { return false }
    position += 1
    return true
  }
}

/// Writes a string as JSON: quotes, backslashes and control characters escaped, everything else as it is.
func appendJSON(_ text: String, to target: inout [UInt8]) {
  target.append(.quote)
  for byte in text.utf8 {
    switch byte {
    case .quote, .backslash: target += [.backslash, byte]
    case 0..<0x20: target += Array("\\u00\(byte < 16 ? "0" : "")\(String(byte, radix: 16))".utf8)
    default: target.append(byte)
    }
  }
  target.append(.quote)
}

extension UInt8 {
  fileprivate static var openBrace: UInt8 { UInt8(ascii: "{") }
  fileprivate static var closeBrace: UInt8 { UInt8(ascii: "}") }
  fileprivate static var openBracket: UInt8 { UInt8(ascii: "[") }
  fileprivate static var closeBracket: UInt8 { UInt8(ascii: "]") }
  fileprivate static var colon: UInt8 { UInt8(ascii: ":") }
  fileprivate static var comma: UInt8 { UInt8(ascii: ",") }
  fileprivate static var quote: UInt8 { UInt8(ascii: "\"") }
  fileprivate static var backslash: UInt8 { UInt8(ascii: "\\") }
  fileprivate static var space: UInt8 { UInt8(ascii: " ") }
  fileprivate static var zero: UInt8 { UInt8(ascii: "0") }
  fileprivate static var point: UInt8 { UInt8(ascii: ".") }
  fileprivate static var exponent: UInt8 { UInt8(ascii: "e") }
  fileprivate var isDigit: Bool { (0x30...0x39).contains(self) }
  fileprivate var isJSONSpace: Bool { self == 0x20 || self == 0x0A || self == 0x0D || self == 0x09 }

  fileprivate var hexValue: UInt8? {
    switch self {
    case 0x30...0x39: self - 0x30
    case 0x41...0x46: self - 0x41 + 10
    case 0x61...0x66: self - 0x61 + 10
    default: nil
    }
  }
}
