internal import CCompression
internal import Tessera

/// A 4-bit format: what codes are worth, how many share a scale, and how the scale is stored.
///
///     weight = tensorScale * scale(group) * value(code, selector(group))
///
/// Code 8 of the RaZeR formats is a special value, of which each group selects one (arXiv 2501.04052); in plain FP4 it is a
/// second zero and never produced.
public struct QuantizationFormat: Sendable, Hashable {
  /// How the scale of a group is stored, and with it the selector of its special value.
  public enum Scale: Sendable, Hashable, CaseIterable {
    /// fp16, also negative.
    case f16
    /// fp16 whose two lowest bits are the selector and count as 0 in the scale.
    case f16Selector
    /// A byte: E3M3 in bits 5..0 (bias 3: n/32 below 1/4, up to 30), the selector in bits 7..6.
    case e3m3Selector
    /// A byte: E4M3 in bits 6..0 (bias 7, up to 448; 0x7F does not occur), a selector of two in bit 7.
    case e4m3
    /// A byte: 2^(bits 5..0 - 32), the selector in bits 7..6.
    case powerOfTwo
  }

  public let name: String
  /// Consecutive inputs that share a scale: 16, 32, 64 or 128. The last group of a row may have fewer.
  public let group: Int
  public let scale: Scale
  /// What the 16 codes are worth.
  public let values: [Float]
  /// What code 8 is worth under each selector; empty where it is a value like any other.
  public let specialValues: [Float]

  package init(name: String, group: Int, scale: Scale, values: [Float], specialValues: [Float] = []) {
    self.name = name
    self.group = group
    self.scale = scale
    self.values = values
    self.specialValues = specialValues
  }

  /// 4.5 bits for a weight.
  public static let razerG16 = razer("razer-g16", 16, .e3m3Selector)
  /// 4.25 bits.
  public static let razerG32 = razer("razer-g32", 32, .e3m3Selector)
  /// 4.25 bits.
  public static let razerG64 = razer("razer-g64", 64, .f16Selector)
  /// 4.125 bits.
  public static let razerG128 = razer("razer-g128", 128, .f16Selector)
  public static let fp4G32 = QuantizationFormat(name: "fp4-g32", group: 32, scale: .f16, values: e2m1)
  public static let fp4G128 = QuantizationFormat(name: "fp4-g128", group: 128, scale: .f16, values: e2m1)
  public static let nvfp4 = QuantizationFormat(name: "nvfp4", group: 16, scale: .e4m3, values: e2m1)
  /// The scale of a group is 2^floor(log2 max|w|) / 4 (OCP Microscaling 1.0). Exponents too far below the largest are
  /// raised.
  public static let mxfp4 = QuantizationFormat(name: "mxfp4", group: 32, scale: .powerOfTwo, values: e2m1)
  public static let nf4G64 = QuantizationFormat(name: "nf4-g64", group: 64, scale: .f16, values: normalFloat)
  public static let iq4NL = QuantizationFormat(name: "iq4-nl", group: 32, scale: .f16, values: iq4NLValues)
  public static let int4G32 = QuantizationFormat(name: "int4-g32", group: 32, scale: .f16, values: (-8...7).map { Float($0) })
  public static let int4G128 = QuantizationFormat(name: "int4-g128", group: 128, scale: .f16, values: (-8...7).map { Float($0) })

  public static let all = [
    razerG16, razerG32, razerG64, razerG128, fp4G32, fp4G128, nvfp4, mxfp4, nf4G64, iq4NL, int4G32, int4G128,
  ]

  /// The same RaZeR format with other special values, for example 5, -5, 7, -7: one to four multiples of 1/2, at most 8 in size.
  /// - Throws: `invalidSpecialValues`.
  public func with(specialValues: [Float]) throws(CompressionError) -> QuantizationFormat {
    let usable = specialValues.allSatisfy { abs($0) <= 8 && $0 * 2 == ($0 * 2).rounded() }
    guard !self.specialValues.isEmpty, (1...4).contains(specialValues.count), usable else {
      throw .invalidSpecialValues(specialValues)
    }
    return QuantizationFormat(name: name, group: group, scale: scale, values: values, specialValues: specialValues)
  }

  /// Bits of codes and scales for a weight.
  public var bitsPerWeight: Double { 4 + (scale.isByte ? 8 : 16) / Double(group) }

  public func value(code: Int, selector: Int) -> Float {
    code == 8 && selector < specialValues.count ? specialValues[selector] : values[code]
  }

  /// The value of a stored scale, NaN for bits that stand for none.
  public func scale(bits: UInt16) -> Float { cc_scale_value(UInt32(bits), scale.cType) }

  public func selector(bits: UInt16) -> Int { Int(cc_scale_selector(UInt32(bits), scale.cType)) }

  /// Groups of a row.
  public func groups(inputs: Int) -> Int { (inputs - 1) / group + 1 }
}

extension QuantizationFormat: CustomStringConvertible {
  public var description: String { name }
}

extension QuantizationFormat {
  static let e2m1: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6]
  /// Quantiles of the normal distribution (Dettmers et al., arXiv 2305.14314), rounded to bfloat16.
  private static let normalFloat: [Float] = [
    -1, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.09105004, 0, 0.0795803, 0.1609302, 0.2461123,
    0.33791524, 0.44070983, 0.562617, 0.72295684, 1,
  ].map { Float(BFloat16($0)) }
  private static let iq4NLValues: [Float] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]

  private static func razer(_ name: String, _ group: Int, _ scale: Scale) -> QuantizationFormat {
    QuantizationFormat(name: name, group: group, scale: scale, values: e2m1, specialValues: [5, -5, 8, -8])
  }

  /// The largest value that every group has, whatever its special value.
  var largestValue: Float { values.reduce(0) { max($0, abs($1)) } }
}

extension QuantizationFormat.Scale {
  var isByte: Bool { self != .f16 && self != .f16Selector }

  var cType: cc_scale_type {
    switch self {
    case .f16: .CC_SCALE_F16
    case .f16Selector: .CC_SCALE_F16_SELECTOR
    case .e3m3Selector: .CC_SCALE_E3M3
    case .e4m3: .CC_SCALE_E4M3
    case .powerOfTwo: .CC_SCALE_POWER
    }
  }
}
