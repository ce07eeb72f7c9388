internal import CKernels
@testable internal import KernelChecks
internal import Testing

@testable internal import Tessera

/// The conversions of x: every form of them against the rules of Docs/Numerics.md, on memory that ends at an inaccessible page.
@Suite struct ActivationTests {
  struct Converter: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let functions: ck_x_converter

    static let all: [Converter] = {
      var count = 0
      let converters = UnsafeBufferPointer(start: ck_x_converters(&count), count: count)
      return converters.compactMap { converter in
        let needed = InstructionSet(rawValue: converter.isa)
        guard InstructionSet.detect().isSuperset(of: needed) else { return nil }
        return Converter(testDescription: needed.description, functions: converter)
      }
    }()
  }

  static let lengths = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 1000]

  /// Every kind of number, and every bit pattern that rounds in an interesting way.
  private static func source(_ count: Int, finite: Bool) -> [Float] {
    var random = SeededGenerator(seed: UInt64(count))
    return (0..<count).map { _ in
      switch Int.random(in: 0..<4, using: &random) {
      case 0: return Float.random(in: -4...4, using: &random)
      case 1: return Float(bitPattern: UInt32.random(in: 0...0xFFFF, using: &random) << 16 | 0x8000)
      case 2: return finite ? -0.0 : [.infinity, -.infinity, .nan, -0.0].randomElement(using: &random) ?? 0
      default: return Float(bitPattern: .random(in: 0...UInt32.max, using: &random))
      }
    }.map { finite && !$0.isFinite ? Float.greatestFiniteMagnitude : $0 }
  }

  /// Runs a conversion between two guarded buffers; the bytes that it wrote, and its result.
  private func convert<Element: BitwiseCopyable, Target: BitwiseCopyable, Result>(
    _ source: [Element], to _: Target.Type, padded: Int, _ body: (UnsafePointer<Element>, UnsafeMutablePointer<Target>) -> Result
  ) throws -> (target: [Target], result: Result) {
    let from = try #require(GuardedBuffer(copying: source, guardPage: .after))
    let into = try #require(GuardedBuffer(byteCount: padded * MemoryLayout<Target>.stride, guardPage: .after))
    from.freeze()
    let result = body(from.pointer(to: Element.self), into.pointer(to: Target.self))
    #expect(into.surroundingsAreUntouched)
    return (Array(UnsafeBufferPointer(start: into.pointer(to: Target.self), count: padded)), result)
  }

  @Test(arguments: Converter.all, lengths)
  func bfloat16RoundsToNearestEven(converter: Converter, length: Int) throws {
    let source = ActivationTests.source(length, finite: false)
    let padded = ck_k_padded(length, .CK_BF16)
    let target = try convert(source, to: UInt16.self, padded: padded) { converter.functions.from_f32($0, length, padded, $1) }
      .target
    #expect(target == source.map { BFloat16($0).bits } + [UInt16](repeating: 0, count: padded - length))
    let copied = try convert(target, to: UInt16.self, padded: padded + 32) {
      converter.functions.from_bf16($0, padded, padded + 32, $1)
    }.target
    #expect(copied == target + [UInt16](repeating: 0, count: 32))
  }

  @Test(arguments: Converter.all, lengths)
  func int8FollowsItsRule(converter: Converter, length: Int) throws {
    let padded = ck_k_padded(length, .CK_INT8)
    for scale in [Float(1), 0x1p-140, 0x1p-20] {
      let floats = ActivationTests.source(length, finite: true).map { max(-4, min(4, $0)) * scale }
      let fromFloat = try convert(floats, to: Int8.self, padded: padded) {
        converter.functions.quantize_f32($0, length, padded, $1)
      }
      expectRule(floats, fromFloat.target, step: fromFloat.result)
      let halves = floats.map { BFloat16($0) }
      let fromHalf = try convert(halves.map(\.bits), to: Int8.self, padded: padded) {
        converter.functions.quantize_bf16($0, length, padded, $1)
      }
      expectRule(halves.map { Float($0) }, fromHalf.target, step: fromHalf.result)
    }
  }

  private func expectRule(_ source: [Float], _ codes: [Int8], step: Float) {
    let largest = source.reduce(0) { max($0, abs($1)) }
    let expected = source.map { largest == 0 ? 0 : Int8(($0 / largest * 127).rounded(.toNearestOrEven)) }
    #expect(step == largest / 127)
    #expect(codes == expected + [Int8](repeating: 0, count: codes.count - source.count))
  }

  /// Both planes of a row, put together again.
  private func planes<Element: BitwiseCopyable>(
    _ source: [Element], padded: Int,
    _ body: (UnsafePointer<Element>, UnsafeMutablePointer<Int8>, UnsafeMutablePointer<Int8>) -> Float
  ) throws -> (codes: [Int], step: Float) {
    let high = try #require(GuardedBuffer(byteCount: padded, guardPage: .after))
    let low = try convert(source, to: Int8.self, padded: padded) { body($0, high.pointer(to: Int8.self), $1) }
    #expect(high.surroundingsAreUntouched)
    let upper = UnsafeBufferPointer(start: high.pointer(to: Int8.self), count: padded)
    let codes = zip(upper, low.target).map { 256 * Int($0) + Int($1) }
    return (codes, low.result)
  }

  @Test(arguments: Converter.all, lengths)
  func int16FollowsItsRule(converter: Converter, length: Int) throws {
    let padded = ck_k_padded(length, .CK_INT16)
    for scale in [Float(1), 0x1p-140, 0x1p-20] {
      let floats = ActivationTests.source(length, finite: true).map { max(-4, min(4, $0)) * scale }
      let fromFloat = try planes(floats, padded: padded) { converter.functions.quantize16_f32($0, length, padded, $1, $2) }
      expectRule16(floats, fromFloat.codes, step: fromFloat.step)
      let halves = floats.map { BFloat16($0) }
      let fromHalf = try planes(halves.map(\.bits), padded: padded) {
        converter.functions.quantize16_bf16($0, length, padded, $1, $2)
      }
      expectRule16(halves.map { Float($0) }, fromHalf.codes, step: fromHalf.step)
    }
  }

  private func expectRule16(_ source: [Float], _ codes: [Int], step: Float) {
    let largest = source.reduce(0) { max($0, abs($1)) }
    let expected = source.map { largest == 0 ? 0 : Int(($0 / largest * 32639).rounded(.toNearestOrEven)) }
    #expect(step == largest / 32639)
    #expect(codes == expected + [Int](repeating: 0, count: codes.count - source.count))
    // What Docs/Numerics.md says of the distance, where the step itself is not denormal.
    guard step > 0x1p-100 else { return }
    for (value, code) in zip(source, codes) {
      #expect(abs(Double(value) - Double(code) * Double(step)) <= Double(step) * (0.5 + 0x1p-7))
    }
  }

  /// The bound of Docs/Numerics.md against bfloat16's, for rows of every kind: the squares of a row's errors.
  @Test(arguments: [64, 4096, 14336], [Float(1), 30, 3000])
  func int16IsCloserToARowThanBFloat16(length: Int, outlier: Float) throws {
    var random = SeededGenerator(seed: UInt64(length))
    var row = (0..<length).map { _ in Float.random(in: -1...1, using: &random) + Float.random(in: -1...1, using: &random) }
    row[length / 3] *= outlier
    let padded = ck_k_padded(length, .CK_INT16)
    let fixed = try planes(row, padded: padded) { ck_x_quantize16_f32($0, length, padded, $1, $2) }
    func squares(_ approximation: (Int) -> Double) -> Double {
      row.indices.reduce(0) { $0 + (Double(row[$1]) - approximation($1)) * (Double(row[$1]) - approximation($1)) }
    }
    let int16 = squares { Double(fixed.codes[$0]) * Double(fixed.step) }
    let bfloat16 = squares { Double(Float(BFloat16(row[$0]))) }
    #expect(int16 < bfloat16, "\(int16.squareRoot()) and \(bfloat16.squareRoot())")
    let largest = row.reduce(0) { max($0, Double(abs($1))) }
    #expect(int16.squareRoot() <= 1.02 * largest * Double(length).squareRoot() / 65278)
  }

  @Test(arguments: Converter.all, [Float.nan, -.nan, .signalingNaN, .infinity, -.infinity])
  func aRowThatIsNotFiniteHasNoIntegers(converter: Converter, value: Float) throws {
    for position in [0, 7, 8, 39] {
      var source = [Float](repeating: 1, count: 40)
      source[position] = value
      let fromFloat = try convert(source, to: Int8.self, padded: 64) { converter.functions.quantize_f32($0, 40, 64, $1) }
      #expect(fromFloat.result.isNaN)
      #expect(fromFloat.target == [Int8](repeating: 0, count: 64))
      let fromHalf = try convert(source.map { BFloat16($0).bits }, to: Int8.self, padded: 64) {
        converter.functions.quantize_bf16($0, 40, 64, $1)
      }
      #expect(fromHalf.result.isNaN)
      #expect(fromHalf.target == [Int8](repeating: 0, count: 64))
      let fixed = try planes(source, padded: 64) { converter.functions.quantize16_f32($0, 40, 64, $1, $2) }
      #expect(fixed.step.isNaN)
      #expect(fixed.codes == [Int](repeating: 0, count: 64))
    }
  }

  @Test(arguments: Converter.all)
  func aRowOfZerosHasStepZero(converter: Converter) throws {
    let row = try convert([Float](repeating: -0.0, count: 5), to: Int8.self, padded: 64) {
      converter.functions.quantize_f32($0, 5, 64, $1)
    }
    #expect(row.result == 0)
    #expect(row.target == [Int8](repeating: 0, count: 64))
    let fixed = try planes([Float](repeating: -0.0, count: 5), padded: 64) {
      converter.functions.quantize16_f32($0, 5, 64, $1, $2)
    }
    #expect(fixed.step == 0)
    #expect(fixed.codes == [Int](repeating: 0, count: 64))
  }

  /// A level caps the conversions of x as it caps the kernels, and so does what a machine lacks.
  @Test(arguments: [nil, "scalar", "avx2", "avx512", "avx512bf16", "amx"], [InstructionSet](arrayLiteral: [], .avx2, everything))
  func conversionsKeepToTheLevel(level: String?, features: InstructionSet) throws {
    let selection = KernelSelection(features: features, level: try level.map { try ISALevel($0) })
    let chosen = InstructionSet(rawValue: activationConverter(for: selection).isa)
    #expect(features.isSuperset(of: chosen))
    let hasVectorForm = KernelVariant.all.contains { $0.isaTag == "avx2" }
    #expect(chosen == (hasVectorForm && level != "scalar" && features.contains(.avx2) ? .avx2 : []))
  }

  private static let everything = InstructionSet([.avx2, .avx512, .avx512vbmi2, .avx512bf16, .amxtile, .amxbf16])
}
