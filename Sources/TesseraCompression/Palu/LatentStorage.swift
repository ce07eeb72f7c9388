/// How a cache holds latents.
public enum LatentStorage: Sendable, Hashable {
  case bf16
  case quantized(LatentQuantizer)

  /// The scale and the zero point of a token and group, 32 and 8 bits.
  public static let parameterBytes = 5

  /// Of one token and group.
  public func bytes(rank: Int) -> Int {
    switch self {
    case .bf16: 2 * rank
    case .quantized(let quantizer): (rank * quantizer.bits + 7) / 8 + LatentStorage.parameterBytes
    }
  }
}
