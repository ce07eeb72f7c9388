package import CKernels

/// What the codes and scales of a 4-bit format mean.
///
///     weight = tensorScale * scale(group) * values[code]        code 8 of RaZeR: the special value that the group selects
public struct Code4Format: Sendable, Hashable {
  /// How the scale of a group is stored, and with it the selector of a special value (`ck_scale_type`).
  public enum Scale: Sendable, Hashable, CaseIterable {
    /// fp16, also negative.
    case f16
    /// fp16 whose two lowest bits are the selector and count as 0 in the scale.
    case f16Selector
    /// A byte: E3M3 in bits 5..0 (bias 3: n / 32 below 1/4, up to 30), the selector in bits 7..6.
    case e3m3Selector
    /// A byte: E4M3 in bits 6..0 (bias 7, up to 448; 0x7F stands for none), the selector in bit 7.
    case e4m3
    /// A byte: 2^(bits 5..0 - 32), the selector in bits 7..6.
    case powerOfTwo
  }

  /// Consecutive inputs that share a scale: 16, 32, 64 or 128. The last group of a row may have fewer.
  public let group: Int
  public let scale: Scale
  /// What the 16 codes are worth.
  public let values: [Float]
  /// RaZeR: what code 8 is worth under each of the four selectors; empty where code 8 is a value like any other.
  public let specialValues: [Float]

  /// E2M1, whose code 8 is a second zero.
  private static let fp4: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6]
  /// RaZeR's usual special values (arXiv 2501.04052).
  public static let usualSpecialValues: [Float] = [5, -5, 8, -8]
  /// Quantiles of the normal distribution (Dettmers et al., arXiv 2305.14314), rounded to bfloat16.
  private static let nf4: [Float] = [
    -1, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.09105004, 0, 0.0795803, 0.1609302, 0.2461123,
    0.33791524, 0.44070983, 0.562617, 0.72295684, 1,
  ].map { Float(BFloat16($0)) }
  private static let iq4nl: [Float] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]
  private static let int4 = (-8...7).map { Float($0) }

  package init(group: Int, scale: Scale, values: [Float], specialValues: [Float] = []) {
    self.group = group
    self.scale = scale
    self.values = values
    self.specialValues = specialValues
  }

  private static func razer(_ group: Int, _ scale: Scale) -> Code4Format {
    Code4Format(group: group, scale: scale, values: fp4, specialValues: usualSpecialValues)
  }

  init?(_ format: WeightFormat) {
    switch format {
    case .bf16, .bitmapBF16, .bitmapInt8: return nil
    case .razerG16: self = .razer(16, .e3m3Selector)
    case .razerG32: self = .razer(32, .e3m3Selector)
    case .razerG64: self = .razer(64, .f16Selector)
    case .razerG128, .bitmapRazerG128: self = .razer(128, .f16Selector)
    case .fp4G32: self.init(group: 32, scale: .f16, values: Code4Format.fp4)
    case .fp4G128: self.init(group: 128, scale: .f16, values: Code4Format.fp4)
    case .nvfp4: self.init(group: 16, scale: .e4m3, values: Code4Format.fp4)
    case .mxfp4: self.init(group: 32, scale: .powerOfTwo, values: Code4Format.fp4)
    case .nf4G64: self.init(group: 64, scale: .f16, values: Code4Format.nf4)
    case .iq4NL: self.init(group: 32, scale: .f16, values: Code4Format.iq4nl)
    case .int4G32: self.init(group: 32, scale: .f16, values: Code4Format.int4)
    case .int4G128: self.init(group: 128, scale: .f16, values: Code4Format.int4)
    }
  }

  /// The same with other special values: one to four multiples of a half, at most 8 in size. The last fills up to four.
  /// - Throws: `invalidSpecialValues` when the format has no special values or these cannot be used.
  public func with(specialValues: [Float]) throws(TesseraError) -> Code4Format {
    let usable = specialValues.allSatisfy { abs($0) <= 8 && $0 * 2 == ($0 * 2).rounded() }
    guard !self.specialValues.isEmpty, (1...4).contains(specialValues.count), usable else {
      throw .invalidSpecialValues(specialValues)
    }
    let filled = (0..<4).map { specialValues[min($0, specialValues.count - 1)] }
    return Code4Format(group: group, scale: scale, values: values, specialValues: filled)
  }

  /// Bits of codes and scales per weight, every code stored.
  public var bitsPerWeight: Double { 4 + Double(scale.byteCount * 8) / Double(group) }

  /// What kernels count in: halves for FP4, whose values then are integers.
  package var unit: Float { values.contains(0.5) ? 0.5 : 1 }

  /// Whether all values are integers in that unit, so that int8 kernels can multiply by them exactly.
  package var hasIntegerValues: Bool { (values + specialValues).allSatisfy { $0 / unit == ($0 / unit).rounded() } }

  /// The value of a code under a selector.
  public func value(code: Int, selector: Int) -> Float {
    code == 8 && selector < specialValues.count ? specialValues[selector] : values[code]
  }

  /// The value of a stored scale, without its selector; infinite or NaN for bits that stand for none.
  public func scale(bits: UInt16) -> Float { scale.value(bits: bits) }

  /// Which special value a stored scale selects.
  public func selector(bits: UInt16) -> Int { scale.selector(bits: bits) }

  /// Scales of a row.
  public func groups(inputs: Int) -> Int { (inputs - 1) / group + 1 }

  package var tables: ck_code4_tables {
    var tables = ck_code4_tables()
    withUnsafeMutableBytes(of: &tables.values) { bytes in
      let entries = bytes.bindMemory(to: UInt16.self)
      for index in entries.indices { entries[index] = BFloat16(value(code: index % 16, selector: index / 16) / unit).bits }
    }
    if hasIntegerValues {
      withUnsafeMutableBytes(of: &tables.integers) { bytes in
        let entries = bytes.bindMemory(to: Int8.self)
        for index in entries.indices { entries[index] = Int8(value(code: index % 16, selector: index / 16) / unit) }
      }
    }
    withUnsafeMutableBytes(of: &tables.scale_values) { bytes in
      let entries = bytes.bindMemory(to: UInt16.self)
      for index in entries.indices { entries[index] = BFloat16(scale.indexedValue(index)).bits }
    }
    return tables
  }
}

