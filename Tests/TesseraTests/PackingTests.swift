internal import CKernels
internal import Testing

@testable internal import Tessera

/// Packing on many threads: the same bytes as on one, each panel written by the thread that will read it.
@Suite struct PackingTests {
  /// Panels of very different density, a last one with 5 rows, k inside a tile.
  private static let (outputs, inputs) = (16 * 40 + 5, 203)

  private static func matrix(seed: UInt64 = 11) -> [BFloat16] {
    var random = SeededGenerator(seed: seed)
    return (0..<outputs * inputs).map { at in
      let density = Double(at / inputs % 97) / 96
      return Double.random(in: 0..<1, using: &random) < density ? BFloat16(Float.random(in: -1...1, using: &random)) : .zero
    }
  }

  /// Everything that a kernel reads.
  private static func bytes(of weights: any PackedWeights) -> [[UInt8]] {
    let regions: [MemoryRegion?] =
      switch weights {
      case let weights as DenseWeights: [weights.values, weights.bias]
      case let weights as BitmapWeights:
        [weights.bitmap, weights.values, weights.offsets, weights.rowScale, weights.rowSum, weights.bias]
      default: []
      }
    return regions.map { $0.map { Array($0.bytes) } ?? [] }
  }

  private static func packed(_ format: WeightFormat, on pool: ThreadPool?) throws(TesseraError) -> any PackedWeights {
    let matrix = matrix()
    let bias = (0..<outputs).map { Float($0) }
    switch format {
    case .bf16: return try DenseWeights(packing: matrix.span, outputs: outputs, inputs: inputs, bias: bias, on: pool)
    case .bitmapBF16: return try BitmapWeights(packing: matrix.span, outputs: outputs, inputs: inputs, bias: bias, on: pool)
    default: return try BitmapWeights(quantizing: matrix.span, outputs: outputs, inputs: inputs, bias: bias, on: pool)
    }
  }

  /// More threads than panels among them.
  @Test(arguments: [WeightFormat.bf16, .bitmapBF16, .bitmapInt8], [1, 2, 3, 7, 64])
  func theBytesDoNotDependOnTheThreads(format: WeightFormat, threads: Int) throws {
    let pool = try ThreadPool(threads: threads, allowed: 64)
    let alone = PackingTests.bytes(of: try PackingTests.packed(format, on: nil))
    #expect(alone.contains { !$0.isEmpty })
    #expect(PackingTests.bytes(of: try PackingTests.packed(format, on: pool)) == alone)
  }

  @Test func quantisingBFloat16IsQuantisingTheSameFloats() throws {
    let matrix = PackingTests.matrix()
    let floats = matrix.map { Float($0) }
    let (n, k) = (PackingTests.outputs, PackingTests.inputs)
    let narrow = try BitmapWeights(quantizing: matrix.span, outputs: n, inputs: k)
    let wide = try BitmapWeights(quantizing: floats.span, outputs: n, inputs: k)
    #expect(PackingTests.bytes(of: narrow) == PackingTests.bytes(of: wide))
  }

  /// The first in the matrix, whichever thread finds its own first.
  @Test(arguments: [1, 3]) func theFirstWeightThatIsNotFiniteIsNamed(threads: Int) throws {
    let pool = try ThreadPool(threads: threads, allowed: 3)
    let (n, k) = (PackingTests.outputs, PackingTests.inputs)
    var matrix = PackingTests.matrix()
    for row in [n - 1, 300, 299] { matrix[row * k + 17] = BFloat16(bits: 0x7F80) }
    let floats = matrix.map { Float($0) }
    let error = TesseraError.nonFiniteWeight(row: 299, column: 17)
    #expect(throws: error) { try BitmapWeights(packing: matrix.span, outputs: n, inputs: k, on: pool) }
    #expect(throws: error) { try BitmapWeights(quantizing: matrix.span, outputs: n, inputs: k, on: pool) }
    #expect(throws: error) { try BitmapWeights(quantizing: floats.span, outputs: n, inputs: k, on: pool) }
  }

  /// Threads pack neighbouring panels at once, so a panel may not write a byte of the next one, not even for a moment.
  @Test(arguments: [ck_type.CK_BF16, .CK_INT8], [0.0, 0.1, 0.9, 1.0])
  func aPanelIsPackedWithoutTouchingItsNeighbours(type: ck_type, density: Double) throws {
    let (n, k) = (48, 77)
    var random = SeededGenerator(seed: 5)
    let source = (0..<n * k).map { _ in
      Double.random(in: 0..<1, using: &random) < density ? UInt16.random(in: 1...UInt16.max, using: &random) : 0
    }
    var offsets: [UInt64] = [0, 0, 0, 0]
    ck_bitmap_count(source, k, type, n, k, 0, 3, &offsets[1])
    for panel in 0..<3 { offsets[panel + 1] += offsets[panel] }
    let width = type == .CK_INT8 ? 1 : 2
    let own = Int(offsets[1]) * width..<Int(offsets[2]) * width
    var values = [UInt8](repeating: 0xA5, count: ck_bitmap_values_bytes(offsets[3], type))
    var bitmap = [UInt8](repeating: 0xA5, count: ck_bitmap_bytes(n, k, type))
    var sums = [Int32](repeating: -77, count: n)
    ck_bitmap_pack(source, k, type, n, k, 1, 2, offsets, &bitmap, &values, &sums)
    #expect(values[..<own.lowerBound].allSatisfy { $0 == 0xA5 } && values[own.upperBound...].allSatisfy { $0 == 0xA5 })
    let third = bitmap.count / 3
    #expect(bitmap[..<third].allSatisfy { $0 == 0xA5 } && bitmap[(2 * third)...].allSatisfy { $0 == 0xA5 })
    #expect(sums[..<16].allSatisfy { $0 == -77 } && sums[32...].allSatisfy { $0 == -77 })
  }

  @Test func finitenessIsOfEveryBit() {
    for bits in [UInt16(0), 0x8000, 0x0001, 0x7F7F, 0xFF7F] { #expect(ck_bf16_all_finite([bits], 1) != 0, "\(bits)") }
    for bits in [UInt16(0x7F80), 0xFF80, 0x7F81, 0xFFFF] {
      for position in [0, 7, 8, 62] {
        var values = [UInt16](repeating: 0x3F80, count: 63)
        values[position] = bits
        #expect(ck_bf16_all_finite(values, 63) == 0, "\(bits) at \(position)")
      }
    }
  }

  // What a multiplication takes is what packing wrote.

  @Test(arguments: [WeightFormat.bf16, .bitmapBF16, .bitmapInt8], [1, 2, 5, 16])
  func sharesCoverThePanelsInOrder(format: WeightFormat, threads: Int) throws {
    let weights = try PackingTests.packed(format, on: nil)
    for rows in [1, 64, 65] {
      let shares = PanelShares(of: weights, threads: threads, rows: rows)
      #expect(shares.count == min(threads, weights.panelCount))
      var next = 0
      for share in 0..<shares.count {
        let panels = shares.panels(share: share, of: weights)
        #expect(panels.lowerBound == next)
        var chunk = panels.lowerBound
        for index in 0..<shares.chunks {
          let part = shares.panels(share: share, chunk: index, of: weights)
          #expect(part.lowerBound == chunk)
          chunk = part.upperBound
        }
        #expect(chunk == panels.upperBound)
        next = panels.upperBound
      }
      #expect(next == weights.panelCount)
    }
  }
}
