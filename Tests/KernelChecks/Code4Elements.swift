internal import CKernels
internal import Tessera

/// 4-bit weights of a case: codes and stored scales of a packed matrix, of which the case sees a prefix.
struct Code4Elements {
  let format: WeightFormat
  let code4: Code4Format
  let tensorScale: Float
  let packedN: Int
  let packedK: Int
  let view: ck_code4_view
  /// One a byte, row after row.
  let codes: [UInt8]
  /// As stored, row after row.
  let scales: [UInt16]

  init(_ kernelCase: KernelCase, _ random: inout Random) {
    guard let format = WeightFormat(rawValue: kernelCase.format), let code4 = format.code4 else {
      preconditionFailure("\(kernelCase.format) is no 4-bit format")
    }
    self.format = format
    self.code4 = code4
    let panels = ck_panels(kernelCase.n)
    // Blocks where they fit: outputs in whole panels, inputs in whole steps.
    let outputBlocks = random.isTrue(0.5) && kernelCase.n % 32 == 0 ? 2 : 1
    let inputBlocks = format.storesEveryElement && random.isTrue(0.5) ? [3, 2].first { kernelCase.k % $0 == 0 } ?? 1 : 1
    let keptK = kernelCase.k / inputBlocks
    let dropped = random.isTrue(0.5)
    let blockPanels = panels / outputBlocks + (dropped ? random.integer(0, 2) : 0)
    let blockK =
      inputBlocks == 1 ? keptK + (dropped ? random.integer(0, 150) : 0) : ck_code4_padded(keptK) + (dropped ? 64 : 0)
    view = ck_code4_view(
      block_panels: blockPanels, kept_panels: panels / outputBlocks, block_k: blockK, kept_k: keptK)
    packedN = blockPanels * outputBlocks == panels ? kernelCase.n : blockPanels * outputBlocks * Int(CK_PANEL_ROWS)
    packedK = blockK * inputBlocks
    let exact = kernelCase.elements == .integers
    tensorScale = exact ? 1 : random.pick([1, 0.5, 0x1p-7])
    let extreme = kernelCase.elements == .extremes
    let fractions = format.storesEveryElement ? [1] : kernelCase.density.fractions(rows: packedN, &random)
    let packedK = packedK
    codes = (0..<packedN * packedK).map { at in
      let fraction = fractions[at / packedK % fractions.count]
      guard fraction == 1 || random.isTrue(fraction) else { return 0 }
      return UInt8(extreme ? random.pick([7, 8, 15]) : random.index(below: 16))
    }
    let groups = (packedK - 1) / code4.group + 1
    let type = code4.scale
    scales = (0..<packedN * groups).map { _ in Code4Elements.scale(type, exact: exact, &random) }
  }

  private static func scale(_ type: Code4Format.Scale, exact: Bool, _ random: inout Random) -> UInt16 {
    let selector = UInt16(random.index(below: 4))
    let half = random.isTrue(0.5)
    switch type {
    case .f16:
      if exact { return half ? 0x3800 : 0x3C00 }
      return UInt16(random.integer(0x2400, 0x3FFF)) | (random.isTrue(0.1) ? 0x8000 : 0)
    case .f16Selector: return (exact ? (half ? 0x3800 : 0x3C00) : UInt16(random.integer(0x2400, 0x3FFF)) & ~3) | selector
    case .e3m3Selector: return (exact ? (half ? 0x10 : 0x18) : UInt16(random.index(below: 64))) | selector << 6
    case .e4m3: return (exact ? (half ? 0x30 : 0x38) : UInt16(random.index(below: 0x7F))) | (selector & 1) << 7
    case .powerOfTwo: return (exact ? (half ? 31 : 32) : UInt16(random.integer(24, 34))) | selector << 6
    }
  }

  /// The weights that the case multiplies by, row after row; exact, for the products of values and scales have few bits.
  func weights(n: Int, k: Int) -> [Float] {
    var tables = code4.tables
    let groups = (packedK - 1) / code4.group + 1
    var result: [Float] = []
    result.reserveCapacity(n * k)
    for row in 0..<n {
      let panel = row / 16
      let packedRow = (panel / view.kept_panels * view.block_panels + panel % view.kept_panels) * 16 + row % 16
      for column in 0..<k {
        let packedColumn = column / view.kept_k * view.block_k + column % view.kept_k
        let bits = UInt32(scales[packedRow * groups + packedColumn / code4.group])
        let scale = ck_code4_scale(bits, code4.scale.cType, &tables)
        let selector = Int(ck_code4_selector(bits, code4.scale.cType))
        result.append(code4.value(code: Int(codes[packedRow * packedK + packedColumn]), selector: selector) * scale * tensorScale)
      }
    }
    return result
  }
}
