import Tessera
import TesseraModels
import Testing

/// The tokenizer of the real SmolLM2 (Scripts/fetch-model.sh) against ids that the library `tokenizers` gives for the same
/// vocabulary.
@Suite(.enabled(if: ReferenceModel.isPresent, "models/\(ReferenceModel.name) is absent; Scripts/fetch-model.sh fetches it"))
struct TokenizerReferenceModelTests {
  let tokenizer: Tokenizer

  init() throws { tokenizer = try Self.loaded.get() }

  /// Once for all tests: a debug build takes a second.
  private static let loaded = Result { try Tokenizer(path: ReferenceModel.path) }

  @Test(arguments: [
    ("Hello, world!", [19556, 28, 905, 17]),
    ("The capital of France is", [504, 3575, 282, 4649, 314]),
    (" leading space", [2899, 1898]),
    ("tabs\tand\n\nnewlines  x", [100, 7366, 197, 397, 198, 198, 2241, 5110, 216, 1792]),
    (
      "I'll don't WE'RE 12345 3.14",
      [57, 3060, 1326, 982, 26587, 23, 3256, 216, 33, 34, 35, 36, 37, 216, 35, 30, 33, 36]
    ),
    (
      "naïve café — “quotes” 日本語 😀",
      [3546, 46494, 37366, 1841, 619, 385, 2346, 573, 17097, 241, 115, 40993, 179, 120, 248, 40303, 218]
    ),
    ("x  = 5;\n    return x", [104, 216, 446, 216, 37, 43, 472, 1003, 1792]),
    ("  ", [256]), ("²½Ⅷ", [19133, 16738, 173, 223, 117]), ("\r\n\0\u{7F}", [201, 198, 190, 217]),
    ("don’t", [12420, 417, 100]), ("e\u{301}", [85, 151, 219]), ("a\u{3000} b", [81, 12109, 218, 278]), ("", []),
  ])
  func encodesAsTheReference(text: String, ids: [Int]) throws {
    #expect(tokenizer.encode(text) == ids)
    #expect(try tokenizer.decode(ids) == text)
  }

  @Test func findsSpecialTokensOnlyWhenAllowed() throws {
    let text = "<|im_start|>user\nHi<|im_end|>"
    #expect(tokenizer.encode(text, allowingSpecial: true) == [1, 4093, 198, 26843, 2])
    #expect(tokenizer.encode("\(text)\n", allowingSpecial: true) == [1, 4093, 198, 26843, 2, 198])
    #expect(!tokenizer.encode(text).contains { tokenizer.isControl($0) })
    #expect(try tokenizer.decode(tokenizer.encode(text)) == text)
    #expect(try tokenizer.decode([1, 4093, 2], skippingControl: true) == "user")
  }

  @Test func saysWhatTheFileSays() {
    #expect(tokenizer.count == 49152 && tokenizer.beginOfText == 1 && !tokenizer.addsBeginOfText)
    #expect(tokenizer.stopIDs == [0, 2])
    #expect(tokenizer.id(ofSpecial: "<file_sep>") == 5 && tokenizer.id(ofSpecial: "<file") == nil)
    #expect(tokenizer.unencodableBytes == [0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, 0xC0, 0xC1, 0xF1, 0xF2] + Array(0xF5...0xFF))
  }

  /// As the library does it: what is on both sides of the byte comes together.
  @Test func leavesOutBytesWithoutToken() {
    #expect(tokenizer.encode("=\u{4}=") == tokenizer.encode("=="))
    #expect(tokenizer.encode("\u{4}") == [])
  }
}

extension TokenizerReferenceModelTests {
  @Test func rendersItsChatTemplate() throws {
    let chat = try tokenizer.chatTemplate()
    #expect(chat.defaultSystemMessage == "You are a helpful AI assistant named SmolLM, trained by Hugging Face")
    let messages = [ChatMessage.user("What is the capital of France?")]
    let ids = [
      1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182, 2, 198, 1, 4093,
      198,
      1780, 314, 260, 3575, 282, 4649, 47, 2, 198, 1, 520, 9531, 198,
    ]
    #expect(chat.encode(messages) == ids)
    #expect(tokenizer.encode(chat.render(messages), allowingSpecial: true) == ids)
  }
}
