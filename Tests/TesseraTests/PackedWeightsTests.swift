internal import CKernels
internal import Testing

@testable internal import Tessera

/// Shapes around every boundary of the layouts: panels of 16 rows, steps of 32 and 64 elements of k.
private let shapes = [
  (1, 1), (1, 64), (2, 3), (15, 31), (16, 32), (17, 33), (31, 63), (33, 65), (48, 129), (5, 511), (127, 7),
]

/// Bit patterns with zeros of both signs and denormals among them, never NaN or infinity.
private func patterns(_ count: Int, density: Double, finite: Bool = true) -> [BFloat16] {
  var random = SeededGenerator(seed: UInt64(count))
  return (0..<count).map { _ in
    guard Double.random(in: 0..<1, using: &random) < density else { return .zero }
    if Int.random(in: 0..<8, using: &random) == 0 {
      return BFloat16(bits: [0x8000, 0x0001, 0x807F, 0x7F7F].randomElement(using: &random) ?? 0)
    }
    let any = BFloat16(bits: .random(in: 0...UInt16.max, using: &random))
    return finite && !any.isFinite ? BFloat16(bits: 0x3F80) : any
  }
}

@Suite struct DenseWeightsTests {
  @Test(arguments: shapes)
  func unpackingGivesTheMatrixBack(n: Int, k: Int) throws {
    let matrix = patterns(n * k, density: 1, finite: false)
    let weights = try DenseWeights(packing: matrix.span, outputs: n, inputs: k)
    #expect(weights.unpacked() == matrix)
    #expect(weights.byteCount == ck_dense_packed_bytes(n, k))
    #expect(try DenseWeights(packed: weights.values, outputs: n, inputs: k).unpacked() == matrix)
  }

  /// 2 x 3: lane = row, each lane a pair of k; 14 rows and 29 columns of padding.
  @Test func theLayoutIsTheDocumentedOne() throws {
    let matrix: [BFloat16] = [0x11, 0x12, 0x13, 0x21, 0x22, 0x23].map { BFloat16(bits: $0) }
    let weights = try DenseWeights(packing: matrix.span, outputs: 2, inputs: 3)
    var expected = [UInt16](repeating: 0, count: 16 * 32)
    expected.replaceSubrange(0..<4, with: [0x11, 0x12, 0x21, 0x22])
    expected.replaceSubrange(32..<36, with: [0x13, 0, 0x23, 0])
    #expect(Array(weights.values.bytes.bindMemory(to: UInt16.self)) == expected)
  }

  @Test func sizes() {
    for (n, k, bytes) in [(1, 1, 1024), (16, 32, 1024), (17, 33, 4096), (1 << 20, 1 << 20, 2 << 40)] {
      #expect(ck_dense_packed_bytes(n, k) == bytes, "\(n) x \(k)")
    }
    for (n, k) in [(0, 1), (1, 0), (Int.max, Int.max), (-1, 1), (1, -1), (-16, 1), (1 << 32, 1 << 32)] {
      #expect(ck_dense_packed_bytes(n, k) == 0, "\(n) x \(k)")
    }
  }

