/// The words `name=value` of a line that repeats a case.
struct CaseFields {
  private var values: [Substring: Substring] = [:]

  /// nil for a word of another form, and for a name that comes twice.
  init?(_ line: String) {
    for word in line.split(separator: " ") {
      let parts = word.split(separator: "=", maxSplits: 1)
      guard parts.count == 2, values.updateValue(parts[1], forKey: parts[0]) == nil else { return nil }
    }
  }

  var count: Int { values.count }

  subscript<Value: LosslessStringConvertible>(name: Substring) -> Value? { values[name].flatMap { Value(String($0)) } }

  subscript<Value: RawRepresentable<String>>(choice name: Substring) -> Value? {
    values[name].flatMap { Value(rawValue: String($0)) }
  }

  subscript(size name: Substring, least: Int) -> Int? {
    values[name].flatMap { Int($0) }.flatMap { (least...1 << 20).contains($0) ? $0 : nil }
  }
}
