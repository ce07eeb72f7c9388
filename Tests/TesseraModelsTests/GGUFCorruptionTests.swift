import Tessera
import Testing

@testable import TesseraModels

/// Damaged files either open, and then everything in them can be read, or throw. The bytes end at a guard page.
@Suite struct GGUFCorruptionTests {
  @Test func everyTruncationIsAnError() {
    let bytes = GGUFDraft.valid.bytes
    for length in bytes.indices {
      #expect(throws: WeightFileError.self, "cut to \(length) of \(bytes.count) bytes") {
        try GGUFFile(region: guardedRegion(Array(bytes.prefix(length))), path: "f")
      }
    }
  }

  @Test func everyFlippedBitIsSurvived() {
    let bytes = GGUFDraft.valid.bytes
    var refused = 0
    for bit in 0..<8 * bytes.count {
      var damaged = bytes
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      if !openAndReadEverything(damaged) { refused += 1 }
    }
    // The counts, lengths, shapes, types and offsets alone are more than this.
    #expect(refused > 1000)
  }

  @Test(arguments: [nil, "gguf-golden.gguf"])
  func randomDamageIsSurvived(fixtureName: String?) throws {
    let bytes = try fixtureName.map { try readFile(fixture($0)) } ?? GGUFDraft.valid.bytes
    let seed = UInt64.random(in: 0 ... .max)
    print("GGUF corruption seed: \(seed)")
    var random = SeededGenerator(seed: seed)
    for _ in 0..<1000 {
      var damaged = bytes
      for _ in 0..<Int.random(in: 1...8, using: &random) {
        // Most of the damage goes to the header, which is what a parser can trip over.
        let end = Bool.random(using: &random) ? damaged.count : min(damaged.count, 512)
        damaged[Int.random(in: 0..<end, using: &random)] = damage(&random)
      }
      if Int.random(in: 0..<4, using: &random) == 0 {
        damaged.removeLast(Int.random(in: 0..<damaged.count, using: &random))
      }
      openAndReadEverything(damaged)
    }
  }

  /// The bytes that lengths and counts go wrong with more often than others.
  private func damage(_ random: inout SeededGenerator) -> UInt8 {
    let extremes: [UInt8] = [0, 1, 0x7F, 0x80, 0xFF]
    let any = UInt8.random(in: 0...255, using: &random)
    return Bool.random(using: &random) ? any : extremes[Int(any) % extremes.count]
  }
}

/// - Returns: whether the file opened.
@discardableResult
private func openAndReadEverything(_ bytes: [UInt8]) -> Bool {
  guard let file = try? GGUFFile(region: guardedRegion(bytes), path: "f") else { return false }
  for name in file.names {
    _ = try? file.float32(name)
    _ = try? file.bfloat16(name)
  }
  for value in file.metadata.values {
    _ = value.array?.strings
    _ = value.array?.integers
    _ = value.array?.numbers
  }
  return true
}
