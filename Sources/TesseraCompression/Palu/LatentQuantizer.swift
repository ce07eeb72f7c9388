/// How latents are stored in few bits: the definition that kernels are held to.
///
/// The latent of one token and group shares a scale and a zero point. Its range is widened to contain 0, so that rows of one
/// sign do not saturate:
///
///     most  = 2^bits - 1
///     scale = max(max(h, 0) - min(h, 0), 1e-5) / most
///     zero  = clamp(round(-min(h, 0) / scale), 0, most)
///     code  = clamp(round(h / scale) + zero, 0, most)
///     h'    = (code - zero) scale
///
/// `round` is to nearest, ties to even; all arithmetic is fp32. |h - h'| is at most scale / 2, but for a few units in the last
/// place of fp32. A row without a finite range, NaN and infinities among its numbers or not, has the scale NaN: all of h' is NaN.
public struct LatentQuantizer: Sendable, Hashable {
  public let bits: Int
  /// The largest code.
  public var most: Int { 1 << bits - 1 }

  /// The smallest range that a scale is made for.
  public static let leastRange: Float = 1e-5

  /// - Parameter bits: 2, 3, 4 or 8.
  /// - Throws: `invalidOption`.
  public init(bits: Int) throws(CompressionError) {
    guard [2, 3, 4, 8].contains(bits) else { throw .invalidOption(name: "bits of a latent", value: Double(bits)) }
    self.bits = bits
  }

  /// One token's latent of one group.
  public struct Row: Sendable, Equatable {
    /// One in a byte.
    public var codes: [UInt8]
    public var scale: Float
    public var zero: UInt8

    public var dequantized: [Float] { codes.map { Float(Int($0) - Int(zero)) * scale } }
  }

  public func quantize(_ latent: Span<Float>) -> Row {
    var (low, high, isFinite) = (Float(0), Float(0), true)
    for index in latent.indices {
      low = min(low, latent[index])
      high = max(high, latent[index])
      isFinite = isFinite && latent[index].isFinite
    }
    guard isFinite, (high - low).isFinite else {
      return Row(codes: [UInt8](repeating: 0, count: latent.count), scale: .nan, zero: 0)
    }
    let scale = max(high - low, LatentQuantizer.leastRange) / Float(most)
    let zero = clamp((-low / scale).rounded(.toNearestOrEven))
    return Row(
      codes: latent.indices.map { UInt8(clamp((latent[$0] / scale).rounded(.toNearestOrEven) + zero)) }, scale: scale,
      zero: UInt8(zero))
  }

  private func clamp(_ value: Float) -> Float { min(max(value, 0), Float(most)) }
}
