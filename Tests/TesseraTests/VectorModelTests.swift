import EmulatedKernels
import Testing

/// The C models of AVX-512 instructions, on values worked out by hand.
@Suite struct VectorModelTests {
  private func dot(_ sum: Float, low: (UInt16, UInt16), high: (UInt16, UInt16)) -> Float {
    var lanes = [Float](repeating: sum, count: 16)
    let a = (0..<32).map { $0 % 2 == 0 ? low.0 : high.0 }
    let b = (0..<32).map { $0 % 2 == 0 ? low.1 : high.1 }
    ck_vector_model_dot_bf16(&lanes, a, b)
    #expect(lanes.dropFirst().allSatisfy { $0.bitPattern == lanes[0].bitPattern })
    return lanes[0]
  }

  @Test func bf16PairsGoHighElementFirst() {
    // 1 + 2^24 - 2^24: the 1 is lost where 2^24 is added first, and stays where it is subtracted from an equal.
    #expect(dot(1, low: (0xCB80, 0x3F80), high: (0x4B80, 0x3F80)) == 0)
    #expect(dot(0x1p24, low: (0x3F80, 0x3F80), high: (0xCB80, 0x3F80)) == 1)
    #expect(dot(0x1p24, low: (0xCB80, 0x3F80), high: (0x3F80, 0x3F80)) == 0)
  }

  @Test func bf16DenormalsAreFlushed() {
    #expect(dot(0x1p-130, low: (0, 0), high: (0, 0)) == 0)
    #expect(dot(0, low: (0x0040, 0x7E80), high: (0x2000, 0x1F00)) == 0)
    #expect(dot(-0x1p-130, low: (0x8000, 0), high: (0x8000, 0)).sign == .minus)
  }

  @Test func bytesAreUnsignedBySignedAndWrap() {
    var lanes = [UInt32](repeating: UInt32(bitPattern: .min), count: 16)
    ck_vector_model_dot_u8_s8(&lanes, [UInt8](repeating: 255, count: 64), [Int8](repeating: -128, count: 64))
    #expect(lanes == [UInt32](repeating: UInt32(bitPattern: Int32.min &- 4 * 255 * 128), count: 16))
  }

  @Test func expansionSpreadsTheFirstElements() {
    var words = [UInt16](repeating: 9, count: 32)
    ck_vector_model_expand16(&words, Array(1...32), 0x8000_0012)
    #expect(words == (0..<32).map { [1: 1, 4: 2, 31: 3][$0] ?? 0 })
    var bytes = [UInt8](repeating: 9, count: 64)
    ck_vector_model_expand8(&bytes, Array(1...64), 1 << 63 | 1 << 7)
    #expect(bytes == (0..<64).map { [7: 1, 63: 2][$0] ?? 0 })
  }

  @Test func multishiftTakesBytesAtAnyBit() {
    let source = (0..<8).map { 0x8000_0000_0000_0321 + UInt64($0) << 32 }
    let controls: [UInt8] = [0, 4, 8, 32, 28, 60, 63, 64 + 4]
    var bytes = [UInt8](repeating: 9, count: 64)
    ck_vector_model_multishift(&bytes, (0..<64).map { controls[$0 % 8] }, source)
    for (qword, got) in (0..<8).map({ ($0, Array(bytes[8 * $0..<8 * $0 + 8])) }) {
      #expect(got == [0x21, 0x32, 0x03, UInt8(qword), UInt8(qword << 4), 0x18, 0x43, 0x32], "\(qword)")
    }
  }

  @Test func maskedMovesTouchActiveElementsAlone() {
    var target = [UInt16](repeating: 0xAAAA, count: 3)
    ck_vector_model_move(&target, [1, 2, 3] as [UInt16], 2, 0b101)
    #expect(target == [1, 0xAAAA, 3])
  }

  /// Bits 0 and 1 of a predicate: equal, less, less or equal, or unordered. Bit 2 negates, bit 3 swaps the answer for NaN, bit 4
  /// is about exceptions.
  @Test(arguments: Int32(0)..<32)
  func predicatesFollowTheirBits(predicate: Int32) {
    let swapped = predicate & 8 != 0
    let pairs: [(Float, Float)] = [(1, 2), (2, 2), (3, 2), (.nan, 2), (2, .nan), (-.infinity, .infinity), (0, -0.0)]
    let a = pairs.map(\.0) + [Float](repeating: 0, count: 16 - pairs.count)
    let b = pairs.map(\.1) + [Float](repeating: 0, count: 16 - pairs.count)
    let mask = ck_vector_model_compare(a, b, predicate)
    for i in 0..<16 {
      let unordered = a[i].isNaN || b[i].isNaN
      let positive = [a[i] == b[i], a[i] < b[i], a[i] <= b[i], false][Int(predicate & 3)]
      let answer = unordered ? (predicate & 3 == 3) != swapped : positive
      #expect((mask >> i & 1 == 1) == (answer != (predicate & 4 != 0)), "predicate \(predicate), lane \(i)")
    }
  }
}
