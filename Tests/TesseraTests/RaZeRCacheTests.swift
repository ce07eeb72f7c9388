internal import CKernels
internal import Foundation
internal import Testing

@Suite struct RaZeRCacheTests {
  static let types: [ck_kv_type] = [.CK_KV_RAZER_KEYS, .CK_KV_RAZER_VALUES]

  /// Distributions of unit variance, and the relative squared error that the published rule leaves of 2^20 samples (groups of 16,
  /// E4M3 scales, special values 5 and -5).
  enum Distribution: String, CaseIterable {
    case normal, laplace, studentT5

    var relativeError: Double {
      switch self {
      case .normal: 6.21e-3
      case .laplace: 6.51e-3
      case .studentT5: 6.54e-3
      }
    }

    func sample(_ random: inout SeededGenerator) -> Double {
      func unit() -> Double { Double.random(in: 0x1p-53..<1, using: &random) }
      func normal() -> Double { (-2 * log(unit())).squareRoot() * cos(2 * .pi * unit()) }
      switch self {
      case .normal: return normal()
      case .laplace: return (Bool.random(using: &random) ? 1 : -1) * log(unit()) / 2.0.squareRoot()
      case .studentT5:
        let squares = (0..<5).reduce(0.0) { sum, _ in sum + pow(normal(), 2) }
        return normal() / (squares / 5).squareRoot() * 0.6.squareRoot()
      }
    }
  }

  @Test(arguments: types, Distribution.allCases)
  func errorsAreThoseOfThePublishedRule(type: ck_kv_type, distribution: Distribution) {
    var random = SeededGenerator(seed: 1)
    let part = KVPart(type, dimension: 128)
    var (error, size) = (0.0, 0.0)
    for _ in 0..<(1 << 20) / 128 {
      let row = (0..<128).map { _ in Float(distribution.sample(&random)) }
      for (x, y) in zip(row, part.held(row)) {
        error += pow(Double(y) - Double(x), 2)
        size += pow(Double(x), 2)
      }
    }
    #expect(abs(error / size / distribution.relativeError - 1) < 0.02, "\(error / size)")
  }

  /// A row of the values of all codes comes back, whatever power of two and sign it has.
  @Test(arguments: types, [1, Float(0x1p-100), 0x1p100, -1, -0x1p-7])
  func valuesOfCodesAreExact(type: ck_kv_type, factor: Float) {
    let values: [Float] = [6, 5, 4, 3, 2, 1.5, 1, 0.5, 0, -0.5, -1, -1.5, -2, -3, -4, -6]
    let row = values.map { $0 * factor }
    #expect(KVPart(type, dimension: 16).held(row) == row)
  }

  /// Halves between two levels go away from zero, on both sides, and so does the choice of the special value's sign to 5.
  @Test(arguments: types)
  func tiesGoAwayFromZero(type: ck_kv_type) {
    let row: [Float] = [6, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 4.5, 5.5, -0.25, -0.75, -1.25, -1.75, -2.5, -3.5, 0]
    let held: [Float] = [6, 0.5, 1, 1.5, 2, 3, 4, 5, 6, -0.5, -1, -1.5, -2, -3, -4, 0]
    let part = KVPart(type, dimension: 16)
    #expect(part.held(row) == held)
    let both: [Float] = [6, 5, -5] + Array(repeating: 0, count: 13)
    #expect(part.held(both) == [6, 5, -6] + Array(repeating: 0, count: 13))
    let negative: [Float] = [6, 5, -5, -5] + Array(repeating: 0, count: 12)
    #expect(part.held(negative) == [6, 6, -5, -5] + Array(repeating: 0, count: 12))
  }

  @Test(arguments: types)
  func rowsWithoutSuchAForm(type: ck_kv_type) {
    let part = KVPart(type, dimension: 40)
    #expect(part.held(Array(repeating: 0, count: 40)) == Array(repeating: 0, count: 40))
    for bad in [Float.nan, .infinity, -.infinity] {
      var row = [Float](repeating: 1, count: 40)
      row[33] = bad
      #expect(part.held(row).allSatisfy { $0.isNaN })
    }
    #expect(part.held(Array(repeating: .greatestFiniteMagnitude, count: 40)).allSatisfy { $0 > 0x1p127 })
    #expect(part.held(Array(repeating: .leastNonzeroMagnitude, count: 40)).allSatisfy { abs($0) < 0x1p-126 })
  }

  /// Rows share lines of memory: writing and copying one leaves the others alone.
  @Test(arguments: types, [1, 16, 31, 32, 33, 64, 80, 96, 128, 200])
  func rowsDoNotTouchEachOther(type: ck_kv_type, dimension: Int) {
    var random = SeededGenerator(seed: UInt64(dimension))
    let (part, other) = (KVPart(type, dimension: dimension), KVPart(type, dimension: dimension))
    func row() -> [Float] { (0..<dimension).map { _ in Float.random(in: -1...1, using: &random) } }
    for slot in 0..<64 { part.write(row(), slot: slot) }
    var held = (0..<64).map { part.read(slot: $0) }
    for slot in [5, 0, 63, 32, 31] {
      part.write(row(), slot: slot)
      held[slot] = part.read(slot: slot)
    }
    #expect((0..<64).map { part.read(slot: $0) } == held)
    for slot in 0..<64 { part.copy(slot: slot, to: other, slot: 63 - slot) }
    #expect((0..<64).map { other.read(slot: 63 - $0) } == held)
  }
}
