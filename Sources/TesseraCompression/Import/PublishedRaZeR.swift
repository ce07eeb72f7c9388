public import Tessera

/// How programs of RaZeR's authors (arXiv 2501.04052) store its weights. No two agree.
///
///     encoding   code              zero  special  scale                        special value
///     kernel     bit 0 sign,          2        3  fp16                         a selector beside it: 5, 8, -5, -8
///                bits 3..1 of 0.5 * 1 1.5 2 3 4 6
///     cudaG128   E2M1                 8        0  fp16 below 2, sign aside     bit 14: 8, not 5; negative with the scale
///     cudaG16    E2M1                 8        0  bits 5..0 of a byte, E3M3    bit 6: 8, not 5; bit 7: negative
///     marlin     E2M1                 0        8  fp16 without its lowest bit  bit 0: 8, not 5; negative unless the scale is
///
/// Where the scale is negative it turns all weights of its group around.
public enum RaZeREncoding: Sendable, CaseIterable {
  /// Of the first version's matrix-vector kernel. A word of 32 bits holds 8 consecutive inputs of an output, the first in its
  /// lowest bits; a word of selectors likewise 8 groups.
  case kernel
  /// Of the second version's kernels: words as above, but those of all outputs lie side by side, then come the next 8 inputs.
  case cudaG128
  /// The same for groups of 16. The scales of 4 groups share a word. It is published without a scale of the tensor, without
  /// which small weights become 0.
  case cudaG16
  /// Of kernels made from Marlin's, before their tiles are permuted.
  case marlin

  /// What it becomes.
  public var format: WeightFormat { self == .cudaG16 ? .razerG16 : .razerG128 }
}

/// RaZeR weights in one of the encodings that were published, codes and scales in the order of `Code4Matrix`.
public struct PublishedRaZeR: Sendable, Equatable {
  public let encoding: RaZeREncoding
  public let outputs: Int
  public let inputs: Int
  /// `outputs * inputs` codes, one in a byte, row after row.
  public let codes: [UInt8]
  /// One for each group, row after row.
  public let scales: [UInt16]
  /// `kernel`: 0...3 for each group. Empty in the other encodings.
  public let selectors: [UInt8]
  /// What every weight is multiplied by.
  public let tensorScale: Float

  /// Checks nothing; `Code4Matrix` does.
  public init(
    _ encoding: RaZeREncoding, outputs: Int, inputs: Int, codes: [UInt8], scales: [UInt16], selectors: [UInt8] = [],
    tensorScale: Float = 1
  ) {
    self.encoding = encoding
    self.outputs = outputs
    self.inputs = inputs
    self.codes = codes
    self.scales = scales
    self.selectors = selectors
    self.tensorScale = tensorScale
  }

  /// Stores a matrix as they do.
  /// - Throws: `unrepresentable` for a matrix of another format than the encoding's, for other special values than 5, -5, 8 and
  ///   -8, and for scales that the encoding does not have.
  public init(_ matrix: Code4Matrix, as encoding: RaZeREncoding) throws(CompressionError) {
    guard matrix.code4 == encoding.format.code4 else {
      throw .unrepresentable(
        what: "\(encoding)", row: 0, group: 0,
        detail: "\(matrix.format) with special values \(matrix.code4.specialValues) is not \(encoding.format) with its usual ones"
      )
    }
    let groups = matrix.groups
    let codes = encoding.codes
    var published = (codes: matrix.codes, scales: matrix.scales, selectors: [UInt8]())
    for (index, bits) in matrix.scales.enumerated() {
      let (row, group) = (index / groups, index % groups)
      let scale = RaZeRScale(canonical: bits, encoding.format)
      guard let stored = encoding.stored(scale) else {
        throw .unrepresentable(
          what: "\(encoding)", row: row, group: group, detail: "its scale, \(matrix.code4.scale(bits: bits)), is not below 2")
      }
      published.scales[index] = stored.bits
      if encoding == .kernel { published.selectors.append(stored.selector) }
      for input in matrix.elements(row: row, group: group) {
        published.codes[input] = codes[Int(turned(matrix.codes[input], stored.isTurned))]
      }
    }
    self.init(
      encoding, outputs: matrix.outputs, inputs: matrix.inputs, codes: published.codes, scales: published.scales,
      selectors: published.selectors, tensorScale: matrix.tensorScale)
  }
}