  @Test func refusesWhatDoesNotFit() throws {
    let six = [BFloat16](repeating: .zero, count: 6)
    for (n, k) in [(0, 6), (6, 0), (-1, 6), (1 << 40, 1 << 40)] {
      #expect(throws: TesseraError.invalidShape(what: "dense weights", rows: n, columns: k)) {
        try DenseWeights(packing: six.span, outputs: n, inputs: k)
      }
    }
    #expect(throws: TesseraError.sizeMismatch(what: "dense weights", expected: 8, got: 6)) {
      try DenseWeights(packing: six.span, outputs: 2, inputs: 4)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "bias", expected: 2, got: 3)) {
      try DenseWeights(packing: six.span, outputs: 2, inputs: 3, bias: [1, 2, 3])
    }
    let packed = try DenseWeights(packing: six.span, outputs: 2, inputs: 3).values
    #expect(throws: TesseraError.sizeMismatch(what: "bytes of dense values", expected: 2048, got: 1024)) {
      try DenseWeights(packed: packed, outputs: 17, inputs: 3)
    }
    let whole = try MemoryRegion(byteCount: 1024 + 64) { _ in }
    let crooked = MemoryRegion(base: whole.base + 2, byteCount: 1024, keeping: whole)
    #expect(throws: TesseraError.sizeMismatch(what: "alignment of dense values", expected: 64, got: 2)) {
      try DenseWeights(packed: crooked, outputs: 2, inputs: 3)
    }
  }

  /// Each element of the second panel in turn: what lies beyond the columns must be +0.
  @Test(arguments: [1, 2, 31, 32, 33])
  func refusesPaddingThatHoldsSomething(inputs: Int) throws {
    let weights = [BFloat16](repeating: BFloat16(1), count: 32 * inputs)
    let packed = try DenseWeights(packing: weights.span, outputs: 32, inputs: inputs).values
    let panelElements = packed.byteCount / 4
    for element in 0..<panelElements {
      let column = element / 32 * 2 + element % 2
      let damaged = try MemoryRegion(byteCount: packed.byteCount) { bytes in
        bytes.copyMemory(from: packed.bytes)
        bytes.storeBytes(of: UInt16(0x7FC0), toByteOffset: (panelElements + element) * 2, as: UInt16.self)
      }
      let error = TesseraError.corruptWeights(format: "bf16", panel: 1)
      let open = { _ = try DenseWeights(packed: damaged, outputs: 32, inputs: inputs) }
      if column < inputs { try open() } else { #expect(throws: error) { try open() } }
    }
  }
}

@Suite struct BitmapWeightsTests {
  @Test(arguments: shapes, [0, 0.05, 0.5, 1])
  func unpackingGivesTheMatrixBack(shape: (Int, Int), density: Double) throws {
    let (n, k) = shape
    let matrix = patterns(n * k, density: density)
    let weights = try BitmapWeights(packing: matrix.span, outputs: n, inputs: k)
    #expect(weights.unpackedBFloat16() == matrix)
    #expect(weights.nonZeroCount == matrix.count { $0.bits != 0 })
    let again = try BitmapWeights(
      packedFormat: .bitmapBF16, bitmap: weights.bitmap, values: weights.values, offsets: weights.offsets, outputs: n, inputs: k)
    #expect(again.unpackedBFloat16() == matrix)
  }

  @Test(arguments: shapes)
  func quantisingFollowsItsRule(n: Int, k: Int) throws {
    var random = SeededGenerator(seed: 1)
    var matrix = (0..<n * k).map { _ in Float.random(in: -3...3, using: &random) }
    for column in 0..<k { matrix[(n - 1) * k + column] = 0 }
    let weights = try BitmapWeights(quantizing: matrix.span, outputs: n, inputs: k)
    let scales = try #require(weights.rowScale).bytes.bindMemory(to: Float.self)
    let sums = try #require(weights.rowSum).bytes.bindMemory(to: Int32.self)
    let codes = weights.unpackedInt8()
    for row in 0..<n {
      let line = matrix[row * k..<row * k + k]
      let largest = line.reduce(0) { max($0, abs($1)) }
      let expected = line.map { largest == 0 ? 0 : Int8(($0 / largest * 127).rounded(.toNearestOrEven)) }
      #expect(Array(codes[row * k..<row * k + k]) == expected, "row \(row)")
      #expect(scales[row] == largest / 127, "row \(row)")
      #expect(sums[row] == expected.reduce(0) { $0 + Int32($1) }, "row \(row)")
    }
  }

