import Testing

@testable import Tessera

@Suite struct PackedChecksumTests {
  /// XXH64 of the first bytes of 1, 8, 15, ..., by the Python package xxhash.
  private static let golden: [(length: Int, digits: String)] = [
    (0, "ef46db3751d8e999"),
    (1, "8a4127811b21e730"),
    (3, "b6e6c910c2fd373a"),
    (4, "22eda2cf6af4c124"),
    (7, "34084d91a233a751"),
    (8, "c6f1803a5e0b3222"),
    (12, "9178b724dce384c0"),
    (31, "6ab1c40e29f50073"),
    (32, "5a0756fbe9ecd3d1"),
    (33, "dc50cdc37bb9c183"),
    (63, "10dd94885c71894a"),
    (64, "90083da9cdb9d795"),
    (100, "d248bfc5208b0b16"),
  ]

  @Test func agreesWithTheReference() throws {
    let bytes = (0..<101).map { UInt8(truncatingIfNeeded: $0 * 7 + 1) }
    for (length, digits) in Self.golden {
      let region = try region([0] + bytes[..<length])
      let unaligned = UnsafeRawBufferPointer(rebasing: region.bytes[1...])
      #expect(Checksum.text(Checksum.xxh64(unaligned)) == digits, "\(length) bytes")
      #expect(Checksum.parse(digits) == Checksum.xxh64(unaligned), "\(length) bytes")
    }
    #expect(Checksum.xxh64(UnsafeRawBufferPointer(start: nil, count: 0)) == 0xef46_db37_51d8_e999)
  }

  @Test(arguments: ["", "0", "0123456789abcdeF", "0123456789abcdeg", "+123456789abcdef", "0123456789abcdef0", " 123456789abcdef"])
  func refusesOtherDigits(text: String) { #expect(Checksum.parse(text) == nil) }
}
