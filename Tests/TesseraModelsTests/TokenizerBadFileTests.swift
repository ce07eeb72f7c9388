import Tessera
import Testing

@testable import TesseraModels

/// Tokenizers that contradict themselves: one error each, with the culprit and the numbers.
struct TokenizerBadFileTests {
  private func error(_ change: (inout ToyTokenizer) -> Void) -> TokenizerError? {
    var toy = ToyTokenizer()
    toy.add("a", "b")
    change(&toy)
    let spoiled = toy
    return #expect(throws: TokenizerError.self) { try spoiled.tokenizer() }
  }

  // MARK: The vocabulary and the merges

  @Test func aLetterWithoutToken() {
    #expect(error { $0.tokens[0x41] = "AA" } == .missingByte(file: "toy", byte: 0x41))
    #expect(error { $0.tokens[0x0A] = "ĊĊ" } == .missingByte(file: "toy", byte: 0x0A))
  }

  @Test func aTokenTwice() {
    #expect(error { $0.tokens.append("ab") } == .duplicateToken(file: "toy", token: "ab", first: 256, second: 257))
    #expect(
      error { $0.controls = [("<e>", 257), ("<e>", 258)] } == .duplicateToken(file: "toy", token: "<e>", first: 257, second: 258))
  }

  @Test func anIDTwice() {
    #expect(error { $0.controls = [("<e>", 256)] } == .duplicateID(file: "toy", id: 256, first: "ab", second: "<e>"))
  }

  @Test(arguments: [-1, 1 << 20, .max])
  func anIDOutOfRange(id: Int) {
    #expect(
      error { $0.controls = [("<e>", id)] } == .idOutOfRange(file: "toy", what: "token '<e>'", id: id, limit: 1 << 20))
  }

  @Test(arguments: ["", "a", "a b c", " a", "a ", " "])
  func aMergeOfOtherThanTwo(merge: String) {
    #expect(error { $0.merges.append(merge) } == .malformedMerge(file: "toy", index: 1, merge: merge))
  }

  @Test(arguments: [("xy a", "xy"), ("a xy", "xy"), ("b a", "ba"), ("日 a", "日")])
  func aMergeOfUnknownTokens(merge: String, token: String) {
    #expect(error { $0.merges.append(merge) } == .unknownToken(file: "toy", index: 1, merge: merge, token: token))
  }

  @Test func aMergeTwice() {
    #expect(
      error {
        $0.merges += ["b b", "a b"]; $0.tokens.append("bb")
      } == .duplicateMerge(file: "toy", first: 0, second: 2, merge: "a b"))
  }

  // MARK: GGUF

  private func gguf(_ change: (inout [String: [UInt8]]) -> Void) throws -> Tokenizer {
    var toy = ToyTokenizer(controls: [("<e>", 257)])
    toy.add("a", "b")
    var entries = toy.ggufEntries
    change(&entries)
    var draft = GGUFDraft.single
    draft.metadata = entries.sorted { $0.key < $1.key }.map(\.value)
    return try Tokenizer(gguf: GGUFFile(region: region(draft.bytes), path: "f"))
  }

  @Test func aGGUFFileAsItShouldBe() throws {
    let tokenizer = try gguf { $0["eos"] = entry("tokenizer.ggml.eos_token_id", .uint32, little(257 as UInt32)) }
    #expect(tokenizer.encode("ab<e>", allowingSpecial: true) == [256, 257])
    #expect(tokenizer.stopIDs == [257] && tokenizer.beginOfText == nil)
  }

  @Test(arguments: ["model", "pre", "tokens", "merges"])
  func aGGUFFileWithoutAKey(key: String) {
    let error = #expect(throws: TokenizerError.self) { try gguf { $0[key] = nil } }
    guard case .file(.wrongMetadata(_, "tokenizer.ggml.\(key)", _)) = error else { return #expect(error == nil) }
  }

  @Test(arguments: [("model", "llama", "gpt2 (byte-level BPE)"), ("pre", "falcon", "gpt-2, smollm, llama-bpe, qwen2")])
  func aGGUFFileOfAnotherKind(key: String, value: String, supported: String) {
    let what = key == "pre" ? "the pre-tokenizer" : "the tokenizer model"
    #expect(throws: TokenizerError.unsupported(file: "f", what: what, found: value, supported: supported)) {
      try gguf { $0[key] = entry("tokenizer.ggml.\(key)", .string, string(value)) }
    }
  }

  @Test func aGGUFFileWithListsOfUnequalLength() {
    let types = little(GGUFType.int32) + little(3 as UInt64) + (0..<3).flatMap { _ in little(1 as Int32) }
    #expect(throws: TokenizerError.countMismatch(file: "f", what: "the token types", expected: 258, got: 3)) {
      try gguf { $0["token_type"] = entry("tokenizer.ggml.token_type", .array, types) }
    }
  }

  @Test func aGGUFFileWithAnUnknownTokenType() {
    let types = little(GGUFType.int32) + little(258 as UInt64) + (0..<258).flatMap { little($0 == 7 ? 9 : 1 as Int32) }
    #expect(throws: TokenizerError.unsupported(file: "f", what: "the type of token 7", found: "9", supported: "1 to 6")) {
      try gguf { $0["token_type"] = entry("tokenizer.ggml.token_type", .array, types) }
    }
  }

  @Test func aGGUFFileWithAStopThatIsNoToken() {
    #expect(throws: TokenizerError.idOutOfRange(file: "f", what: "the token that begins or ends a text", id: 258, limit: 258)) {
      try gguf { $0["eos"] = entry("tokenizer.ggml.eos_token_id", .uint32, little(258 as UInt32)) }
    }
  }

  @Test(arguments: ["tokens", "merges"])
  func aGGUFFileWithHugeLists(key: String) {
    let count = 1 << 20 + 1
    let list = little(GGUFType.string) + little(UInt64(count)) + [UInt8](repeating: 0, count: 8 * count)
    #expect(
      throws: TokenizerError.tooLarge(file: "f", what: "the length of tokenizer.ggml.\(key)", value: count, limit: 1 << 20)
    ) { try gguf { $0[key] = entry("tokenizer.ggml.\(key)", .array, list) } }
  }

  // MARK: tokenizer.json

  private let toy = ToyTokenizer(merges: ["t h", "th e"], controls: [("<e>", 258)])

  private func open(_ json: String) throws -> Tokenizer {
    let folder = TemporaryFolder()
    return try Tokenizer(path: folder.write(json, to: "tokenizer.json"))
  }

  private func unsupported(_ json: String) -> String? {
    let error = #expect(throws: TokenizerError.self) { try open(json) }
    guard case .unsupported(_, let what, let found, _) = error else { return nil }
    return "\(what): \(found)"
  }

  @Test(arguments: [true, false])
  func aJSONFileAsItShouldBe(pairs: Bool) throws {
    var toy = ToyTokenizer(controls: [("<e>", 258)])
    toy.add("t", "h")
    toy.add("th", "e")
    let tokenizer = try open(toy.json(pairs: pairs))
    #expect(tokenizer.encode("the<e>", allowingSpecial: true) == [257, 258])
    #expect(tokenizer.count == 259 && tokenizer.stopIDs == [] && tokenizer.isControl(258))
  }

  @Test func aJSONFileOfAnotherKind() {
    let toy = ToyTokenizer()
    #expect(unsupported(toy.json(top: #""normalizer":{"type":"Lowercase"},"#)) == "the normalizer: Lowercase")
    #expect(unsupported(toy.json(model: #""byte_fallback":true,"#)) == "byte_fallback: true")
    #expect(unsupported(toy.json(model: #""dropout":0.5,"#)) == "dropout: 0.5")
    #expect(unsupported(toy.json(model: #""end_of_word_suffix":"</w>","#)) == "end_of_word_suffix: </w>")
    #expect(unsupported(toy.json(top: #""post_processor":{"type":"Bert"},"#)) == "the post-processor: Bert")
    #expect(unsupported(#"{"model":{"type":"Unigram","vocab":{}}}"#) == "the tokenizer model: Unigram")
    #expect(unsupported("{}") == "the tokenizer model: none")
    #expect(
      unsupported(#"{"added_tokens":[{"id":0,"content":"<m>","lstrip":true}],"pre_tokenizer":{"type":"ByteLevel"},"model":{}}"#)
        == "the flag of token '<m>': lstrip")
  }

  @Test(arguments: [
    ("null", "none"), (#"{"type":"Whitespace"}"#, "Whitespace"),
    (#"{"type":"ByteLevel","add_prefix_space":true}"#, "ByteLevel with a prefix space"),
    (#"{"type":"Sequence","pretokenizers":[{"type":"Digits"},{"type":"ByteLevel"}]}"#, "Digits + ByteLevel"),
    (
      #"{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"x"},"behavior":"Isolated"},"#
        + #"{"type":"ByteLevel","use_regex":false}]}"#,
      "Split + ByteLevel on x"
    ),
  ])
  func aJSONFileWithAnotherPreTokenizer(json: String, found: String) {
    #expect(unsupported(ToyTokenizer().json(json)) == "the pre-tokenizer: \(found)")
  }

  @Test func aJSONFileWithATokenTwice() {
    let error = #expect(throws: TokenizerError.self) {
      try open(#"{"pre_tokenizer":{"type":"ByteLevel"},"model":{"vocab":{"a":0,"a":1},"merges":[]}}"#)
    }
    guard case .file(.duplicateName(_, "a")) = error else { return #expect(error == nil) }
  }

  @Test func aJSONFileWithAHugeID() {
    let error = #expect(throws: TokenizerError.self) {
      try open(#"{"pre_tokenizer":{"type":"ByteLevel"},"model":{"vocab":{"a":18446744073709551615},"merges":[]}}"#)
    }
    guard case .idOutOfRange(_, "token 'a'", .max, 1_048_576) = error else { return #expect(error == nil) }
  }

  /// Cut short or with one byte changed: an error or a tokenizer, nothing else.
  @Test(arguments: [17, 18] as [UInt64])
  func spoiledJSONFilesGiveErrors(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    var toy = ToyTokenizer(controls: [("<e>", 257)])
    toy.add("t", "h")
    let whole = Array(toy.json().utf8)
    for _ in 0..<200 {
      var bytes = whole
      if Bool.random(using: &random) {
        bytes.removeLast(Int.random(in: 1...bytes.count, using: &random))
      } else {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      let json = try? bytes.withUnsafeBytes { try TokenizerJSON(parsing: $0, file: "f") }
      guard let json, let tokenizer = try? Tokenizer(TokenizerDraft(json, file: "f")) else { continue }
      #expect(try tokenizer.decode(tokenizer.encode("the text")) == "the text", "seed \(seed)")
    }
  }

  @Test func aFileThatIsNotThere() {
    #expect(throws: TokenizerError.self) { try Tokenizer(path: "/nowhere/tokenizer.json") }
    let folder = TemporaryFolder()
    #expect(throws: TokenizerError.self) { try Tokenizer(path: folder.path) }
  }
}
