internal import CKernels
internal import Testing

@testable internal import Tessera

/// Kernels trust the counts of packed weights, so each single contradiction must be found before they see it.
@Suite struct BitmapValidationTests {
  /// The parts of packed weights as arrays that a test may damage. 40 x 70: three panels, the last with 8 rows; k ends inside a
  /// group.
  struct Parts {
    static let (n, k) = (40, 70)
    let type: ck_type
    var bitmap: [UInt8]
    var values: [UInt8]
    var offsets: [UInt64]
    var rowScale: [Float]
    var rowSum: [Int32]

    init(_ type: ck_type) throws {
      self.type = type
      var random = SeededGenerator(seed: 7)
      let matrix = (0..<Parts.n * Parts.k).map { _ in
        Bool.random(using: &random) ? Float.random(in: 0.1...1, using: &random) : 0
      }
      let bits = matrix.map { BFloat16($0) }
      let weights =
        type == .CK_INT8
        ? try BitmapWeights(quantizing: matrix.span, outputs: Parts.n, inputs: Parts.k)
        : try BitmapWeights(packing: bits.span, outputs: Parts.n, inputs: Parts.k)
      bitmap = Array(weights.bitmap.bytes)
      values = Array(weights.values.bytes)
      offsets = Array(weights.offsets.bytes.bindMemory(to: UInt64.self))
      rowScale = weights.rowScale.map { Array($0.bytes.bindMemory(to: Float.self)) } ?? []
      rowSum = weights.rowSum.map { Array($0.bytes.bindMemory(to: Int32.self)) } ?? []
    }

    var count: UInt64 { offsets[offsets.count - 1] }

    /// The first wrong panel, or nil.
    func badPanel(count: UInt64? = nil) -> Int? {
      var panel = -1
      let status = bitmap.withUnsafeBytes { bitmap in
        values.withUnsafeBytes { values in
          offsets.withUnsafeBufferPointer { offsets in
            rowScale.withUnsafeBufferPointer { rowScale in
              rowSum.withUnsafeBufferPointer { rowSum -> ck_status in
                guard let bitmap = bitmap.baseAddress, let values = values.baseAddress, let offsets = offsets.baseAddress else {
                  return .CK_ERR_SHAPE
                }
                var weights = ck_bitmap_weights(
                  type: type, bitmap: bitmap, values: values, offsets: offsets,
                  row_scale: type == .CK_INT8 ? rowScale.baseAddress : nil, row_sum: type == .CK_INT8 ? rowSum.baseAddress : nil)
                return ck_bitmap_validate(&weights, Parts.n, Parts.k, count ?? self.count, &panel)
              }
            }
          }
        }
      }
      return status == .CK_OK ? nil : panel
    }

    /// Bytes of bitmap of one panel.
    var panelBytes: Int { bitmap.count / 3 }
  }

  @Test(arguments: [ck_type.CK_BF16, .CK_INT8])
  func whatWasPackedIsValid(type: ck_type) throws {
    #expect(try Parts(type).badPanel() == nil)
  }

  @Test(arguments: [ck_type.CK_BF16, .CK_INT8])
  func everyDamagedOffsetIsFound(type: ck_type) throws {
    let intact = try Parts(type)
    for index in intact.offsets.indices {
      for damaged in [intact.offsets[index] &+ 1, intact.offsets[index] &- 1, .max, .max / 2] {
        var parts = intact
        parts.offsets[index] = damaged
        let panel = parts.badPanel(count: intact.count)
        #expect(panel == max(index - 1, 0), "offset \(index) = \(damaged)")
      }
    }
  }

