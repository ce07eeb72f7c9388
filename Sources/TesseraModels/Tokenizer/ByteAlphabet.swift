/// The alphabet in which files of byte-level tokenizers write bytes: one printable character each.
///
/// Bytes 33...126, 161...172 and 174...255 are the characters of the same number; the other 68 bytes, in rising order, are
/// U+0100, U+0101, ... U+0143. So a space is written Ġ and a line feed Ċ.
enum ByteAlphabet {
  private static let bytes: [UInt8?] = {
    var bytes = [UInt8?](repeating: nil, count: 0x144)
    var next = 0x100
    for byte in UInt8.min...UInt8.max {
      switch byte {
      case 33...126, 161...172, 174...255: bytes[Int(byte)] = byte
      default:
        bytes[next] = byte
        next += 1
      }
    }
    return bytes
  }()

  /// The bytes that `text` stands for, or nil if a character is not of the alphabet.
  static func decode(_ text: some Sequence<UInt8>) -> [UInt8]? {
    var decoded: [UInt8] = []
    var iterator = text.makeIterator()
    while let unit = iterator.next() {
      var scalar = Int(unit)
      if unit >= 0x80 {
        // The alphabet ends below U+0800, where UTF-8 takes two bytes.
        guard unit & 0xE0 == 0xC0, let trail = iterator.next(), trail & 0xC0 == 0x80 else { return nil }
        scalar = Int(unit & 0x1F) << 6 | Int(trail & 0x3F)
        guard scalar >= 0x80 else { return nil }
      }
      guard scalar < bytes.count, let byte = bytes[scalar] else { return nil }
      decoded.append(byte)
    }
    return decoded
  }
}
