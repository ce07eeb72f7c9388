internal import Tessera

extension PreTokenizer {
  /// The pre-tokenizer that a `tokenizer.json` describes: `ByteLevel` alone, or after `Digits` or one `Split`.
  init(_ json: JSONValue, file: String) throws(TokenizerError) {
    let steps = json["type"]?.string == "Sequence" ? json["pretokenizers"]?.array ?? [] : [json]
    let types = steps.map { $0["type"]?.string ?? "none" }
    let bytes = steps.last ?? .null
    let splitsBytes = bytes["use_regex"]?.bool ?? true
    let pattern = steps.first?["pattern"]?["Regex"]?.string
    switch (types, splitsBytes) {
    case _ where bytes["add_prefix_space"]?.bool == true: break
    case (["ByteLevel"], true):
      self = .gpt2
      return
    case (["Digits", "ByteLevel"], true) where steps[0]["individual_digits"]?.bool == true:
      self = .smollm
      return
    case (["Split", "ByteLevel"], false) where PreTokenizer.keepsMatchesApart(steps[0]):
      guard let known = PreTokenizer.patterns.first(where: { $0.pattern == pattern }) else { break }
      self = known.preTokenizer
      return
    default: break
    }
    let prefix = bytes["add_prefix_space"]?.bool == true ? " with a prefix space" : ""
    throw TokenizerError.unsupported(
      file: file, what: "the pre-tokenizer", found: types.joined(separator: " + ") + prefix + (pattern.map { " on \($0)" } ?? ""),
      supported: "ByteLevel, Digits + ByteLevel, Split + ByteLevel with the patterns of Llama 3 and Qwen2")
  }

  private static func keepsMatchesApart(_ split: JSONValue) -> Bool {
    split["behavior"]?.string == "Isolated" && split["invert"]?.bool != true
  }

  private static let patterns: [(pattern: String, preTokenizer: PreTokenizer)] = [
    (splitPattern(numbers: #"\p{N}{1,3}"#), .llama3), (splitPattern(numbers: #"\p{N}"#), .qwen2),
  ]

  private static func splitPattern(numbers: String) -> String {
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"# + numbers
      + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }

  /// What `init` reads as this pre-tokenizer.
  var json: JSONValue {
    let bytes = PreTokenizer.step("ByteLevel", [("add_prefix_space", .bool(false)), ("use_regex", .bool(true))])
    switch self {
    case .gpt2: return bytes
    case .smollm: return PreTokenizer.sequence(PreTokenizer.step("Digits", [("individual_digits", .bool(true))]), bytes)
    case .llama3, .qwen2:
      let pattern = PreTokenizer.patterns.first { $0.preTokenizer == self }?.pattern ?? ""
      let split = PreTokenizer.step(
        "Split",
        [
          ("pattern", .object([("Regex", .string(pattern))])), ("behavior", .string("Isolated")), ("invert", .bool(false)),
        ])
      return PreTokenizer.sequence(
        split, PreTokenizer.step("ByteLevel", [("add_prefix_space", .bool(false)), ("use_regex", .bool(false))]))
    }
  }

  private static func step(_ type: String, _ members: [(name: String, value: JSONValue)]) -> JSONValue {
    .object([("type", .string(type))] + members)
  }

  private static func sequence(_ steps: JSONValue...) -> JSONValue {
    step("Sequence", [("pretokenizers", .array(steps))])
  }
}