  /// The published example of the format: element (n, k) is there when n + k is a multiple of 3, and is 1 + n + 16 k.
  @Test func theLayoutIsTheDocumentedOne() throws {
    let matrix = (0..<16 * 32).map { at in
      let (n, k) = (at / 32, at % 32)
      return BFloat16(bits: (n + k) % 3 == 0 ? UInt16(1 + n + 16 * k) : 0)
    }
    let weights = try BitmapWeights(packing: matrix.span, outputs: 16, inputs: 32)
    let bitmap = Array(weights.bitmap.bytes.bindMemory(to: UInt32.self))
    #expect(bitmap == (0..<16).map { [0x6186_1861, 0x8618_6186, 0x1861_8618][$0 % 3] })
    #expect(weights.nonZeroCount == 171)
    #expect(Array(weights.values.bytes.bindMemory(to: UInt16.self).prefix(6)) == [1, 19, 4, 22, 7, 25])
    #expect(Array(weights.offsets.bytes.bindMemory(to: UInt64.self)) == [0, 171])
    #expect(weights.values.byteCount == 384 + 64)
    #expect(weights.values.bytes.suffix(64).allSatisfy { $0 == 0 })
  }

  /// The same for int8: 64 bits hold four k of 16 rows. A row of the matrix is scaled so that its codes are its numbers.
  @Test func theInt8LayoutIsTheDocumentedOne() throws {
    let matrix = (0..<16 * 64).map { at in
      let (n, k) = (at / 64, at % 64)
      return (n + k) % 3 == 0 ? Float(k / 3 == 0 ? 127 : n + 1) : 0
    }
    let weights = try BitmapWeights(quantizing: matrix.span, outputs: 16, inputs: 64)
    let bitmap = weights.bitmap.bytes.bindMemory(to: UInt64.self)
    #expect(bitmap.count == 16)
    #expect(bitmap[0] == 0x9249_2492_4924_9249)
    #expect(bitmap[1] == 0x4924_9249_2492_4924)
    // k 0...3: rows 0, 3, 6, ... have k 0 and 3, rows 1, 4, ... k 2, rows 2, 5, ... k 1.
    #expect(Array(weights.values.bytes.bindMemory(to: Int8.self).prefix(8)) == [127, 1, 127, 127, 127, 4, 127, 127])
  }

  @Test(arguments: [ck_type.CK_BF16, .CK_INT8])
  func panelsMayBePackedInAnySplit(type: ck_type) {
    let (n, k) = (70, 45)
    let source = patterns(n * k, density: 0.5).map(\.bits)
    let panels = ck_panels(n)
    source.withUnsafeBytes { source in
      guard let source = source.baseAddress else { return }
      var offsets = [UInt64](repeating: 0, count: panels + 1)
      for panel in 0..<panels {
        ck_bitmap_count(source, k, type, n, k, panel, panel + 1, &offsets[panel + 1])
        offsets[panel + 1] += offsets[panel]
      }
      func pack(_ ranges: [Range<Int>]) -> [[UInt8]] {
        var bitmap = [UInt8](repeating: 0xAA, count: ck_bitmap_bytes(n, k, type))
        var values = [UInt8](repeating: 0, count: ck_bitmap_values_bytes(offsets[panels], type))
        var sums = [Int32](repeating: -1, count: n)
        for range in ranges {
          ck_bitmap_pack(source, k, type, n, k, range.lowerBound, range.upperBound, offsets, &bitmap, &values, &sums)
        }
        return [bitmap, values, sums.withUnsafeBytes { Array($0) }]
      }
      let whole = pack([0..<panels])
      #expect(pack([2..<panels, 0..<1, 1..<2]) == whole)
      #expect(pack((0..<panels).reversed().map { $0..<$0 + 1 }) == whole)
    }
  }

