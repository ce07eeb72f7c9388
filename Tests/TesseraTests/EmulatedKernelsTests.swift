import CKernels
import EmulatedKernels
import Tessera
import Testing

/// The AVX-512 and AMX kernels over models of their instructions, on any machine: on data where every sum is an exact integer
/// they must give the bits of the scalar reference, stay inside their outputs and use the tile unit as a processor allows.
@Suite struct EmulatedKernelsTests {
  static let modelled: InstructionSet = [.avx512, .amxtile]

  @Test func everyShippedVariantOfAVX512AndAMXHasATwin() {
    var shipped = 0
    var emulated = 0
    let dense = ck_dense_gemm_variants(&shipped)
    let denseTwins = ck_dense_gemm_emulated(&emulated)
    let denseNames = (0..<emulated).map { String(cString: denseTwins[$0].name) }
    for i in 0..<shipped where !InstructionSet(rawValue: dense[i].isa).isDisjoint(with: Self.modelled) {
      #expect(denseNames.contains(String(cString: dense[i].name)))
    }
    let bitmap = ck_bitmap_gemm_variants(&shipped)
    let bitmapTwins = ck_bitmap_gemm_emulated(&emulated)
    let bitmapNames = (0..<emulated).map { String(cString: bitmapTwins[$0].name) }
    for i in 0..<shipped where !InstructionSet(rawValue: bitmap[i].isa).isDisjoint(with: Self.modelled) {
      #expect(bitmapNames.contains(String(cString: bitmap[i].name)))
    }
    #expect(denseNames.contains("dense_gemm_amxbf16") && bitmapNames.contains("bitmap_gemm_int8_amxint8"))
  }

  @Test(arguments: UInt64(1)...24)
  func exactSumsAreThoseOfTheReference(seed: UInt64) {
    for type in [ck_type.CK_BF16, .CK_INT8] {
      var product = ExactProduct(seed: seed, type: type)
      var count = 0
      let reference = ck_bitmap_gemm_variants(&count)
      for i in 0..<count where reference[i].isa == 0 && reference[i].type == type {
        product.expected = product.run(reference[i])
      }
      let bitmap = ck_bitmap_gemm_emulated(&count)
      for i in 0..<count where bitmap[i].type == type {
        product.expectSame(product.run(bitmap[i]), String(cString: bitmap[i].name))
      }
      guard type == .CK_BF16 else { continue }
      let dense = ck_dense_gemm_emulated(&count)
      for i in 0..<count { product.expectSame(product.run(dense[i]), String(cString: dense[i].name)) }
    }
  }

  /// The processor's part runs where it has the instructions; 4096 rounds meet every shape of tiles.
  @Test func modelsComputeWhatTheProcessorComputes() {
    let present = ck_isa_detect()
    let results = (0..<Int(CK_MODEL_INSTRUCTIONS)).map { ck_model_compare($0, 1, 4096, present) }
    #expect(results.map { String(cString: $0.instruction) } == ["tdpbf16ps", "tdpbssd", "vdpbf16ps", "vpdpbusd", "vpdpwssd"])
    for result in results {
      let name = String(cString: result.instruction)
      #expect(result.differing_bits == 0, "\(name): seed 1, first in round \(result.first_round)")
      #expect(result.on_hardware == 0 ? result.hardware_hash == 0 : result.hardware_hash == result.model_hash, "\(name)")
    }
    #expect(ck_model_take_fault() == nil)
  }

  /// What a 16-core Emerald Rapids computed on 2026-11-24 (seed 1, 20480 rounds: every shape with every kind of operand), where
  /// models and processor differed in no bit; VPDPWSSD: a 2-core one on 2026-11-30.
  @Test(
    arguments: zip(
      0..<Int(CK_MODEL_INSTRUCTIONS),
      [0x81f2_a4fc_2e73_9b22, 0x1764_96e2_bf9e_30c1, 0x7736_b1e5_4a89_6dec, 0x32e6_bf08_6601_b882, 0xc137_e220_cdce_f36f]
        as [UInt64]))
  func modelsComputeWhatWasRecordedOnHardware(instruction: Int, recorded: UInt64) {
    let result = ck_model_compare(instruction, 1, 20480, 0)
    #expect(result.model_hash == recorded, "\(String(cString: result.instruction))")
  }
}

/// Small integers, some weights pruned, in the forms that kernels read; rows of x padded with what must not be read.
private struct ExactProduct {
  let seed: UInt64
  let type: ck_type
  let m, n, k, xStride, yStride: Int
  let yType: ck_type
  let hasBias: Bool
  let x, dense, bitmap, values, offsets: AlignedBytes
  let rowSum: [Int32]
  let bias, rowScale, xScale: [Float]
  var expected: [UInt8] = []

