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

  /// Appends the bytes that `text` stands for and returns true, or false if a character is not of the alphabet.
  static func decode(_ text: ArraySlice<UInt8>, into decoded: inout [UInt8]) -> Bool {
    var position = text.startIndex
    while position < text.endIndex {
      var scalar = Int(text[position])
      if scalar >= 0x80 {
        // The alphabet ends below U+0800, where UTF-8 takes two bytes.
        position += 1
        guard scalar & 0xE0 == 0xC0, position < text.endIndex, text[position] & 0xC0 == 0x80 else { return false }
        scalar = (scalar & 0x1F) << 6 | Int(text[position] & 0x3F)
        guard scalar >= 0x80 else { return false }
      }
      guard scalar < bytes.count, let byte = bytes[scalar] else { return false }
      decoded.append(byte)
      position += 1
    }
    return true
  }
}