extension Code4Matrix {
  /// Takes over weights that were published in an encoding of their own, as razer-g128 or razer-g16. Codes keep their values.
  /// The two lowest bits of an fp16 scale make room for the selector, so it is rounded to the nearest multiple of 4 units:
  /// the weights of the group change by at most 1 / 512 of themselves, by more where the scale is denormal. E3M3 scales stay
  /// as they are.
  /// - Throws: `invalidShape`, `sizeMismatch`, `invalidBits`, `invalidOption` for a tensor scale that is not finite.
  public init(importing published: PublishedRaZeR) throws(CompressionError) {
    let encoding = published.encoding
    let unfinished = try Code4Matrix(
      format: encoding.format, outputs: published.outputs, inputs: published.inputs, codes: published.codes,
      scales: published.scales.map { _ in 0 }, tensorScale: published.tensorScale)
    let groups = unfinished.groups
    let selectorCount = encoding == .kernel ? published.scales.count : 0
    guard published.selectors.count == selectorCount else {
      throw .sizeMismatch(what: "selectors", expected: selectorCount, got: published.selectors.count)
    }
    if let index = published.selectors.firstIndex(where: { $0 > 3 }) {
      let bits = Int(published.selectors[index])
      throw .invalidBits(what: "selector", row: index / groups, index: index % groups, bits: bits)
    }
    let meanings = encoding.meanings
    var (codes, scales) = (published.codes, published.scales)
    for (index, bits) in published.scales.enumerated() {
      let (row, group) = (index / groups, index % groups)
      guard let (scale, isTurned) = encoding.read(bits, selector: selectorCount > 0 ? published.selectors[index] : 0) else {
        throw .invalidBits(what: "scale", row: row, index: group, bits: Int(bits))
      }
      scales[index] = scale.canonical(encoding.format)
      for input in unfinished.elements(row: row, group: group) {
        codes[input] = turned(meanings[Int(codes[input])], isTurned)
      }
    }
    self.init(
      trusted: encoding.format, unfinished.code4, outputs: published.outputs, inputs: published.inputs, codes: codes,
      scales: scales, tensorScale: published.tensorScale)
  }

  fileprivate func elements(row: Int, group: Int) -> Range<Int> {
    row * inputs + group * code4.group..<row * inputs + min((group + 1) * code4.group, inputs)
  }
}

/// The code of the negative value; 0 and the special value stay.
private func turned(_ code: UInt8, _ isTurned: Bool) -> UInt8 { isTurned && code & 7 != 0 ? code ^ 8 : code }

/// A positive scale, fp16 or E3M3, and the special value that goes with it.
private struct RaZeRScale {
  let bits: UInt16
  let isEight: Bool
  let isNegative: Bool

  init(_ bits: UInt16, isEight: Bool, isNegative: Bool) {
    self.bits = bits
    self.isEight = isEight
    self.isNegative = isNegative
  }

  /// Selectors are those of 5, -5, 8, -8.
  init(canonical bits: UInt16, _ format: WeightFormat) {
    let selector = format == .razerG16 ? bits >> 6 : bits & 3
    self.init(format == .razerG16 ? bits & 63 : bits & ~3, isEight: selector & 2 != 0, isNegative: selector & 1 != 0)
  }

  func canonical(_ format: WeightFormat) -> UInt16 {
    let selector: UInt16 = (isEight ? 2 : 0) + (isNegative ? 1 : 0)
    return format == .razerG16 ? bits | selector << 6 : min((bits + 2) & ~3, 0x7BFC) | selector
  }
}

extension RaZeREncoding {
  /// The canonical code of each of its codes.
  fileprivate var meanings: [UInt8] {
    switch self {
    case .kernel: [1, 9, 0, 8, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15]
    case .cudaG128, .cudaG16: [8, 1, 2, 3, 4, 5, 6, 7, 0, 9, 10, 11, 12, 13, 14, 15]
    case .marlin: Array(0..<16)
    }
  }

  /// Its code for each canonical one.
  fileprivate var codes: [UInt8] {
    var codes = [UInt8](repeating: 0, count: 16)
    for (code, meaning) in meanings.enumerated() { codes[Int(meaning)] = UInt8(code) }
    return codes
  }

  /// What stored bits mean, and whether the group's codes are turned around; nil for bits that it does not have.
  fileprivate func read(_ bits: UInt16, selector: UInt8) -> (scale: RaZeRScale, isTurned: Bool)? {
    let isTurned = bits & 0x8000 != 0
    switch self {
    case .kernel:
      guard bits < 0x7C00 else { return nil }
      return (RaZeRScale(bits, isEight: selector & 1 != 0, isNegative: selector & 2 != 0), false)
    case .cudaG128:
      return (RaZeRScale(bits & 0x3FFF, isEight: bits & 0x4000 != 0, isNegative: isTurned), isTurned)
    case .cudaG16:
      guard bits < 0x100 else { return nil }
      return (RaZeRScale(bits & 63, isEight: bits & 0x40 != 0, isNegative: bits & 0x80 != 0), false)
    case .marlin:
      guard bits & 0x7FFF < 0x7C00 else { return nil }
      return (RaZeRScale(bits & 0x7FFE, isEight: bits & 1 != 0, isNegative: !isTurned), isTurned)
    }
  }

  /// The inverse; nil for a scale that it cannot store.
  fileprivate func stored(_ scale: RaZeRScale) -> (bits: UInt16, selector: UInt8, isTurned: Bool)? {
    switch self {
    case .kernel:
      return (scale.bits, (scale.isEight ? 1 : 0) + (scale.isNegative ? 2 : 0), false)
    case .cudaG128:
      guard scale.bits < 0x4000 else { return nil }
      return (scale.bits | (scale.isEight ? 0x4000 : 0) | (scale.isNegative ? 0x8000 : 0), 0, scale.isNegative)
    case .cudaG16:
      return (scale.bits | (scale.isEight ? 0x40 : 0) | (scale.isNegative ? 0x80 : 0), 0, false)
    case .marlin:
      return (scale.bits | (scale.isEight ? 1 : 0) | (scale.isNegative ? 0 : 0x8000), 0, !scale.isNegative)
    }
  }
}
