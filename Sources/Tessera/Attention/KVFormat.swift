/// How a cache stores rows of keys or of values. The raw value is the name used in tables, reports and files.
public enum KVFormat: String, Sendable, CaseIterable, Codable, CustomStringConvertible {
  /// 2 bytes per element.
  case bf16
  /// A byte per element and a float for each token and head.
  case int8

  /// The raw value.
  public var description: String { rawValue }
}
