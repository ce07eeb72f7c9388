internal import CKernels
internal import Testing

@testable internal import Tessera

private let formats = WeightFormat.allCases.filter { $0.operation == .code4GEMM }

/// Codes and stored scales of every kind, scales between 1/8 and 2; half of the codes 0 where zeros are left out.
private struct RandomCodes {
  let format: WeightFormat
  let code4: Code4Format
  let codes: [UInt8]
  let scales: [UInt16]

  init(_ format: WeightFormat, outputs: Int, inputs: Int) throws {
    self.format = format
    code4 = try #require(format.code4)
    var random = SeededGenerator(seed: UInt64(outputs * 1000 + inputs))
    codes = (0..<outputs * inputs).map { _ in
      let code = UInt8.random(in: 0...15, using: &random)
      return format.storesEveryElement || Bool.random(using: &random) ? code : 0
    }
    let scale = code4.scale
    scales = (0..<outputs * ((inputs - 1) / code4.group + 1)).map { _ in
      let bits = UInt16.random(in: 0...UInt16.max, using: &random)
      return switch scale {
      case .f16, .f16Selector: 0x3000 + bits % 0x1000
      case .e3m3Selector: bits & 0xC0 | (4 + bits % 28)
      case .e4m3: bits & 0x80 | (0x20 + bits % 0x20)
      case .powerOfTwo: bits & 0xC0 | (29 + bits % 4)
      }
    }
  }

  func weights(
    outputs: Int, inputs: Int, tensorScale: Float = 0.5, activations: ActivationType? = nil, bias: [Float]? = nil,
    on pool: ThreadPool? = nil
  ) throws -> Code4Weights {
    try Code4Weights(
      packing: codes.span, scales: scales.span, tensorScale: tensorScale, format: format, outputs: outputs, inputs: inputs,
      activations: activations, bias: bias, on: pool)
  }
}

