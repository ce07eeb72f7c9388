public import Tessera

/// Metadata that a model cannot do without.
extension GGUFFile {
  /// The integer under `key`, whatever its width.
  /// - Throws: `wrongMetadata` when the key is absent, is no integer, or does not fit an Int.
  public func integer(_ key: String) throws(WeightFileError) -> Int { try required(key, "an integer", \.integer) }

  /// The floating-point number under `key`.
  /// - Throws: `wrongMetadata` when the key is absent or is no float.
  public func number(_ key: String) throws(WeightFileError) -> Double { try required(key, "a float", \.number) }

  /// The text under `key`.
  /// - Throws: `wrongMetadata` when the key is absent or is no string.
  public func string(_ key: String) throws(WeightFileError) -> String { try required(key, "a string", \.string) }

  /// The texts under `key`: a vocabulary.
  /// - Throws: `wrongMetadata` when the key is absent or is no array of strings.
  public func strings(_ key: String) throws(WeightFileError) -> [String] {
    try required(key, "an array of UTF-8 strings", \.array?.strings)
  }

  /// The integers under `key`.
  /// - Throws: `wrongMetadata` when the key is absent or is no array of integers.
  public func integers(_ key: String) throws(WeightFileError) -> [Int] {
    try required(key, "an array of integers", \.array?.integers)
  }

  private func required<Value>(
    _ key: String, _ kind: String, _ property: (GGUFValue) -> Value?
  ) throws(WeightFileError) -> Value {
    guard let found = metadata[key] else { throw WeightFileError.wrongMetadata(file: path, key: key, detail: "is absent") }
    guard let value = property(found) else {
      throw WeightFileError.wrongMetadata(file: path, key: key, detail: "is not \(kind)")
    }
    return value
  }
}
