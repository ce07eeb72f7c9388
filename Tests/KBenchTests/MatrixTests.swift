import CKernels
import Tessera
import Testing

@testable import kbench

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

@Suite struct MatrixTests {
  private let executor: Executor
  private var pool: ThreadPool { executor.pool }
  private let seed = UInt64.random(in: 0 ... .max)

  init() throws { executor = try Executor(threads: 1) }

  /// The peers read Bench/shapes, kbench its own table.
  @Test func presetsAreThoseOfTheShapeFiles() throws {
    let root = #filePath.components(separatedBy: "/").dropLast(3).joined(separator: "/")
    let files = try FileManager.default.contentsOfDirectory(atPath: root + "/Bench/shapes").filter { $0.hasSuffix(".txt") }
    #expect(Set(files) == Set(ModelPreset.all.map { $0.name + ".txt" }))
    for preset in ModelPreset.all {
      let text = try String(contentsOfFile: "\(root)/Bench/shapes/\(preset.name).txt", encoding: .utf8)
      let lines = text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map(String.init)
      let layers = (preset.block + [preset.head]).map { "\($0.name) \($0.outputs) \($0.inputs)" }
      #expect(lines == layers, "\(preset.name)")
      #expect(text.contains("\(preset.blockCount) blocks"), "\(preset.name)")
    }
  }

  @Test func randomWeightsHaveNoZeros() throws {
    let matrix = SourceMatrix(random: Shape(outputs: 33, inputs: 257), seed: seed, on: pool)
    #expect(matrix.values.allSatisfy { $0.bits & 0x7FFF != 0 }, "seed \(seed)")
    let again = SourceMatrix(random: Shape(outputs: 33, inputs: 257), seed: seed, on: pool)
    #expect(matrix.values == again.values, "seed \(seed)")
    let packed = try matrix.packed(PackingChoice(format: .bitmapInt8, activations: .int8, sparsity: 0), seed: seed, on: executor)
    #expect((packed as? BitmapWeights)?.density == 1, "int8 rounds a weight to zero; seed \(seed)")
  }

  @Test func randomPruningKeepsWhatItShould() throws {
    let matrix = SourceMatrix(random: Shape(outputs: 64, inputs: 1024), seed: seed, on: pool)
    let zeros = try matrix.pruned(0.7, seed: seed, on: executor).values.count { $0.bits == 0 }
    #expect(abs(Double(zeros) / 65536 - 0.7) < 0.02, "seed \(seed)")
  }

  @Test func tensorsLoseTheSmallestOfEachRow() throws {
    let rows: [[Float]] = [[4, -1, 3, 2], [-8, 7, 6, 5], [0, 0, 0, 1]]
    let values = rows.flatMap { $0 }.map { BFloat16($0) }
    let matrix = SourceMatrix(shape: Shape(outputs: 3, inputs: 4), tensor: "w", values: values)
    let pruned = try matrix.pruned(0.5, seed: seed, on: executor).values.map { Float($0) }
    #expect(pruned == [4, 0, 3, 0, -8, 7, 0, 0, 0, 0, 0, 1])
  }

  @Test(arguments: WeightFormat.allCases, [(16, 32), (100, 70), (1, 1)])
  func copiesAreEqualAndApart(format: WeightFormat, size: (Int, Int)) throws {
    let matrix = SourceMatrix(random: Shape(outputs: size.0, inputs: size.1), seed: seed, on: pool)
    let packed = try matrix.packed(
      PackingChoice(format: format, activations: format.activations[0], sparsity: 0.5), seed: seed, on: executor)
    let copies = try WeightCopies(of: packed, count: 3, on: pool)
    var addresses = Set<UnsafeRawPointer>()
    for _ in 0..<3 {
      let copy = copies.next()
      for (part, original) in zip(copy.parts, packed.parts) {
        #expect(addresses.insert(part.region.base).inserted)
        #expect(part.region.bytes.elementsEqual(original.region.bytes), "\(format), seed \(seed)")
        #expect(Int(bitPattern: part.region.base) % 64 == 0)
      }
      let panels = 0..<packed.panelCount
      #expect(copy.dequantized(panels: panels) == packed.dequantized(panels: panels))
      #expect(copy.dequantized(panels: panels).count == size.0 * size.1)
    }
  }