@Suite struct Code4FormatTests {
  @Test func fp4WithItsSpecialValuesInHalves() throws {
    let razer = try #require(WeightFormat.razerG16.code4)
    let doubled = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]
    for (selector, special) in [10, -10, 16, -16].enumerated() {
      for code in 0..<16 {
        let value = code == 8 ? special : doubled[code]
        #expect(razer.value(code: code, selector: selector) * 2 == Float(value), "\(code) under \(selector)")
        var tables = razer.tables
        let at = selector * 16 + code
        #expect(withUnsafeBytes(of: &tables.integers) { Int8(bitPattern: $0[at]) } == Int8(value))
        #expect(
          withUnsafeBytes(of: &tables.values) { $0.loadUnaligned(fromByteOffset: at * 2, as: UInt16.self) }
            == BFloat16(Float(value)).bits)
      }
    }
  }

  @Test func aZeroIsPositive() throws {
    for format in formats {
      let code4 = try #require(format.code4)
      for code in 0..<16 where code4.value(code: code, selector: 0) == 0 {
        #expect(code4.value(code: code, selector: 0).sign == .plus, "\(format), \(code)")
      }
    }
  }

  @Test func e3m3IsItsFormula() throws {
    var tables = try #require(WeightFormat.razerG16.code4).tables
    for bits in 0..<64 {
      let (e, m) = (bits >> 3, Float(bits & 7))
      let expected = e == 0 ? m / 32 : (1 + m / 8) * [0, 0.25, 0.5, 1, 2, 4, 8, 16][e]
      for selector in 0..<4 {
        let stored = UInt32(bits | selector << 6)
        #expect(ck_code4_scale(stored, .CK_SCALE_INDEX, &tables) == expected, "\(bits)")
        #expect(ck_code4_selector(stored, .CK_SCALE_INDEX) == UInt32(selector))
      }
    }
    for (bits, value) in [(0x00, 0), (0x07, 7 / 32), (0x08, 0.25), (0x20, 2), (0x3F, 30)] as [(UInt32, Float)] {
      #expect(ck_code4_scale(bits, .CK_SCALE_INDEX, &tables) == value)
    }
  }

  @Test func e4m3IsItsFormula() throws {
    var tables = try #require(WeightFormat.nvfp4.code4).tables
    for (bits, value) in [(0, 0), (1, 0x1p-9), (7, 0x7p-9), (0x08, 0x1p-6), (0x38, 1), (0x7E, 448)] as [(UInt32, Float)] {
      #expect(ck_code4_scale(bits, .CK_SCALE_E4M3, &tables) == value, "\(bits)")
      #expect(ck_code4_scale(bits | 0x80, .CK_SCALE_E4M3, &tables) == value, "\(bits)")
    }
    #expect(ck_code4_scale(0x7F, .CK_SCALE_E4M3, &tables).isNaN)
  }

  @Test func halvesWithAndWithoutSelector() throws {
    var tables = try #require(WeightFormat.razerG128.code4).tables
    for bits in UInt16.min...UInt16.max {
      let value = Float(Float16Bits(bits).value)
      let plain = ck_code4_scale(UInt32(bits), .CK_SCALE_F16, &tables)
      #expect(plain == value || (plain.isNaN && value.isNaN), "\(bits)")
      let without = ck_code4_scale(UInt32(bits), .CK_SCALE_F16_SELECTOR, &tables)
      let expected = Float(Float16Bits(bits & ~3).value)
      #expect(without == expected || (without.isNaN && expected.isNaN), "\(bits)")
    }
  }

  @Test func bitsPerWeight() throws {
    let expected: [WeightFormat: Double] = [
      .razerG16: 4.5, .razerG32: 4.25, .razerG64: 4.25, .razerG128: 4.125, .bitmapRazerG128: 4.125, .fp4G32: 4.5,
      .fp4G128: 4.125, .nvfp4: 4.5, .mxfp4: 4.25, .nf4G64: 4.25, .iq4NL: 4.5, .int4G32: 4.5, .int4G128: 4.125,
    ]
    for format in formats { #expect(format.code4?.bitsPerWeight == expected[format], "\(format)") }
  }

  @Test(arguments: [[], [5, -5, 8, -8, 7], [8.5], [0.25], [.nan], [.infinity]])
  func refusesSpecialValues(values: [Float]) throws {
    let razer = try #require(WeightFormat.razerG128.code4)
    let error = #expect(throws: TesseraError.self) { try razer.with(specialValues: values) }
    #expect(error?.description.contains("special values") == true)
  }

  @Test func fewerSpecialValuesFillUpWithTheLast() throws {
    let razer = try #require(WeightFormat.razerG128.code4)
    #expect(try razer.with(specialValues: [7, -7]).specialValues == [7, -7, -7, -7])
    let fp4 = try #require(WeightFormat.fp4G32.code4)
    #expect(throws: TesseraError.invalidSpecialValues([5])) { try fp4.with(specialValues: [5]) }
  }
}

/// The value of a half's bits by its definition.
private struct Float16Bits {
  let value: Double

  init(_ bits: UInt16) {
    let sign: Double = bits & 0x8000 == 0 ? 1 : -1
    let (exponent, mantissa) = (Int(bits >> 10 & 31), Double(bits & 1023))
    value =
      switch exponent {
      case 0: sign * mantissa * 0x1p-24
      case 31: mantissa == 0 ? sign * .infinity : .nan
      default: sign * (1 + mantissa / 1024) * Double(sign: .plus, exponent: exponent - 15, significand: 1)
      }
  }
}

@Suite struct Code4WeightsTests {
  @Test(arguments: formats, [(1, 1), (2, 3), (16, 64), (17, 65), (33, 130), (48, 511)])
  func unpackingGivesCodesAndScalesBack(format: WeightFormat, shape: (Int, Int)) throws {
    let (n, k) = shape
    let random = try RandomCodes(format, outputs: n, inputs: k)
    let (codes, scales) = try random.weights(outputs: n, inputs: k).unpacked()
    #expect(codes == random.codes)
    #expect(scales == random.scales)
  }

