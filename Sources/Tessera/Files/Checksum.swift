internal import CKernels

/// XXH64 with seed 0, the checksum of packed files (Docs/Formats.md 4).
package enum Checksum {
  package static func xxh64(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    guard let start = bytes.baseAddress else { return withUnsafeBytes(of: 0) { ck_xxh64($0.baseAddress.unsafelyUnwrapped, 0) } }
    return ck_xxh64(start, bytes.count)
  }

  /// - Throws: `checksumMismatch`, unless the bytes have the recorded checksum.
  static func check(
    _ bytes: UnsafeRawBufferPointer, of name: String, recorded: UInt64, file: String
  ) throws(WeightFileError) {
    let computed = xxh64(bytes)
    guard computed == recorded else {
      throw .checksumMismatch(file: file, tensor: name, expected: recorded, got: computed)
    }
  }

  static let digitCount = 16

  /// Sixteen lower-case hexadecimal digits.
  package static func text(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: digitCount - digits.count) + digits
  }

  /// The inverse of `text`; nil for anything that `text` does not write.
  static func parse(_ text: String) -> UInt64? {
    let isDigit = { (byte: UInt8) in (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte) }
    guard text.utf8.count == digitCount, text.utf8.allSatisfy(isDigit) else { return nil }
    return UInt64(text, radix: 16)
  }
}
