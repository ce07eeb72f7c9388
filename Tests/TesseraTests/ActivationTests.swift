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

  @Test(arguments: Converter.all, [Float.nan, -.nan, .signalingNaN, .infinity, -.infinity])
  func aRowThatIsNotFiniteHasNoInt8Form(converter: Converter, value: Float) throws {
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
    }
  }

  @Test(arguments: Converter.all)
  func aRowOfZerosHasStepZero(converter: Converter) throws {
    let row = try convert([Float](repeating: -0.0, count: 5), to: Int8.self, padded: 64) {
      converter.functions.quantize_f32($0, 5, 64, $1)
    }
    #expect(row.result == 0)
    #expect(row.target == [Int8](repeating: 0, count: 64))
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