  @Test(arguments: formats)
  func dequantizesByTheDefinition(format: WeightFormat) throws {
    let (n, k) = (19, 150)
    let random = try RandomCodes(format, outputs: n, inputs: k)
    let weights = try random.weights(outputs: n, inputs: k, tensorScale: 0.25)
    let groups = (k - 1) / random.code4.group + 1
    var tables = random.code4.tables
    let type = random.code4.scale.cType
    let expected = (0..<n * k).map { index in
      let bits = UInt32(random.scales[index / k * groups + index % k / random.code4.group])
      let selector = Int(ck_code4_selector(bits, type))
      return random.code4.value(code: Int(random.codes[index]), selector: selector) * ck_code4_scale(bits, type, &tables) * 0.25
    }
    #expect(weights.dequantized() == expected)
  }

  /// 2 x 10: row 0 holds codes 1 ... 10, row 1 code 15 at column 4.
  @Test func theLayoutIsTheDocumentedOne() throws {
    let codes: [UInt8] = Array(1...10) + [0, 0, 0, 0, 15, 0, 0, 0, 0, 0]
    let weights = try Code4Weights(
      packing: codes.span, scales: [0x21, 0x42].span, format: .razerG16, outputs: 2, inputs: 10)
    var expected = [UInt8](repeating: 0, count: 512)
    expected.replaceSubrange(0..<8, with: [0x51, 0x62, 0x73, 0x84, 0xF0, 0, 0, 0])
    expected.replaceSubrange(64..<68, with: [0x09, 0x0A, 0, 0])
    #expect(Array(weights.codes.bytes) == expected)
    #expect(Array(weights.scales.bytes) == [0x21, 0x42] + [UInt8](repeating: 0, count: 62))
  }

  /// The same codes under a bitmap.
  @Test func theLayoutUnderABitmapIsTheDocumentedOne() throws {
    let codes: [UInt8] = Array(1...10) + [0, 0, 0, 0, 15, 0, 0, 0, 0, 0]
    let weights = try Code4Weights(
      packing: codes.span, scales: [0x3C01, 0x3C02].span, format: .bitmapRazerG128, outputs: 2, inputs: 10)
    #expect(Array(weights.codes.bytes) == [0x51, 0x62, 0x73, 0x84, 0xF9, 0x0A] + [UInt8](repeating: 0, count: 122))
    #expect(numbers(weights.bitmap) == [0x0F, 0x1F, 0x03] + [UInt64](repeating: 0, count: 13))
    #expect(numbers(weights.offsets) == [0, 6])
    #expect(weights.storedCount == 6)
  }

  private func numbers(_ region: MemoryRegion?) -> [UInt64]? { region.map { Array($0.bytes.bindMemory(to: UInt64.self)) } }

  @Test func threadsPackTheSameBytes() throws {
    let (n, k) = (640, 33)
    let pool = try ThreadPool(threads: 4, allowed: 64)
    let random = try RandomCodes(.bitmapRazerG128, outputs: n, inputs: k)
    let alone = try random.weights(outputs: n, inputs: k)
    for _ in 0..<20 {
      let together = try random.weights(outputs: n, inputs: k, on: pool)
      #expect(Array(together.codes.bytes) == Array(alone.codes.bytes))
      #expect(numbers(together.bitmap) == numbers(alone.bitmap))
    }
  }

  @Test func aBitmapSharesOutItsBytesByWhatPanelsStore() throws {
    let (n, k) = (64, 256)
    // Every code of panel 0, none of panels 1 and 2, half of panel 3.
    let codes = (0..<n * k).map { at in UInt8([1, 0, 0, at % 2][at / (16 * k)]) }
    let scales = [UInt16](repeating: 0x3C00, count: n * 2)
    let weights = try Code4Weights(packing: codes.span, scales: scales.span, format: .bitmapRazerG128, outputs: n, inputs: k)
    let even = 16 * k / 8 + 16 * 2 * 2
    #expect((0...4).map { weights.bytes(beforePanel: $0) - $0 * even } == [0, 2048, 2048, 2048, 3072])
    #expect(weights.byteCount == 4 * even + 3072)
    let view = try weights.prefix(outputs: 16, outputBlocks: 2, inputs: 128)
    #expect((0...2).map { view.bytes(beforePanel: $0) - $0 * even / 2 } == [0, 1024, 1024])
  }

