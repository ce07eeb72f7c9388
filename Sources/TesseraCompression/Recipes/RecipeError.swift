public import Tessera

/// What can be wrong with a recipe. `key` is the way to the culprit: `weights[1].format`.
public enum RecipeError: Error, Sendable, Equatable {
  /// The file cannot be read, or is no JSON.
  case file(WeightFileError)
  /// A member that recipes do not have.
  case unknownKey(file: String, key: String, known: [String])
  case missingKey(file: String, key: String)
  case invalidValue(file: String, key: String, value: String, expected: String)
  /// Two members that cannot stand beside each other, or one that the model cannot have.
  case contradiction(file: String, key: String, detail: String)
}

extension RecipeError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .file(let error):
      "\(error)"
    case .unknownKey(let file, let key, let known):
      "\(file): '\(key)' is unknown; known here: \(known.joined(separator: ", "))"
    case .missingKey(let file, let key):
      "\(file): '\(key)' is missing"
    case .invalidValue(let file, let key, let value, let expected):
      "\(file): '\(key)' is \(value), expected \(expected)"
    case .contradiction(let file, let key, let detail):
      "\(file): '\(key)': \(detail)"
    }
  }
}
