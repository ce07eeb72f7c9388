/// What the patterns of pre-tokenizers distinguish.
enum CharacterKind {
  /// `\p{L}`
  case letter
  /// `\p{N}`
  case number
  /// `\s`: White_Space
  case space
  /// The rest: punctuation, symbols, marks, controls, and bytes that are no UTF-8.
  case other
}

/// Reads UTF-8 by characters and their kinds.
struct CharacterScanner {
  let text: UnsafeBufferPointer<UInt8>

  var end: Int { text.count }

  /// The character at `position`, which is before the end: its kind and its bytes.
  @inline(__always)
  func character(at position: Int) -> (kind: CharacterKind, length: Int) {
    let byte = text[position]
    return byte < 0x80 ? (CharacterScanner.asciiKind(byte), 1) : wideCharacter(at: position)
  }

  /// The end of the longest run of `kind` that begins at `position`.
  @inline(__always)
  func endOfRun(of kind: CharacterKind, at position: Int) -> Int {
    var position = position
    while position < end {
      let next = character(at: position)
      guard next.kind == kind else { break }
      position += next.length
    }
    return position
  }

  /// Whether a character of `kind` begins at `position`.
  func isAt(_ kind: CharacterKind, _ position: Int) -> Bool { position < end && character(at: position).kind == kind }

  func isAt(_ byte: UInt8, _ position: Int) -> Bool { position < end && text[position] == byte }

  @inline(__always)
  private static func asciiKind(_ byte: UInt8) -> CharacterKind {
    switch byte {
    case 0x61...0x7A, 0x41...0x5A: .letter
    case 0x20, 0x09...0x0D: .space
    case 0x30...0x39: .number
    default: .other
    }
  }

  private func wideCharacter(at position: Int) -> (kind: CharacterKind, length: Int) {
    guard let (scalar, length) = scalar(at: position) else { return (.other, 1) }
    let properties = scalar.properties
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: return (.letter, length)
    case .decimalNumber, .letterNumber, .otherNumber: return (.number, length)
    default: return (properties.isWhitespace ? .space : .other, length)
    }
  }

  /// The scalar beyond ASCII that begins at `position`, or nil if these bytes are no UTF-8.
  func scalar(at position: Int) -> (scalar: Unicode.Scalar, length: Int)? {
    let lead = UInt32(text[position])
    let (length, smallest): (Int, UInt32)
    switch lead {
    case 0xC2...0xDF: (length, smallest) = (2, 0x80)
    case 0xE0...0xEF: (length, smallest) = (3, 0x800)
    case 0xF0...0xF4: (length, smallest) = (4, 0x10000)
    default: return nil
    }
    guard end - position >= length else { return nil }
    var code = lead & (0x7F >> UInt32(length))
    for trail in text[position + 1..<position + length] {
      guard trail & 0xC0 == 0x80 else { return nil }
      code = code << 6 | UInt32(trail & 0x3F)
    }
    guard code >= smallest, let scalar = Unicode.Scalar(code) else { return nil }
    return (scalar, length)
  }
}
