/// The value of a key in a model's configuration, wherever it comes from.
enum ConfigurationValue {
  case integer(Int)
  case number(Double)
  case bool(Bool)
  case string(String)
  /// A list, an object, or a number that fits nothing above; with a word for people.
  case other(String)
}

extension ConfigurationValue: CustomStringConvertible {
  var description: String {
    switch self {
    case .integer(let value): "\(value)"
    case .number(let value): "\(value)"
    case .bool(let value): "\(value)"
    case .string(let value): "'\(String(value.unicodeScalars.prefix(64)))'"
    case .other(let word): word
    }
  }
}

/// The keys of a configuration, read with errors that name the key and what it says.
struct ConfigurationKeys {
  let file: String
  /// The value of a key; nil where it is absent or null.
  let value: (String) -> ConfigurationValue?

  /// Sizes beyond this belong to no model and would only overflow products.
  static let largestSize = 1 << 24

  func has(_ key: String) -> Bool { value(key) != nil }

  func required(_ key: String) throws(ModelError) -> ConfigurationValue {
    guard let value = value(key) else { throw ModelError.missingKey(file: file, key: key) }
    return value
  }

  /// A size from 1 on.
  func size(_ key: String) throws(ModelError) -> Int { try size(key, required(key)) }

  /// A size from 1 on, or nil where the key is absent.
  func optionalSize(_ key: String) throws(ModelError) -> Int? {
    guard let value = value(key) else { return nil }
    return try size(key, value)
  }

  private func size(_ key: String, _ value: ConfigurationValue) throws(ModelError) -> Int {
    guard case .integer(let size) = value, (1...ConfigurationKeys.largestSize).contains(size) else {
      throw invalid(key, value, expected: "an integer in 1...\(ConfigurationKeys.largestSize)")
    }
    return size
  }

  /// A positive number.
  func positive(_ key: String) throws(ModelError) -> Double { try positive(key, required(key)) }

  /// A positive number, or nil where the key is absent.
  func optionalPositive(_ key: String) throws(ModelError) -> Double? {
    guard let value = value(key) else { return nil }
    return try positive(key, value)
  }

  private func positive(_ key: String, _ value: ConfigurationValue) throws(ModelError) -> Double {
    let number: Double? =
      switch value {
      case .integer(let integer): Double(integer)
      case .number(let number): number
      default: nil
      }
    guard let number, number > 0, number.isFinite else { throw invalid(key, value, expected: "a positive number") }
    return number
  }

  func optionalBool(_ key: String) throws(ModelError) -> Bool? {
    guard let value = value(key) else { return nil }
    guard case .bool(let bool) = value else { throw invalid(key, value, expected: "true or false") }
    return bool
  }

  func string(_ key: String) throws(ModelError) -> String {
    let value = try required(key)
    guard case .string(let string) = value else { throw invalid(key, value, expected: "a string") }
    return string
  }

  func optionalString(_ key: String) throws(ModelError) -> String? { has(key) ? try string(key) : nil }

  func invalid(_ key: String, _ value: ConfigurationValue, expected: String) -> ModelError {
    .invalidValue(file: file, key: key, value: "\(value)", expected: expected)
  }

  func unsupported(_ key: String, _ value: String, supported: String) -> ModelError {
    .unsupported(file: file, key: key, value: value, supported: supported)
  }

  func contradiction(_ key: String, _ value: some CustomStringConvertible, _ detail: String) -> ModelError {
    .contradiction(file: file, key: key, value: "\(value)", detail: detail)
  }
}
