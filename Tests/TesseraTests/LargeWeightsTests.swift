internal import CKernels
internal import Testing

@testable internal import Tessera

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Weights beyond 4 GiB: a panel that lies there gives the bits that it gives on its own.
@Suite struct LargeWeightsTests {
  static let beyond = 4 << 30 + 5 << 20
  static let inputs = 4096
  static let rows = 3

  struct NoMemory: Error { let bytes: Int }

  /// Zeros, of which only those pages that are used take memory.
  struct Zeros: ~Copyable {
    let start: UnsafeMutableRawPointer
    private let count: Int

    init(_ count: Int) throws {
      let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
      guard let start = mmap(nil, count, PROT_READ | PROT_WRITE, flags, -1, 0), start != MAP_FAILED else {
        throw NoMemory(bytes: count)
      }
      (self.start, self.count) = (start, count)
    }

    deinit { munmap(start, count) }

    func at<Element>(_ offset: Int, as type: Element.Type) -> UnsafeMutablePointer<Element> {
      (start + offset).assumingMemoryBound(to: type)
    }
  }

  /// The outputs of one panel for rows of x that are the same in each call.
  static func outputs(
    panel: Int, xType: ck_type, run: (UnsafePointer<ck_gemm_call>, UnsafeMutableRawPointer) -> Void
  ) throws -> [[Float]] {
    let planes = ck_x_planes(xType)
    let rowBytes = inputs * (xType == .CK_BF16 ? 2 : 1)
    let x = try Zeros(rows * planes * rowBytes)
    var generator = SeededGenerator(seed: 11)
    for i in 0..<rows * planes * inputs {
      let value = Int8.random(in: -9...9, using: &generator)
      if xType == .CK_BF16 {
        x.at(0, as: UInt16.self)[i] = UInt16(truncatingIfNeeded: Float(value).bitPattern >> 16)
      } else {
        x.at(0, as: Int8.self)[i] = value
      }
    }
    let n = (panel + 1) * 16
    let y = try Zeros(rows * n * 4)
    let scales = try Zeros(rows * 4)
    for row in 0..<rows { scales.at(0, as: Float.self)[row] = 0.5 }
    let scratch = try Zeros(64 << 20)
    var call = ck_gemm_call(
      m: rows, n: n, k: inputs, x: x.start, x_stride: rowBytes, x_scale: scales.at(0, as: Float.self), bias: nil, y: y.start,
      y_stride: n, y_type: .CK_F32)
    run(&call, scratch.start)
    let outputs = y.at(panel * 16 * 4, as: Float.self)
    return (0..<rows).map { row in [Float](UnsafeBufferPointer(start: outputs + row * n, count: 16)) }
  }

  static func here(_ isa: ck_isa) -> Bool { InstructionSet.detect().isSuperset(of: InstructionSet(rawValue: isa)) }

  @Test func densePanels() throws {
    let panelBytes = ck_dense_packed_bytes(16, Self.inputs)
    let panel = Self.beyond / panelBytes
    let values = try Zeros((panel + 1) * panelBytes)
    var generator = SeededGenerator(seed: 12)
    let weights = (0..<16 * Self.inputs).map { _ in
      UInt16(truncatingIfNeeded: Float.random(in: -1...1, using: &generator).bitPattern >> 16)
    }
    for place in [0, panel] {
      ck_dense_pack(weights, Self.inputs, 16, Self.inputs, 0, 1, values.at(place * panelBytes, as: UInt16.self))
    }
    var count = 0
    let first = ck_dense_gemm_variants(&count)
    for variant in UnsafeBufferPointer(start: first, count: count) where Self.here(variant.isa) {
      var packed = ck_dense_weights(values: values.at(0, as: UInt16.self))
      let results = try [0, panel].map { panel in
        try Self.outputs(panel: panel, xType: .CK_BF16) { variant.run($0, &packed, panel, panel + 1, $1) }
      }
      #expect(results[0] == results[1], "\(String(cString: variant.name))")
      #expect(results[0].joined().contains { $0 != 0 }, "\(String(cString: variant.name))")
    }
  }

