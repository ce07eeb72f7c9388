extension JSONValue {
  package static func integer(_ value: Int) -> JSONValue { .number("\(value)") }

  /// JSON has no word for NaN and infinity: null.
  package static func double(_ value: Double) -> JSONValue { value.isFinite ? .number("\(value)") : .null }

  /// The value as JSON: in one line, or with a line for each member and element.
  package func text(indented: Bool = false) -> String {
    var text: [UInt8] = []
    write(to: &text, indentation: indented ? 0 : nil)
    return String(decoding: text, as: UTF8.self)
  }

  private func write(to text: inout [UInt8], indentation: Int?) {
    switch self {
    case .null: text += Array("null".utf8)
    case .bool(let value): text += Array("\(value)".utf8)
    case .number(let number): text += Array(number.utf8)
    case .string(let string): appendJSON(string, to: &text)
    case .array(let elements) where elements.allSatisfy(\.isNumber):
      JSONValue.write(elements, in: "[]", to: &text, indentation: nil) { $0.write(to: &$1, indentation: nil) }
    case .array(let elements):
      JSONValue.write(elements, in: "[]", to: &text, indentation: indentation) { element, text in
        element.write(to: &text, indentation: indentation.map { $0 + 2 })
      }
    case .object(let members):
      JSONValue.write(members, in: "{}", to: &text, indentation: indentation) { member, text in
        appendJSON(member.name, to: &text)
        text += Array(indentation == nil ? ":".utf8 : ": ".utf8)
        member.value.write(to: &text, indentation: indentation.map { $0 + 2 })
      }
    }
  }

  private static func write<Item>(
    _ items: [Item], in brackets: String, to text: inout [UInt8], indentation: Int?, _ write: (Item, inout [UInt8]) -> Void
  ) {
    let brackets = Array(brackets.utf8)
    func breakLine(_ depth: Int) {
      guard let indentation, !items.isEmpty else { return }
      text += Array("\n".utf8) + [UInt8](repeating: UInt8(ascii: " "), count: indentation + depth)
    }
    text.append(brackets[0])
    for (index, item) in items.enumerated() {
      if index > 0 { text.append(UInt8(ascii: ",")) }
      breakLine(2)
      write(item, &text)
    }
    breakLine(0)
    text.append(brackets[1])
  }

  private var isNumber: Bool { if case .number = self { true } else { false } }
}
