internal import Tessera

/// The members of one object of a recipe, every one of them known.
struct RecipeMembers {
  let file: String
  /// The way to the object, with a point at its end; empty for the file.
  private let prefix: String
  private let values: [String: JSONValue]

  init(_ json: JSONValue, key: String, file: String, known: [String]) throws(RecipeError) {
    guard case .object(let members) = json else {
      throw .invalidValue(file: file, key: key, value: json.text(), expected: "an object")
    }
    prefix = key.isEmpty ? "" : "\(key)."
    self.file = file
    if let stranger = members.first(where: { !known.contains($0.name) }) {
      throw .unknownKey(file: file, key: prefix + stranger.name, known: known)
    }
    values = Dictionary(uniqueKeysWithValues: members.map { ($0.name, $0.value) })
  }

  func key(_ name: String) -> String { prefix + name }

  subscript(name: String) -> JSONValue? { values[name].flatMap { $0.isNull ? nil : $0 } }

  func required(_ name: String) throws(RecipeError) -> JSONValue {
    guard let value = self[name] else { throw .missingKey(file: file, key: key(name)) }
    return value
  }

  func invalid(_ name: String, _ value: JSONValue, expected: String) -> RecipeError {
    .invalidValue(file: file, key: key(name), value: value.text(), expected: expected)
  }

  func contradiction(_ name: String, _ detail: String) -> RecipeError {
    .contradiction(file: file, key: key(name), detail: detail)
  }

  func string(_ name: String) throws(RecipeError) -> String {
    let value = try required(name)
    guard let string = value.string else { throw invalid(name, value, expected: "a string") }
    return string
  }

  func integer(_ name: String, in range: ClosedRange<Int>, default standard: Int) throws(RecipeError) -> Int {
    guard let value = self[name] else { return standard }
    guard let integer = value.integer, range.contains(integer) else {
      throw invalid(name, value, expected: "an integer in \(range)")
    }
    return integer
  }

  func number(_ name: String, in range: ClosedRange<Double>, default standard: Double?) throws(RecipeError) -> Double {
    guard let value = self[name] else {
      guard let standard else { throw .missingKey(file: file, key: key(name)) }
      return standard
    }
    guard let number = value.double, range.contains(number) else {
      throw invalid(name, value, expected: "a number in \(range)")
    }
    return number
  }

  func bool(_ name: String) throws(RecipeError) -> Bool {
    guard let value = self[name] else { return false }
    guard let bool = value.bool else { throw invalid(name, value, expected: "true or false") }
    return bool
  }

  /// One of some words.
  func word<Word: RawRepresentable & CaseIterable>(
    _ name: String, default standard: Word?
  ) throws(RecipeError) -> Word where Word.RawValue == String {
    guard let value = self[name] else {
      guard let standard else { throw .missingKey(file: file, key: key(name)) }
      return standard
    }
    guard let word = value.string.flatMap(Word.init(rawValue:)) else {
      throw invalid(name, value, expected: "one of \(Word.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return word
  }

  func numbers(_ name: String) throws(RecipeError) -> [Float]? {
    guard let value = self[name] else { return nil }
    let numbers = (value.array ?? []).compactMap(\.double)
    guard !numbers.isEmpty, numbers.count == value.array?.count else {
      throw invalid(name, value, expected: "an array of numbers")
    }
    return numbers.map { Float($0) }
  }
}
