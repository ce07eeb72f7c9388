import Tessera

@testable import TesseraModels

/// A tokenizer in the making: the 256 bytes, and what a test adds or spoils.
struct ToyTokenizer {
  var preTokenizer = PreTokenizer.gpt2
  /// In the byte alphabet, by id.
  var tokens = (UInt8.min...UInt8.max).map(byteLetter)
  var merges: [String] = []
  /// Text and id.
  var controls: [(text: String, id: Int)] = []

  /// Adds the merge of two tokens and the token that it makes, unless that is there.
  mutating func add(_ left: String, _ right: String) {
    merges.append("\(left) \(right)")
    if !tokens.contains(left + right) { tokens.append(left + right) }
  }

  func draft() throws -> TokenizerDraft {
    var draft = TokenizerDraft(file: "toy", preTokenizer: preTokenizer)
    for (id, token) in tokens.enumerated() { try draft.add(token.utf8, id: id, kind: .vocabulary) }
    for control in controls { try draft.add(control.text.utf8, id: control.id, kind: .control) }
    for merge in merges { draft.merges.append(merge.utf8) }
    return draft
  }

  func tokenizer() throws -> Tokenizer { try Tokenizer(draft()) }

  /// As a `tokenizer.json`; `pairs` writes merges as arrays of two, as newer files do.
  func json(
    _ preTokenizer: String = #"{"type":"ByteLevel","add_prefix_space":false}"#, pairs: Bool = true, model: String = "",
    top: String = ""
  )
    -> String
  {
    let vocabulary = tokens.enumerated().map { "\(quoted($0.element)):\($0.offset)" }.joined(separator: ",")
    let merges = merges.map { merge in
      pairs ? "[" + merge.split(separator: " ").map { quoted(String($0)) }.joined(separator: ",") + "]" : quoted(merge)
    }
    let added = controls.map { #"{"id":\#($0.id),"content":\#(quoted($0.text)),"special":true}"# }.joined(separator: ",")
    return """
      {"added_tokens":[\(added)],"pre_tokenizer":\(preTokenizer),\(top)
      "model":{"type":"BPE",\(model)"vocab":{\(vocabulary)},"merges":[\(merges.joined(separator: ","))]}}
      """
  }

  /// As the metadata of a GGUF file.
  var ggufEntries: [String: [UInt8]] {
    func strings(_ values: [String]) -> [UInt8] {
      little(GGUFType.string) + little(UInt64(values.count)) + values.flatMap { string($0) }
    }
    func entryOf(_ key: String, _ type: GGUFType, _ value: [UInt8]) -> (String, [UInt8]) {
      (key, entry("tokenizer.ggml.\(key)", type, value))
    }
    let all = tokens + controls.map(\.text)
    let types = tokens.map { _ in 1 as Int32 } + controls.map { _ in 3 }
    return Dictionary(uniqueKeysWithValues: [
      entryOf("model", .string, string("gpt2")), entryOf("pre", .string, string(preTokenizer.rawValue)),
      entryOf("tokens", .array, strings(all)), entryOf("merges", .array, strings(merges)),
      entryOf("token_type", .array, little(GGUFType.int32) + little(UInt64(types.count)) + types.flatMap { little($0) }),
    ])
  }

  private func quoted(_ text: String) -> String {
    "\"" + text.unicodeScalars.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : "\($0)" }.joined() + "\""
  }
}

/// The character that stands for a byte in files of byte-level tokenizers.
func byteLetter(_ byte: UInt8) -> String {
  func isPrintable(_ byte: UInt8) -> Bool { (33...126).contains(byte) || (161...172).contains(byte) || byte >= 174 }
  if isPrintable(byte) { return String(Unicode.Scalar(byte)) }
  let rank = (0..<byte).count { !isPrintable($0) }
  return Unicode.Scalar(0x100 + UInt32(rank)).map { String($0) } ?? ""
}
