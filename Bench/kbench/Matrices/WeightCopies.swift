internal import CKernels
internal import Tessera

/// Packed weights whose bytes can be moved to other memory.
protocol CopyableWeights: PackedWeights {
  /// - Parameter parts: copies of the original's `parts`, in their order.
  init(copy parts: [MemoryRegion], of original: Self) throws(TesseraError)
  /// The weights that `panels` stand for, row after row.
  func dequantized(panels: Range<Int>) -> [Double]
}

/// Copies of one packed matrix in distinct memory, each written by the threads that will read it.
///
/// A run takes the next copy, whichever kernel it runs, so that none finds its weights in the cache because another has just read
/// them. All copies lie in one region, on huge pages where the system grants them.
final class WeightCopies {
  let original: any CopyableWeights
  let copies: [any CopyableWeights]
  private var cursor = 0

  /// - Parameter byteCount: at least one copy is made, and as many as fit.
  init(of original: any CopyableWeights, byteCount: Int, on pool: ThreadPool) throws(TesseraError) {
    self.original = original
    copies = try WeightCopies.copies(of: original, count: max(1, byteCount / WeightCopies.stride(of: original)), on: pool)
  }

  init(of original: any CopyableWeights, count: Int, on pool: ThreadPool) throws(TesseraError) {
    self.original = original
    copies = try WeightCopies.copies(of: original, count: count, on: pool)
  }

  var byteCount: Int { copies.count * original.byteCount }

  func next() -> any CopyableWeights {
    defer { cursor = (cursor + 1) % copies.count }
    return copies[cursor]
  }

  /// What a copy takes, each part beginning on a cache line.
  static func stride(of weights: any CopyableWeights) -> Int {
    weights.parts.reduce(0) { $0 + ($1.region.byteCount + 63) / 64 * 64 }
  }

  private static func copies<Weights: CopyableWeights>(
    of original: Weights, count: Int, on pool: ThreadPool
  ) throws(TesseraError) -> [any CopyableWeights] {
    let parts = original.parts
    let stride = stride(of: original)
    let shares = PanelShares(of: original, threads: pool.threadCount)
    let arena = try MemoryRegion(byteCount: stride * count) { memory in
      // The split of Executor.multiply: the first thread to write a page decides where it lies.
      pool.run(parts: shares.count) { share, _ in
        let panels = shares.panels(share: share, of: original)
        for copy in 0..<count {
          write(panels, of: parts, to: UnsafeMutableRawBufferPointer(rebasing: memory[(copy * stride)...]))
        }
      }
    }
    var copies: [any CopyableWeights] = []
    for copy in 0..<count {
      var base = arena.base + copy * stride
      var regions: [MemoryRegion] = []
      for part in parts {
        regions.append(MemoryRegion(base: base, byteCount: part.region.byteCount, keeping: arena))
        base += (part.region.byteCount + 63) / 64 * 64
      }
      copies.append(try Weights(copy: regions, of: original))
    }
    return copies
  }

  private static func write(_ panels: Range<Int>, of parts: [WeightPart], to target: UnsafeMutableRawBufferPointer) {
    var base = 0
    for part in parts {
      let bytes = part.offset(panels.lowerBound)..<part.offset(panels.upperBound)
      UnsafeMutableRawBufferPointer(rebasing: target[(base + bytes.lowerBound)..<(base + bytes.upperBound)])
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: part.region.bytes[bytes]))
      base += (part.region.byteCount + 63) / 64 * 64
    }
  }
}

extension PackedWeights {
  /// The rows of W that panels hold.
  func rows(of panels: Range<Int>) -> Range<Int> {
    panels.lowerBound * Int(CK_PANEL_ROWS)..<min(panels.upperBound * Int(CK_PANEL_ROWS), outputs)
  }
}

extension DenseWeights: CopyableWeights {
  init(copy parts: [MemoryRegion], of original: DenseWeights) throws(TesseraError) {
    try self.init(packed: parts[0], outputs: original.outputs, inputs: original.inputs)
  }

  func dequantized(panels: Range<Int>) -> [Double] {
    let rows = rows(of: panels)
    let first = (values.base + parts[0].offset(panels.lowerBound)).assumingMemoryBound(to: UInt16.self)
    var target = [UInt16](repeating: 0, count: rows.count * inputs)
    ck_dense_unpack(first, rows.count, inputs, 0, panels.count, &target, inputs)
    return target.map { Double(Float(BFloat16(bits: $0))) }
  }
}