  /// A matrix of a file keeps its weights as well as 4 bits can.
  @Test(arguments: WeightFormat.allCases.filter { $0.code4 != nil })
  func weightsOfAFileAreQuantized(format: WeightFormat) throws {
    let shape = Shape(outputs: 40, inputs: 200)
    let values = SourceMatrix(random: shape, seed: seed, on: pool).values
    let matrix = SourceMatrix(shape: shape, tensor: "w", values: values)
    let packed = try matrix.packed(
      PackingChoice(format: format, activations: format.activations[0], sparsity: nil), seed: seed, on: executor)
    let errors = zip(packed.dequantized(panels: 0..<packed.panelCount), values).map { $0 - Double(Float($1)) }
    let whole = values.reduce(0.0) { $0 + Double(Float($1)) * Double(Float($1)) }
    let relative = errors.reduce(0.0) { $0 + $1 * $1 } / whole
    #expect(relative > 1e-3 && relative < 2e-2, "\(relative), seed \(seed)")
  }

  @Test func aWeightThatIsNotFiniteIsRefused() {
    let matrix = SourceMatrix(shape: Shape(outputs: 1, inputs: 2), tensor: "w", values: [BFloat16(1), BFloat16(.nan)])
    #expect(throws: BenchError.self) {
      try matrix.packed(PackingChoice(format: .razerG128, activations: .int8, sparsity: nil), seed: seed, on: executor)
    }
  }

  @Test func dequantizedPanelsAreSlices() throws {
    let matrix = SourceMatrix(random: Shape(outputs: 40, inputs: 70), seed: seed, on: pool)
    for format in WeightFormat.allCases {
      let packed = try matrix.packed(
        PackingChoice(format: format, activations: format.activations[0], sparsity: 0.3), seed: seed, on: executor)
      let all = packed.dequantized(panels: 0..<3)
      #expect(packed.dequantized(panels: 1..<2) == Array(all[16 * 70..<32 * 70]), "\(format), seed \(seed)")
      #expect(packed.dequantized(panels: 2..<3) == Array(all[(32 * 70)...]), "\(format), seed \(seed)")
    }
  }
}

@Suite struct VerdictTests {
  private let executor: Executor
  private let seed = UInt64.random(in: 0 ... .max)

  init() throws { executor = try Executor(threads: 1) }

  @Test(arguments: WeightFormat.allCases)
  func rightKernelsPass(format: WeightFormat) throws {
    let matrix = SourceMatrix(random: Shape(outputs: 100, inputs: 600), seed: seed, on: executor.pool)
    let weights = try matrix.packed(
      PackingChoice(format: format, activations: format.activations[0], sparsity: 0.5), seed: seed, on: executor)
    let x = TestActivations(rows: 20, inputs: 600, seed: seed)
    for variant in KernelVariant.all(for: format) where executor.selection.allows(variant) {
      let accuracy = try KernelVerdict.check(variant, on: weights, x: x, executor: executor, seed: seed)
      #expect(accuracy.isWithinBound, "\(variant): \(accuracy), seed \(seed)")
    }
  }

  /// The smallest mistake of a kernel: one product of a long row is missing.
  @Test func aDroppedElementIsCaught() throws {
    let count = 4096
    let name: StaticString = "dense_gemm_forgetful"
    let forgetful = KernelVariant(
      ck_dense_gemm_variant(
        name: UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self), isa: 0, min_m: 1,
        scratch_bytes: { _ in 0 },
        run: { call, weights, begin, end, scratch in
          var count = 0
          var shorter = call.pointee
          shorter.k -= 1
          let scalar = UnsafeBufferPointer(start: ck_dense_gemm_variants(&count), count: count).last
          scalar?.run(&shorter, weights, begin, end, scratch)
        }))
    let matrix = SourceMatrix(random: Shape(outputs: 16, inputs: count), seed: seed, on: executor.pool)
    let weights = try matrix.packed(PackingChoice(format: .bf16, activations: .bfloat16, sparsity: nil), seed: seed, on: executor)
    let x = TestActivations(rows: 4, inputs: count, seed: seed)
    let accuracy = try KernelVerdict.check(forgetful, on: weights, x: x, executor: executor, seed: seed)
    #expect(!accuracy.isWithinBound, "\(accuracy), seed \(seed)")
  }
}

@Suite struct ReadPatternTests {
  @Test(arguments: [0, 8, 248, 256, 1024, 1032, 4096, 10_000])
  func everyPatternSumsTheSame(bytes: Int) {
    let seed = UInt64.random(in: 0 ... .max)
    var generator = SplitMix64(seed: seed)
    let words = (0..<bytes / 8).map { _ in generator.next() }
    let features = InstructionSet.detect()
    var count = 0
    let patterns = UnsafeBufferPointer(start: ck_read_patterns(&count), count: count)
    #expect(patterns.last?.isa == 0)
    for pattern in patterns where features.isSuperset(of: InstructionSet(rawValue: pattern.isa)) {
      let sum = words.withUnsafeBytes { bytes in bytes.baseAddress.map { pattern.run($0, bytes.count) } ?? 0 }
      #expect(sum == words.reduce(0, &+), "\(String(cString: pattern.name)), seed \(seed)")
    }
  }
}