  @Test func refusesABitmapThatItsOffsetsDeny() throws {
    let (n, k) = (40, 20)
    let random = try RandomCodes(.bitmapRazerG128, outputs: n, inputs: k)
    let whole = try random.weights(outputs: n, inputs: k)
    let (bitmap, offsets) = (try #require(whole.bitmap), try #require(whole.offsets))
    func packed(codes: MemoryRegion? = nil, bitmap: MemoryRegion?, offsets: MemoryRegion?) throws -> Code4Weights {
      try Code4Weights(
        packed: codes ?? whole.codes, bitmap: bitmap, offsets: offsets, scales: whole.scales, tensorScale: 1,
        format: .bitmapRazerG128, outputs: n, inputs: k)
    }
    #expect(try packed(bitmap: bitmap, offsets: offsets).unpacked().codes == random.codes)
    for bit in [0, 5, 64 * 16, 64 * 32 + 35] {
      let damaged = try flipping(bit, of: bitmap)
      let panel = bit / 64 / 16
      #expect(throws: TesseraError.corruptWeights(format: "bitmap-razer-g128", panel: panel)) {
        try packed(bitmap: damaged, offsets: offsets)
      }
    }
    #expect(throws: TesseraError.corruptWeights(format: "bitmap-razer-g128", panel: 0)) {
      try packed(bitmap: bitmap, offsets: flipping(64, of: offsets))
    }
    // The last code of a half becomes 0, and a nibble that follows it something else.
    let counts = try #require(numbers(bitmap))[..<16].enumerated().reduce(into: [0, 0]) {
      $0[$1.offset % 2] += $1.element.nonzeroBitCount
    }
    try #require(counts[0] != counts[1])
    let half = counts[0] < counts[1] ? 0 : 1
    let last = 8 * (counts[half] - 1) + 4 * half
    let ofLastCode = (last..<last + 4).filter { whole.codes.bytes[$0 / 8] >> UInt8($0 % 8) & 1 == 1 }
    for bits in [ofLastCode, [last + 8]] {
      let damaged = try bits.reduce(whole.codes) { region, bit in try flipping(bit, of: region) }
      #expect(throws: TesseraError.corruptWeights(format: "bitmap-razer-g128", panel: 0)) {
        try packed(codes: damaged, bitmap: bitmap, offsets: offsets)
      }
    }
    #expect(throws: TesseraError.corruptWeights(format: "bitmap-razer-g128", panel: 3)) {
      try packed(bitmap: bitmap, offsets: flipping(64 * 3 + 40, of: offsets))
    }
    #expect(throws: TesseraError.sizeMismatch(what: "bitmap and offsets", expected: 384, got: 0)) {
      try packed(bitmap: bitmap, offsets: nil)
    }
    let short = MemoryRegion(base: whole.codes.base, byteCount: whole.codes.byteCount - 64, keeping: whole.codes)
    #expect(
      throws: TesseraError.sizeMismatch(what: "bytes of codes", expected: whole.codes.byteCount, got: whole.codes.byteCount - 64)
    ) { try packed(codes: short, bitmap: bitmap, offsets: offsets) }
  }

  private func flipping(_ bit: Int, of region: MemoryRegion) throws(TesseraError) -> MemoryRegion {
    try MemoryRegion(byteCount: region.byteCount) { target in
      target.copyMemory(from: region.bytes)
      target[bit / 8] ^= 1 << (bit % 8)
    }
  }

  @Test func sizes() throws {
    for (count, bytes) in [(0, 64), (1, 128), (64, 128), (65, 192), (.max - 64, 0)] as [(UInt64, Int)] {
      #expect(ck_code4_stored_bytes(count) == bytes, "\(count)")
    }
    for (n, k, bytes) in [(1, 1, 512), (16, 64, 512), (17, 65, 2048), (14336, 4096, 14336 * 4096 / 2)] {
      #expect(ck_code4_codes_bytes(n, k) == bytes, "\(n) x \(k)")
    }
    for (k, group, type, bytes) in [
      (1, 16, .CK_SCALE_INDEX, 64), (65, 16, .CK_SCALE_E4M3, 128), (65, 32, .CK_SCALE_F16, 128), (64, 128, .CK_SCALE_F16, 32),
      (129, 128, .CK_SCALE_F16_SELECTOR, 64),
    ] as [(Int, Int, ck_scale_type, Int)] {
      #expect(ck_code4_scales_bytes(16, k, group, type) == bytes, "\(k), \(group)")
    }
    for (n, k) in [(0, 1), (1, 0), (Int.max, Int.max), (-1, 1), (1, -1), (1 << 40, 1 << 40)] {
      #expect(ck_code4_codes_bytes(n, k) == 0, "\(n) x \(k)")
      #expect(ck_code4_scales_bytes(n, k, 16, .CK_SCALE_INDEX) == 0, "\(n) x \(k)")
    }
    let whole = try RandomCodes(.razerG128, outputs: 64, inputs: 256).weights(outputs: 64, inputs: 256)
    #expect(whole.byteCount == whole.codes.byteCount + whole.scales.byteCount)
    #expect(whole.bestSpeedup == 16 / 4.125)
  }

  @Test func refusesWhatDoesNotFit() throws {
    let random = try RandomCodes(.razerG16, outputs: 2, inputs: 20)
    #expect(throws: TesseraError.sizeMismatch(what: "codes", expected: 60, got: 40)) {
      try random.weights(outputs: 3, inputs: 20)
    }
    let codes = Array(random.codes.prefix(32))
    #expect(throws: TesseraError.sizeMismatch(what: "scales", expected: 2, got: 4)) {
      try Code4Weights(packing: codes.span, scales: random.scales.span, format: .razerG16, outputs: 2, inputs: 16)
    }
    #expect(throws: TesseraError.invalidShape(what: "4-bit weights", rows: 0, columns: 20)) {
      try random.weights(outputs: 0, inputs: 20)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "bias", expected: 2, got: 1)) {
      try random.weights(outputs: 2, inputs: 20, bias: [1])
    }
    #expect(throws: TesseraError.unsupportedActivations(.int8, format: .nf4G64)) {
      try RandomCodes(.nf4G64, outputs: 2, inputs: 20).weights(outputs: 2, inputs: 20, activations: .int8)
    }
    #expect(throws: TesseraError.corruptWeights(format: "razer-g16", panel: 0)) {
      try random.weights(outputs: 2, inputs: 20, tensorScale: .nan)
    }
  }

  @Test(
    arguments: [(WeightFormat.int4G32, 0x7C00), (.int4G32, 0xFE00), (.razerG128, 0x7C03), (.nvfp4, 0x7F), (.nvfp4, 0xFF)]
      as [(WeightFormat, UInt16)])
  func refusesAScaleThatIsNotFinite(format: WeightFormat, bits: UInt16) throws {
    let (n, k) = (40, 20)
    let random = try RandomCodes(format, outputs: n, inputs: k)
    var scales = random.scales
    scales[17 * (scales.count / n)] = bits
    #expect(throws: TesseraError.corruptWeights(format: format.rawValue, panel: 1)) {
      try Code4Weights(packing: random.codes.span, scales: scales.span, format: format, outputs: n, inputs: k)
    }
  }
}