extension Code4Format.Scale {
  package var cType: ck_scale_type {
    switch self {
    case .f16: .CK_SCALE_F16
    case .f16Selector: .CK_SCALE_F16_SELECTOR
    case .e3m3Selector, .powerOfTwo: .CK_SCALE_INDEX
    case .e4m3: .CK_SCALE_E4M3
    }
  }

  /// Bytes of a stored scale.
  public var byteCount: Int { ck_code4_scale_width(cType) }

  fileprivate func value(bits: UInt16) -> Float {
    switch self {
    case .e3m3Selector, .powerOfTwo: indexedValue(Int(bits & 63))
    case .f16, .f16Selector, .e4m3: withUnsafePointer(to: ck_code4_tables()) { ck_code4_scale(UInt32(bits), cType, $0) }
    }
  }

  fileprivate func selector(bits: UInt16) -> Int { Int(ck_code4_selector(UInt32(bits), cType)) }

  /// What the lower 6 bits of a byte are worth; 0 for the other encodings.
  fileprivate func indexedValue(_ bits: Int) -> Float {
    switch self {
    case .e3m3Selector:
      let (exponent, mantissa) = (bits >> 3, Float(bits & 7))
      return exponent == 0 ? mantissa / 32 : (1 + mantissa / 8) * Float(sign: .plus, exponent: exponent - 3, significand: 1)
    case .powerOfTwo: return Float(sign: .plus, exponent: bits - 32, significand: 1)
    case .f16, .f16Selector, .e4m3: return 0
    }
  }
}

extension WeightFormat {
  /// The 4-bit format of this name, or nil.
  public var code4: Code4Format? { Code4Format(self) }
}