  init(seed: UInt64, type: ck_type) {
    var random = SplitMix(state: seed)
    self.seed = seed
    self.type = type
    m = Int.random(in: 1...(seed % 4 == 0 ? 140 : 70), using: &random)
    n = Int.random(in: 1...50, using: &random)
    k = Int.random(in: 1...(seed % 3 == 0 ? 1200 : 200), using: &random)
    yType = Bool.random(using: &random) ? .CK_F32 : .CK_BF16
    hasBias = Bool.random(using: &random)
    yStride = n + Int.random(in: 0...5, using: &random)
    let size = type == .CK_INT8 ? 1 : 2
    let kPadded = ck_k_padded(k, type)
    let panels = ck_panels(n)
    xStride = kPadded * size + 64

    func element(_ value: Int) -> [UInt8] {
      if type == .CK_INT8 { return [UInt8(bitPattern: Int8(value))] }
      let bits = UInt16(Float(value).bitPattern >> 16)
      return [UInt8(truncatingIfNeeded: bits), UInt8(bits >> 8)]
    }
    x = AlignedBytes(m * xStride, filledWith: 0xFF)
    for row in 0..<m {
      for column in 0..<kPadded {
        let bytes = element(column < k ? Int.random(in: -3...3, using: &random) : 0)
        for (i, byte) in bytes.enumerated() { x[row * xStride + column * size + i] = byte }
      }
    }
    let weights = AlignedBytes(n * k * size)
    for i in 0..<n * k {
      let bytes = element(Bool.random(using: &random) ? 0 : Int.random(in: -3...3, using: &random))
      for (j, byte) in bytes.enumerated() { weights[i * size + j] = byte }
    }

    dense = AlignedBytes(ck_dense_packed_bytes(n, k))
    if type == .CK_BF16 { ck_dense_pack(weights.words, k, n, k, 0, panels, dense.words) }
    var counts = [UInt64](repeating: 0, count: panels)
    ck_bitmap_count(weights.start, k, type, n, k, 0, panels, &counts)
    let starts = counts.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
    offsets = AlignedBytes(starts.count * 8)
    offsets.start.copyMemory(from: starts, byteCount: starts.count * 8)
    bitmap = AlignedBytes(ck_bitmap_bytes(n, k, type))
    values = AlignedBytes(ck_bitmap_values_bytes(starts[panels], type))
    var sums = [Int32](repeating: 0, count: n)
    ck_bitmap_pack(weights.start, k, type, n, k, 0, panels, starts, bitmap.start, values.start, &sums)
    rowSum = sums
    bias = (0..<n).map { Float($0 - 7) }
    rowScale = (0..<n).map { Float($0 % 3) + 0.5 }
    xScale = (0..<m).map { Float(1 << ($0 % 4)) }
  }

  /// The output's bytes, poison between the rows included; `body` computes panels lower ..< upper.
  private func output(scratch: Int, _ body: (UnsafePointer<ck_gemm_call>, Int, Int, UnsafeMutableRawPointer) -> Void) -> [UInt8] {
    let y = AlignedBytes(m * yStride * (yType == .CK_F32 ? 4 : 2), filledWith: 0xAA)
    let room = AlignedBytes(scratch, filledWith: 0xFF)
    xScale.withUnsafeBufferPointer { xScale in
      bias.withUnsafeBufferPointer { bias in
        var call = ck_gemm_call(
          m: m, n: n, k: k, x: x.start, x_stride: xStride, x_scale: xScale.baseAddress,
          bias: hasBias ? bias.baseAddress : nil, y: y.start, y_stride: yStride, y_type: yType)
        let panels = ck_panels(n)
        body(&call, 0, panels / 2, room.start)
        body(&call, panels / 2, panels, room.start)
      }
    }
    return y.bytes
  }

  /// What asking for scratch takes: the shape.
  private var shape: ck_gemm_call {
    ck_gemm_call(
      m: m, n: n, k: k, x: x.start, x_stride: xStride, x_scale: nil, bias: nil, y: x.start, y_stride: yStride, y_type: yType)
  }

  func run(_ variant: ck_dense_gemm_variant) -> [UInt8] {
    var weights = ck_dense_weights(values: dense.words)
    var shape = self.shape
    return output(scratch: variant.scratch_bytes(&shape)) { variant.run($0, &weights, $1, $2, $3) }
  }

  func run(_ variant: ck_bitmap_gemm_variant) -> [UInt8] {
    rowScale.withUnsafeBufferPointer { rowScale in
      rowSum.withUnsafeBufferPointer { rowSum in
        var weights = ck_bitmap_weights(
          type: type, bitmap: bitmap.start, values: values.start, offsets: offsets.start.assumingMemoryBound(to: UInt64.self),
          row_scale: rowScale.baseAddress, row_sum: rowSum.baseAddress)
        var shape = self.shape
        return output(scratch: variant.scratch_bytes(&shape)) { variant.run($0, &weights, $1, $2, $3) }
      }
    }
  }

  func expectSame(_ bytes: [UInt8], _ name: String) {
    let fault = ck_model_take_fault().map { String(cString: $0) }
    #expect(fault == nil, "\(name), seed \(seed), m \(m), n \(n), k \(k)")
    #expect(bytes == expected, "\(name), seed \(seed), m \(m), n \(n), k \(k), bias \(hasBias)")
  }
}

/// 64-byte aligned memory.
private final class AlignedBytes {
  let start: UnsafeMutableRawPointer
  private let count: Int

  init(_ count: Int, filledWith byte: UInt8 = 0) {
    self.count = count
    start = .allocate(byteCount: max(count, 1), alignment: 64)
    start.initializeMemory(as: UInt8.self, repeating: byte, count: max(count, 1))
  }
  deinit { start.deallocate() }

  var words: UnsafeMutablePointer<UInt16> { start.assumingMemoryBound(to: UInt16.self) }
  var bytes: [UInt8] { Array(UnsafeRawBufferPointer(start: start, count: count)) }
  subscript(offset: Int) -> UInt8 {
    get { start.load(fromByteOffset: offset, as: UInt8.self) }
    set { start.storeBytes(of: newValue, toByteOffset: offset, as: UInt8.self) }
  }
}

private struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
}
