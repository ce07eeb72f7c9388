/// How a cache stores rows of keys or of values. The raw value is the name used in tables, reports and files.
public enum KVFormat: String, Sendable, CaseIterable, Codable, CustomStringConvertible {
  /// 2 bytes per element.
  case bf16
  /// A byte per element and a float for each token and head.
  case int8
  /// 4.5 bits per element and a byte for each token and head: RaZeR (arXiv 2501.04052), 4-bit codes with a special value of 5 or
  /// -5 for each 16 elements.
  case razerG16 = "razer-g16"
  /// bf16 without the smaller half of each row: 2 bytes for each element that is kept, and a bit for each there is.
  case sparse50 = "sparse-50"
  /// bf16 without the smallest 70% of each row.
  case sparse70 = "sparse-70"
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
  public static let ofWholeKeys: [KVFormat] = [.bf16, .int8, .razerG16, .sparse50, .sparse70]

  /// The raw value.
  public var description: String { rawValue }
}
