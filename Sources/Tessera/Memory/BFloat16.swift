/// The bits of one bfloat16 number: the upper half of a Float's.
///
/// A storage type: arithmetic happens in Float, or in the kernels.
public struct BFloat16: Sendable, Hashable, BitwiseCopyable {
  /// Sign, 8 bits of exponent, 7 of fraction.
  public var bits: UInt16

  /// The number with this bit pattern.
  @inlinable
  public init(bits: UInt16) { self.bits = bits }

  /// Rounds to nearest, ties to even. NaN stays NaN (made quiet); a value beyond the largest finite bfloat16 becomes infinity.
  @inlinable
  public init(_ value: Float) {
    let pattern = value.bitPattern
    if value.isNaN {
      bits = UInt16(truncatingIfNeeded: pattern >> 16) | 0x0040
    } else {
      bits = UInt16(truncatingIfNeeded: (pattern + 0x7FFF + ((pattern >> 16) & 1)) >> 16)
    }
  }

  /// +0.
  @inlinable public static var zero: BFloat16 { BFloat16(bits: 0) }

  /// Neither NaN nor infinite.
  @inlinable public var isFinite: Bool { bits & 0x7F80 != 0x7F80 }
}

extension Float {
  /// Exact: every bfloat16 is a Float.
  @inlinable
  public init(_ value: BFloat16) { self.init(bitPattern: UInt32(value.bits) << 16) }
}