/// Blocks of outputs and of inputs, and what is kept of each.
private struct Prefix: Sendable, CustomTestStringConvertible {
  var outputs: Int?
  var outputBlocks = 1
  var inputs: Int?
  var inputBlocks = 1

  var testDescription: String {
    "\(outputs.map { "\($0)" } ?? "all") of \(outputBlocks), \(inputs.map { "\($0)" } ?? "all") of \(inputBlocks)"
  }
}

@Suite struct Code4PrefixTests {
  private static let (n, k) = (96, 384)
  private static let prefixes = [
    Prefix(outputs: 50), Prefix(outputs: 16, outputBlocks: 3), Prefix(outputs: 32, outputBlocks: 2), Prefix(inputs: 200),
    Prefix(inputs: 48, inputBlocks: 3), Prefix(inputs: 100, inputBlocks: 2), Prefix(inputs: 50, inputBlocks: 6),
    Prefix(outputs: 16, outputBlocks: 2, inputs: 16, inputBlocks: 6), Prefix(outputs: 1, inputs: 1),
  ]

  /// The whole product with the dropped inputs set to 0 and without the dropped outputs: in every bit, unless a block of inputs
  /// ends inside a group. Kernels may then scale both parts of the group by themselves: one rounding more (Docs/Numerics.md).
  @Test(arguments: formats, prefixes)
  private func equalsTheWholeWithoutWhatIsDropped(format: WeightFormat, prefix: Prefix) throws {
    let (n, k) = (Self.n, Self.k)
    let group = try #require(Code4Format(format)).group
    let executor = try Executor(threads: 1)
    let random = try RandomCodes(format, outputs: n, inputs: k)
    var generator = SeededGenerator(seed: 5)
    let bias = (0..<n).map { _ in Float.random(in: -1...1, using: &generator) }
    let (blockN, blockK) = (n / prefix.outputBlocks, k / prefix.inputBlocks)
    let (keptN, keptK) = (prefix.outputs ?? blockN, prefix.inputs ?? blockK)
    let outputs = (0..<n).filter { $0 % blockN < keptN }
    let inputs = (0..<k).filter { $0 % blockK < keptK }
    for activations in format.activations {
      let whole = try random.weights(outputs: n, inputs: k, activations: activations, bias: bias)
      if prefix.inputBlocks > 1, !format.storesEveryElement {
        let refusal = TesseraError.invalidPrefix(what: "inputs", kept: keptK, blocks: prefix.inputBlocks, packed: k)
        #expect(throws: refusal) { try whole.prefix(inputs: prefix.inputs, inputBlocks: prefix.inputBlocks) }
        continue
      }
      let view = try whole.prefix(
        outputs: prefix.outputs, outputBlocks: prefix.outputBlocks, inputs: prefix.inputs, inputBlocks: prefix.inputBlocks)
      #expect(view.outputs == outputs.count)
      #expect(view.inputs == inputs.count)
      #expect(view.codes === whole.codes)
      // |x| and |bias| <= 1. A sum has one rounding more for every part of a group.
      let roundings = Float(max(group, 32) + k / group + prefix.inputBlocks + 22) * 0x1p-24
      let dequantized = view.dequantized()
      let magnitudes = (0..<outputs.count).map { row in
        dequantized[row * inputs.count..<(row + 1) * inputs.count].reduce(0) { $0 + abs($1) }
      }
      for rows in [1, 3, 17] {
        let x = (0..<rows * inputs.count).map { _ in Float.random(in: -1...1, using: &generator) }
        var spread = [Float](repeating: 0, count: rows * k)
        for row in 0..<rows {
          for (place, input) in inputs.enumerated() { spread[row * k + input] = x[row * inputs.count + place] }
        }
        for variant in KernelVariant.all(for: format, activations: activations) where executor.selection.allows(variant) {
          let expected = try multiply(executor, spread, rows, whole, variant)
          let got = try multiply(executor, x, rows, view, variant)
          let kept = (0..<rows).flatMap { row in outputs.map { expected[row * n + $0] } }
          if blockK.isMultiple(of: group) {
            #expect(got.map(\.bitPattern) == kept.map(\.bitPattern), "\(variant), \(rows) rows")
          } else {
            let far = zip(got, kept).enumerated().filter { place, pair in
              abs(pair.0 - pair.1) > 2 * roundings * (1 + magnitudes[place % outputs.count])
            }
            #expect(far.isEmpty, "\(variant), \(rows) rows")
          }
        }
      }
    }
  }