extension BitmapWeights: CopyableWeights {
  init(copy parts: [MemoryRegion], of original: BitmapWeights) throws(TesseraError) {
    try self.init(
      packedFormat: original.format, bitmap: parts[0], values: parts[1], offsets: parts[2],
      rowScale: parts.count > 3 ? parts[3] : nil, rowSum: parts.count > 3 ? parts[4] : nil,
      outputs: original.outputs, inputs: original.inputs)
  }

  func dequantized(panels: Range<Int>) -> [Double] {
    let rows = rows(of: panels)
    var weights = cWeights
    weights.bitmap += parts[0].offset(panels.lowerBound)
    weights.offsets += panels.lowerBound
    if format == .bitmapBF16 {
      var target = [UInt16](repeating: 0, count: rows.count * inputs)
      ck_bitmap_unpack(&weights, rows.count, inputs, 0, panels.count, &target, inputs)
      return target.map { Double(Float(BFloat16(bits: $0))) }
    }
    var codes = [Int8](repeating: 0, count: rows.count * inputs)
    ck_bitmap_unpack(&weights, rows.count, inputs, 0, panels.count, &codes, inputs)
    guard let scale = rowScale?.base.assumingMemoryBound(to: Float.self) else {
      preconditionFailure("int8 weights without scales")
    }
    return codes.indices.map { Double(codes[$0]) * Double(scale[rows.lowerBound + $0 / inputs]) }
  }
}

extension Code4Weights: CopyableWeights {
  init(copy parts: [MemoryRegion], of original: Code4Weights) throws(TesseraError) {
    let hasBitmap = parts.count > 2
    try self.init(
      packed: parts[0], bitmap: hasBitmap ? parts[1] : nil, offsets: hasBitmap ? parts[2] : nil, scales: parts[hasBitmap ? 3 : 1],
      tensorScale: original.tensorScale, format: original.format, outputs: original.outputs, inputs: original.inputs,
      activations: original.activations)
  }

  func dequantized(panels: Range<Int>) -> [Double] {
    let floats: [Float] = dequantized(panels: panels)
    return floats.map { Double($0) }
  }
}

extension Code4Weights {
  /// Random codes, scales and selectors, all of them usable; with a sparsity that fraction of the codes is 0, and no other.
  init(random choice: PackingChoice, shape: Shape, seed: UInt64, on pool: ThreadPool) throws(TesseraError) {
    guard let code4 = choice.format.code4 else { preconditionFailure("\(choice.format) is no 4-bit format") }
    let groups = code4.groups(inputs: shape.inputs)
    var codes = [UInt8](repeating: 0, count: shape.outputs * shape.inputs)
    var scales = [UInt16](repeating: 0, count: shape.outputs * groups)
    codes.withUnsafeMutableBufferPointer { codes in
      scales.withUnsafeMutableBufferPointer { scales in
        let (codes, scales) = (codes, scales)
        pool.run(parts: shape.outputs) { row, _ in
          var generator = SplitMix64(seed: seed, stream: row)
          for column in 0..<shape.inputs {
            codes[row * shape.inputs + column] = generator.code(sparsity: choice.sparsity)
          }
          for group in 0..<groups { scales[row * groups + group] = code4.scale.random(&generator) }
        }
      }
    }
    try self.init(
      packing: codes.span, scales: scales.span, tensorScale: 0.01, format: choice.format, outputs: shape.outputs,
      inputs: shape.inputs, activations: choice.activations, on: pool)
  }
}

extension SplitMix64 {
  fileprivate mutating func code(sparsity: Double?) -> UInt8 {
    guard let sparsity else { return UInt8(truncatingIfNeeded: next() >> 60) }
    return unit() < sparsity ? 0 : UInt8(1 + next() % 15)
  }
}

extension Code4Format.Scale {
  /// A stored scale between 1/4 and 2 with any selector.
  fileprivate func random(_ generator: inout SplitMix64) -> UInt16 {
    let bits = UInt16(truncatingIfNeeded: generator.next())
    return switch self {
    case .f16, .f16Selector: 0x3400 + bits % 0x0C00
    case .e3m3Selector: bits & 0xC0 | (8 + bits % 24)
    case .e4m3: bits & 0x80 | (0x28 + bits & 0x0F)
    case .powerOfTwo: bits & 0xC0 | (30 + bits % 3)
    }
  }
}
