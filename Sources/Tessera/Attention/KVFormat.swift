/// How a cache stores rows of keys or of values. The raw value is the name used in tables, reports and files.
public enum KVFormat: String, Sendable, CaseIterable, Codable, CustomStringConvertible {
  /// 2 bytes per element.
  case bf16
  /// A byte per element and a float for each token and head.
  case int8
  /// Codes of 8 bits with a scale and a zero point for each token and head or group: for low-rank latents, or values of any kind
  /// (Docs/LowRank.md, 5).
  case affine8
  /// The same in 4 bits.
  case affine4
  /// In 3 bits.
  case affine3
  /// In 2 bits.
  case affine2

  /// Those in which whole keys can be stored; the others hold latents, or values.
  public static let ofWholeKeys: [KVFormat] = [.bf16, .int8]

  /// The raw value.
  public var description: String { rawValue }
}