  @Test(arguments: [ck_type.CK_BF16, .CK_INT8])
  func aWrongCountIsFound(type: ck_type) throws {
    let parts = try Parts(type)
    for count in [parts.count - 1, parts.count + 1, .max] { #expect(parts.badPanel(count: count) == 2, "\(count)") }
  }

  @Test(arguments: [ck_type.CK_BF16, .CK_INT8])
  func everyFlippedBitIsFound(type: ck_type) throws {
    var parts = try Parts(type)
    for byte in parts.bitmap.indices {
      for bit in 0..<8 {
        parts.bitmap[byte] ^= 1 << bit
        #expect(parts.badPanel() == byte / parts.panelBytes, "byte \(byte), bit \(bit)")
        parts.bitmap[byte] ^= 1 << bit
      }
    }
  }

  /// A bit that moves leaves every count as it was; beyond the matrix it is found all the same.
  @Test(arguments: [ck_type.CK_BF16, .CK_INT8])
  func aBitMovedBeyondTheMatrixIsFound(type: ck_type) throws {
    let intact = try Parts(type)
    let width = type == .CK_INT8 ? 4 : 2
    let maskBytes = 2 * width
    func mask(_ group: Int, panel: Int) -> Int { panel * intact.panelBytes + group * maskBytes }
    // Beyond n: row 8 of the last panel. Beyond k: the group after the last; and for int8 element 2 of the last group, k = 70.
    var places = [(mask(0, panel: 2) + width, 0, 2), (mask(Parts.k / width + 1, panel: 0), 0, 0)]
    if type == .CK_INT8 { places.append((mask(Parts.k / width, panel: 1), 2, 1)) }
    for (byte, bit, panel) in places {
      var parts = intact
      let start = panel * parts.panelBytes
      let donor = try #require((start..<start + parts.panelBytes).first { parts.bitmap[$0] != 0 })
      parts.bitmap[donor] &= parts.bitmap[donor] - 1
      #expect(parts.bitmap[byte] >> bit & 1 == 0)
      parts.bitmap[byte] |= 1 << bit
      #expect(parts.badPanel() == panel, "byte \(byte), bit \(bit)")
    }
  }

  @Test func everyWrongRowSumIsFound() throws {
    let intact = try Parts(.CK_INT8)
    for row in intact.rowSum.indices {
      var parts = intact
      parts.rowSum[row] += 1
      #expect(parts.badPanel() == row / 16, "row \(row)")
    }
  }

  // The same through the door that files come in by.

  private func weights(
    _ parts: Parts, bitmap: Int? = nil, values: Int? = nil, offsets: Int? = nil, scales: Int? = nil, sums: Int? = nil
  ) throws -> BitmapWeights {
    func region(_ bytes: UnsafeRawBufferPointer, _ byteCount: Int?) throws -> MemoryRegion {
      try MemoryRegion(byteCount: byteCount ?? bytes.count) { target in
        target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes.prefix(target.count)))
      }
    }
    let hasScales = parts.type == .CK_INT8
    return try BitmapWeights(
      packedFormat: hasScales ? .bitmapInt8 : .bitmapBF16, bitmap: parts.bitmap.withUnsafeBytes { try region($0, bitmap) },
      values: parts.values.withUnsafeBytes { try region($0, values) },
      offsets: parts.offsets.withUnsafeBytes { try region($0, offsets) },
      rowScale: hasScales && scales != 0 ? parts.rowScale.withUnsafeBytes { try region($0, scales) } : nil,
      rowSum: hasScales && sums != 0 ? parts.rowSum.withUnsafeBytes { try region($0, sums) } : nil,
      outputs: Parts.n, inputs: Parts.k)
  }

  @Test func intactPartsAreTakenOver() throws {
    for type in [ck_type.CK_BF16, .CK_INT8] { #expect(try weights(Parts(type)).nonZeroCount > 0) }
  }

  @Test func partsOfTheWrongSizeAreRefusedByName() throws {
    let parts = try Parts(.CK_INT8)
    let (bitmap, values) = (parts.bitmap.count, parts.values.count)
    #expect(throws: TesseraError.sizeMismatch(what: "bytes of bitmap", expected: bitmap, got: bitmap - 64)) {
      try weights(parts, bitmap: bitmap - 64)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "bytes of values", expected: values, got: values - 64)) {
      try weights(parts, values: values - 64)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "bytes of offsets", expected: 32, got: 24)) {
      try weights(parts, offsets: 24)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "bytes of row scales", expected: 160, got: 156)) {
      try weights(parts, scales: 156)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "bytes of row sums", expected: 160, got: 156)) {
      try weights(parts, sums: 156)
    }
    for (scales, sums) in [(0, nil), (nil, 0)] as [(Int?, Int?)] {
      #expect(throws: TesseraError.sizeMismatch(what: "row scales and sums", expected: 40, got: 0)) {
        try weights(parts, scales: scales, sums: sums)
      }
    }
  }

  @Test func contradictionsAreRefusedWithTheirPanel() throws {
    var parts = try Parts(.CK_BF16)
    parts.bitmap[parts.panelBytes] ^= 1
    #expect(throws: TesseraError.corruptWeights(format: "bitmap-bf16", panel: 1)) { try weights(parts) }
  }

  /// More values than elements: refused before the size of the values is computed from it.
  @Test func anAbsurdCountIsRefused() throws {
    var parts = try Parts(.CK_BF16)
    parts.offsets[3] = .max
    #expect(throws: TesseraError.corruptWeights(format: "bitmap-bf16", panel: 3)) { try weights(parts) }
  }
}
