internal import CCompression
internal import Tessera

extension WeightFormat {
  /// What codes and scales of this 4-bit format mean; nil leaves it at the usual special values.
  /// - Throws: `invalidSpecialValues`.
  func code4(specialValues: [Float]?) throws(CompressionError) -> Code4Format {
    guard let code4 else { preconditionFailure("\(self) is no 4-bit format") }
    guard let specialValues else { return code4 }
    do { return try code4.with(specialValues: specialValues) } catch { throw .invalidSpecialValues(specialValues) }
  }
}

extension Code4Format {
  /// The largest value that every group has, whatever its special value.
  var largestValue: Float { values.reduce(0) { max($0, abs($1)) } }
}

extension Code4Format.Scale {
  var searchType: cc_scale_type {
    switch self {
    case .f16: .CC_SCALE_F16
    case .f16Selector: .CC_SCALE_F16_SELECTOR
    case .e3m3Selector: .CC_SCALE_E3M3
    case .e4m3: .CC_SCALE_E4M3
    case .powerOfTwo: .CC_SCALE_POWER
    }
  }
}