  @Test func bitmapPanels() throws {
    var count = 0
    let first = ck_bitmap_gemm_variants(&count)
    for variant in UnsafeBufferPointer(start: first, count: count) where Self.here(variant.isa) {
      let type = variant.type
      let size = type == .CK_BF16 ? 2 : 1
      let maskBytes = ck_bitmap_bytes(16, Self.inputs, type)
      let masks = try Zeros(2 * maskBytes)
      let values = try Zeros(Self.beyond + 16 * Self.inputs * size + 64)
      // Every other weight is 0; the second panel is the first one once more, its values beyond 4 GiB.
      var generator = SeededGenerator(seed: 13)
      let weights = (0..<32 * Self.inputs).map { i -> Int8 in i % 2 == 0 ? Int8.random(in: 1...9, using: &generator) : 0 }
      let wide = weights.map { UInt16(truncatingIfNeeded: Float($0).bitPattern >> 16) }
      let stored = UInt64(16 * Self.inputs / 2)
      let tables = try Zeros(3 * 4096)
      let offsets = tables.at(0, as: UInt64.self)
      let sums = tables.at(4096, as: Int32.self)
      let scales = tables.at(8192, as: Float.self)
      (offsets[1], offsets[2]) = (UInt64(Self.beyond / size), UInt64(Self.beyond / size) + stored)
      for row in 0..<32 { scales[row] = 0.25 }
      for panel in 0...1 {
        // Packed as panel 0, at the places of `panel`.
        let mask = masks.at(panel * maskBytes, as: UInt8.self)
        let value = values.at(Int(offsets[panel]) * size, as: UInt8.self)
        if type == .CK_BF16 {
          ck_bitmap_pack(wide, Self.inputs, type, 16, Self.inputs, 0, 1, [0, stored], mask, value, sums + panel * 16)
        } else {
          ck_bitmap_pack(weights, Self.inputs, type, 16, Self.inputs, 0, 1, [0, stored], mask, value, sums + panel * 16)
        }
      }
      var packed = ck_bitmap_weights(
        type: type, bitmap: masks.at(0, as: UInt8.self), values: values.at(0, as: UInt8.self), offsets: offsets,
        row_scale: scales, row_sum: sums)
      let results = try [0, 1].map { panel in
        try Self.outputs(panel: panel, xType: type) { variant.run($0, &packed, panel, panel + 1, $1) }
      }
      #expect(results[0] == results[1], "\(String(cString: variant.name))")
      #expect(results[0].joined().contains { $0 != 0 }, "\(String(cString: variant.name))")
    }
  }

  @Test func code4Panels() throws {
    let format = try #require(WeightFormat(rawValue: "razer-g128")?.code4)
    let group = 128
    let codeBytes = ck_code4_codes_bytes(16, Self.inputs)
    let scaleBytes = ck_code4_scales_bytes(16, Self.inputs, group, .CK_SCALE_F16_SELECTOR)
    let panel = Self.beyond / codeBytes
    let codes = try Zeros((panel + 1) * codeBytes)
    let scales = try Zeros((panel + 1) * scaleBytes)
    let tables = try Zeros(4096)
    tables.at(0, as: ck_code4_tables.self).pointee = format.tables
    var generator = SeededGenerator(seed: 14)
    let source = (0..<16 * Self.inputs).map { _ in UInt8.random(in: 0...15, using: &generator) }
    let stored = (0..<16 * Self.inputs / group).map { _ in UInt16.random(in: 0x3000...0x3BFF, using: &generator) }
    for place in [0, panel] {
      ck_code4_pack_codes(source, Self.inputs, 16, Self.inputs, 0, 1, codes.at(place * codeBytes, as: UInt8.self))
      ck_code4_pack_scales(
        stored, Self.inputs / group, 16, Self.inputs, group, .CK_SCALE_F16_SELECTOR, 0, 1,
        scales.at(place * scaleBytes, as: UInt8.self))
    }
    let view = ck_code4_view(block_panels: panel + 1, kept_panels: panel + 1, block_k: Self.inputs, kept_k: Self.inputs)
    var packed = ck_code4_weights(
      codes: codes.at(0, as: UInt8.self), bitmap: nil, offsets: nil, scales: scales.at(0, as: UInt8.self),
      tables: tables.at(0, as: ck_code4_tables.self), scale_type: .CK_SCALE_F16_SELECTOR, group: UInt32(group), tensor_scale: 1,
      packed_k: Self.inputs, view: view)
    var count = 0
    let first = ck_code4_gemm_variants(&count)
    for variant in UnsafeBufferPointer(start: first, count: count) where Self.here(variant.isa) {
      let results = try [0, panel].map { panel in
        try Self.outputs(panel: panel, xType: variant.x_type) { variant.run($0, &packed, panel, panel + 1, $1) }
      }
      #expect(results[0] == results[1], "\(String(cString: variant.name))")
      #expect(results[0].joined().contains { $0 != 0 }, "\(String(cString: variant.name))")
    }
  }
}
