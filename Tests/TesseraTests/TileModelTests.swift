import EmulatedKernels
import Testing

/// The C model of the AMX tiles: arithmetic worked out by hand, exact extents, and the faults of a processor.
@Suite struct TileModelTests {
  static let one: UInt16 = 0x3F80
  static let twoTo24: UInt16 = 0x4B80  // fp32 cannot tell 2^24 + 1 from 2^24
  static let denormal: UInt16 = 0x0040  // 2^-127

  /// Tiles 0, 1, 2 as C[m x n] += A[m x k] B[k x n], n and k in groups of 4 bytes; other tiles have no shape.
  static func configuration(m: Int, n: Int, k: Int) -> [UInt8] {
    var config = [UInt8](repeating: 0, count: 64)
    config[0] = 1
    for (tile, shape) in [(m, n), (m, k), (k, n)].enumerated() {
      config[16 + 2 * tile] = UInt8(4 * shape.1)
      config[48 + tile] = UInt8(shape.0)
    }
    return config
  }

  static func fault() -> String? { ck_model_take_fault().map { String(cString: $0) } }

  /// One output of TDPBF16PS: `c` plus the products of pairs.
  private func dot(_ c: Float, _ a: [UInt16], _ b: [UInt16]) -> Float {
    ck_tile_model_configure(Self.configuration(m: 1, n: 1, k: a.count / 2))
    var result = c
    ck_tile_model_load(0, &result, 64)
    ck_tile_model_load(1, a, 64)
    ck_tile_model_load(2, b, 4)
    ck_tile_model_dot_bf16(0, 1, 2)
    ck_tile_model_store(0, &result, 64)
    ck_tile_model_release()
    #expect(Self.fault() == nil)
    return result
  }

  @Test func evenAndOddElementsAreChainsOfTheirOwn() {
    // In one chain 2^24 would swallow both ones; the odd chain keeps 1 + 1.
    let a = [Self.twoTo24, Self.one, 0, Self.one]
    #expect(dot(0, a, [Self.one, Self.one, 0, Self.one]) == 0x1p24 + 2)
    // Within a chain it does swallow them.
    #expect(dot(0, [Self.twoTo24, 0, Self.one, 0, Self.one, 0], [Self.one, 0, Self.one, 0, Self.one, 0]) == 0x1p24)
  }

  @Test func cIsAddedOnceAtTheEnd() {
    // 2^24 + (1 + 1), where adding one after the other gives 2^24.
    #expect(dot(0x1p24, [Self.one, Self.one], [Self.one, Self.one]) == 0x1p24 + 2)
  }

  @Test func denormalsAreFlushedOnTheWayInAndOut() {
    #expect(dot(0, [Self.denormal, 0], [0x7E80, 0]) == 0)  // 2^-127 * 2^126
    #expect(dot(0x1p-127, [0, 0], [0, 0]) == 0)
    #expect(dot(0, [0x2000, 0], [0x1F00, 0]) == 0)  // 2^-63 * 2^-65 = 2^-128
    #expect(dot(0, [0x2000, 0], [0x2000, 0]) == 0x1p-126)
  }

  @Test func aSumThatRoundsUpToTheSmallestNormalNumberIsFlushed() {
    // 2^-126 - 2^-150 is a 24-bit number below 2^-126. Rounded as a denormal it would become 2^-126.
    let a: [UInt16] = [0x2000, 0, 0x9A00, 0]  // 2^-63, -2^-75
    #expect(dot(0, a, [0x2000, 0, 0x1A00, 0]) == 0)  // 2^-126 - 2^-150
    // 2^-126 - 2^-152 rounds to 2^-126 in 24 bits.
    #expect(dot(0, a, [0x2000, 0, 0x1900, 0]) == 0x1p-126)
  }

  @Test func nanAndInfinityPropagate() {
    #expect(dot(0, [0x7F80, 0], [Self.one, 0]) == .infinity)
    #expect(dot(0, [0x7F80, 0], [0, 0]).isNaN)
    #expect(dot(.nan, [0, 0], [0, 0]).isNaN)
  }

  @Test func int8SumsAreSignedAndWrap() {
    ck_tile_model_configure(Self.configuration(m: 1, n: 1, k: 1))
    var c: [Int32] = [.min]
    let a: [Int8] = [-128, 127, -1, 2]
    let b: [Int8] = [-128, -128, 127, 3]
    ck_tile_model_load(0, c, 64)
    ck_tile_model_load(1, a, 64)
    ck_tile_model_load(2, b, 64)
    ck_tile_model_dot_int8(0, 1, 2)
    ck_tile_model_dot_int8(0, 1, 2)
    ck_tile_model_store(0, &c, 64)
    ck_tile_model_release()
    #expect(c == [.min &+ 2 * (16384 - 16256 - 127 + 6)])
    #expect(Self.fault() == nil)
  }

  @Test func storesWriteTheShapeAlone() {
    ck_tile_model_configure(Self.configuration(m: 3, n: 2, k: 1))
    ck_tile_model_zero(0)
    var target = [UInt8](repeating: 0xAA, count: 4 * 10)
    ck_tile_model_store(0, &target, 10)
    ck_tile_model_release()
    let row = [UInt8](repeating: 0, count: 8) + [0xAA, 0xAA]
    #expect(target == row + row + row + [UInt8](repeating: 0xAA, count: 10))
  }

  @Test func configurationFaultsAreNamed() {
    func fault(at byte: Int, _ value: UInt8) -> String? {
      var config = Self.configuration(m: 4, n: 4, k: 4)
      config[byte] = value
      ck_tile_model_configure(config)
      return Self.fault()
    }
    #expect(fault(at: 0, 2) == "LDTILECFG: the palette is not 1")
    #expect(fault(at: 2, 1) == "LDTILECFG: a reserved byte is not 0")
    #expect(fault(at: 48, 17) == "LDTILECFG: more than 16 rows")
    #expect(fault(at: 16, 65) == "LDTILECFG: rows of more than 64 bytes")
    #expect(fault(at: 48, 0) == "LDTILECFG: a tile with rows or bytes, but not both")
    #expect(fault(at: 56, 1) == "LDTILECFG: a shape beyond tile 7")
  }

  @Test func useFaultsAreNamed() {
    ck_tile_model_release()
    ck_tile_model_zero(0)
    #expect(Self.fault() == "tiles are used before they are configured")
    ck_tile_model_configure(Self.configuration(m: 4, n: 4, k: 4))
    ck_tile_model_zero(3)
    #expect(Self.fault() == "a tile without a shape is used")
    ck_tile_model_zero(8)
    #expect(Self.fault() == "there is no such tile")
    ck_tile_model_dot_bf16(0, 1, 1)
    #expect(Self.fault() == "a multiplication names a tile twice")
    var config = Self.configuration(m: 4, n: 4, k: 4)
    config[49] = 5
    ck_tile_model_configure(config)
    ck_tile_model_dot_int8(0, 1, 2)
    #expect(Self.fault() == "a multiplication where A and C have different rows")
    #expect(Self.fault() == nil)
    ck_tile_model_release()
  }
}
