/// Turns ids into text one by one, for text that is shown while it is made.
///
/// A token may end inside a character. Its bytes are held back, at most three, until the rest of the character comes, so that the
/// texts together are what `decode` gives for all ids.
public struct StreamingDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipsControl: Bool
  private var held: [UInt8] = []

  /// - Parameter skippingControl: whether control tokens are left out; otherwise they appear as they are written.
  public init(_ tokenizer: Tokenizer, skippingControl: Bool = true) {
    self.tokenizer = tokenizer
    skipsControl = skippingControl
  }

  /// The text that `id` completes; often empty in languages whose characters take several tokens.
  /// - Throws: `unknownID`.
  public mutating func append(_ id: Int) throws(TokenizerError) -> String {
    held += try tokenizer.bytes(of: CollectionOfOne(id), skippingControl: skipsControl)
    let whole = held.count - StreamingDecoder.lengthOfIncompleteTail(of: held)
    defer { held.removeFirst(whole) }
    return String(decoding: held[..<whole], as: UTF8.self)
  }

  /// What is left at the end: U+FFFD for a character that was begun, or nothing.
  public mutating func finish() -> String {
    defer { held = [] }
    return String(decoding: held, as: UTF8.self)
  }

  /// The number of bytes at the end that begin a character and can still become one.
  private static func lengthOfIncompleteTail(of bytes: [UInt8]) -> Int {
    for length in 1...3 where length <= bytes.count {
      let lead = bytes[bytes.count - length]
      if lead & 0xC0 == 0x80 { continue }
      let tail = bytes.suffix(length)
      return length < characterLength(lead) && canContinue(lead, with: tail.dropFirst().first) ? length : 0
    }
    return 0
  }

  /// The bytes of a character that begins with `lead`, or 0 if none does.
  private static func characterLength(_ lead: UInt8) -> Int {
    switch lead {
    case 0..<0x80: 1
    case 0xC2...0xDF: 2
    case 0xE0...0xEF: 3
    case 0xF0...0xF4: 4
    default: 0
    }
  }

  /// Whether the second byte, if it is there, leaves the character above those of fewer bytes, below U+110000 and no surrogate.
  private static func canContinue(_ lead: UInt8, with second: UInt8?) -> Bool {
    guard let second else { return true }
    return switch lead {
    case 0xE0: second >= 0xA0
    case 0xED: second <= 0x9F
    case 0xF0: second >= 0x90
    case 0xF4: second <= 0x8F
    default: true
    }
  }
}