  private func multiply(
    _ executor: Executor, _ x: [Float], _ rows: Int, _ weights: Code4Weights, _ variant: KernelVariant
  ) throws -> [Float] {
    var y = [Float](repeating: .nan, count: rows * weights.outputs)
    var target = y.mutableSpan
    try executor.multiply(x.span, rows: rows, by: weights, into: &target, variant: variant)
    return y
  }

  @Test(arguments: [WeightFormat.razerG16, .int4G32, .razerG64])
  func compactingKeepsTheNumbers(format: WeightFormat) throws {
    let random = try RandomCodes(format, outputs: Self.n, inputs: Self.k)
    let bias = (0..<Self.n).map { Float($0) }
    let view = try random.weights(outputs: Self.n, inputs: Self.k, bias: bias).prefix(
      outputs: 16, outputBlocks: 3, inputs: 64, inputBlocks: 3)
    let compact = try view.compacted()
    #expect(compact.isWhole)
    #expect(compact.dequantized() == view.dequantized())
    #expect(compact.bias.map { Array($0.bytes) } == view.bias.map { Array($0.bytes) })
    #expect(compact.byteCount == view.byteCount)
    #expect(compact.codes.byteCount < view.codes.byteCount)
  }

  @Test func compactingNeedsWholeGroups() throws {
    let whole = try RandomCodes(.razerG128, outputs: Self.n, inputs: Self.k).weights(outputs: Self.n, inputs: Self.k)
    let view = try whole.prefix(inputs: 64, inputBlocks: 3)
    #expect(throws: TesseraError.invalidPrefix(what: "inputs", kept: 64, blocks: 3, packed: 384)) { try view.compacted() }
    #expect(try whole.prefix(inputs: 64).compacted().dequantized() == whole.prefix(inputs: 64).dequantized())
  }