  @Test func sizes() {
    for (n, k, bf16, int8) in [(1, 1, 64, 128), (16, 32, 64, 128), (16, 64, 128, 128), (17, 65, 384, 512)] {
      #expect(ck_bitmap_bytes(n, k, .CK_BF16) == bf16, "\(n) x \(k)")
      #expect(ck_bitmap_bytes(n, k, .CK_INT8) == int8, "\(n) x \(k)")
    }
    #expect(ck_bitmap_bytes(1 << 20, 1 << 20, .CK_BF16) == 1 << 37)
    for (n, k) in [(0, 1), (1, 0), (Int.max, Int.max), (-1, 1), (1, -1), (1 << 34, 1 << 33)] {
      #expect(ck_bitmap_bytes(n, k, .CK_BF16) == 0, "\(n) x \(k)")
      #expect(ck_bitmap_bytes(n, k, .CK_INT8) == 0, "\(n) x \(k)")
    }
    for (count, bf16, int8) in [(0, 64, 64), (1, 128, 128), (32, 128, 128), (33, 192, 128), (65, 256, 192)]
      as [(UInt64, Int, Int)]
    {
      #expect(ck_bitmap_values_bytes(count, .CK_BF16) == bf16, "\(count)")
      #expect(ck_bitmap_values_bytes(count, .CK_INT8) == int8, "\(count)")
    }
    for count: UInt64 in [.max, .max - 100, .max / 2 + 1] { #expect(ck_bitmap_values_bytes(count, .CK_BF16) == 0, "\(count)") }
    #expect(ck_bitmap_values_bytes(UInt64.max - 100, .CK_INT8) == 0)
  }

  @Test func refusesWhatDoesNotFit() throws {
    let six = [BFloat16](repeating: .zero, count: 6)
    for (n, k) in [(0, 6), (6, 0), (-1, 6), (1 << 40, 1 << 40)] {
      #expect(throws: TesseraError.invalidShape(what: "bitmap weights", rows: n, columns: k)) {
        try BitmapWeights(packing: six.span, outputs: n, inputs: k)
      }
    }
    #expect(throws: TesseraError.sizeMismatch(what: "bitmap weights", expected: 8, got: 6)) {
      try BitmapWeights(packing: six.span, outputs: 2, inputs: 4)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "bias", expected: 2, got: 1)) {
      try BitmapWeights(packing: six.span, outputs: 2, inputs: 3, bias: [1])
    }
  }

  @Test func refusesInt8RowsWhoseSumsCouldOverflow() throws {
    let most = BitmapWeights.mostInt8Inputs
    let row = [Float](repeating: 1, count: most + 1)
    #expect(throws: TesseraError.invalidShape(what: "int8 weights of more than 131071 inputs", rows: 1, columns: most + 1)) {
      try BitmapWeights(quantizing: row.span, outputs: 1, inputs: most + 1)
    }
    // The longest row that is allowed, at its largest sum: 127 * 127 * 131,071 steps of 1/127 by 1/127.
    let weights = try BitmapWeights(quantizing: row.span.extracting(0..<most), outputs: 1, inputs: most)
    let executor = try Executor(threads: 1)
    for variant in KernelVariant.all(for: .bitmapInt8) where executor.selection.allows(variant) {
      var y: [Float] = [0]
      var span = y.mutableSpan
      try executor.multiply(row.span.extracting(0..<most), rows: 1, by: weights, into: &span, variant: variant)
      #expect(abs(y[0] / Float(most) - 1) < 0x1p-20, "\(variant): \(y[0])")
    }
  }

  @Test(arguments: [UInt16(0x7F80), 0xFF80, 0x7FC0, 0x7F81])
  func refusesWeightsThatAreNotFinite(bits: UInt16) {
    var matrix = [BFloat16](repeating: .zero, count: 12)
    matrix[7] = BFloat16(bits: bits)
    #expect(throws: TesseraError.nonFiniteWeight(row: 1, column: 3)) {
      try BitmapWeights(packing: matrix.span, outputs: 3, inputs: 4)
    }
    let floats = matrix.map { Float($0) }
    #expect(throws: TesseraError.nonFiniteWeight(row: 1, column: 3)) {
      try BitmapWeights(quantizing: floats.span, outputs: 3, inputs: 4)
    }
  }
}