  @Test func aPrefixOfAPrefixIsOneOfTheWhole() throws {
    let whole = try RandomCodes(.razerG16, outputs: Self.n, inputs: Self.k).weights(outputs: Self.n, inputs: Self.k)
    let twice = try whole.prefix(outputs: 16).prefix(outputs: 32, outputBlocks: 3)
    #expect(twice.dequantized() == (try whole.prefix(outputs: 32, outputBlocks: 3)).dequantized())
  }

  @Test(arguments: [
    (Prefix(outputs: 0), "outputs"), (Prefix(outputs: 97), "outputs"), (Prefix(outputs: 8, outputBlocks: 2), "outputs"),
    (Prefix(outputs: 16, outputBlocks: 5), "outputs"), (Prefix(outputs: 16, outputBlocks: 4), "outputs"),
    (Prefix(outputBlocks: 0), "outputs"), (Prefix(inputs: 0), "inputs"), (Prefix(inputs: 385), "inputs"),
    (Prefix(inputs: 129, inputBlocks: 3), "inputs"), (Prefix(inputs: 16, inputBlocks: 12), "inputs"),
    (Prefix(inputs: 16, inputBlocks: -3), "inputs"),
  ])
  private func refusesWhatIsNoPrefix(prefix: Prefix, culprit: String) throws {
    let whole = try RandomCodes(.razerG16, outputs: Self.n, inputs: Self.k).weights(outputs: Self.n, inputs: Self.k)
    let error = #expect(throws: TesseraError.self) {
      try whole.prefix(
        outputs: prefix.outputs, outputBlocks: prefix.outputBlocks, inputs: prefix.inputs, inputBlocks: prefix.inputBlocks)
    }
    guard case .invalidPrefix(let what, _, _, _) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(what == culprit)
  }
}
