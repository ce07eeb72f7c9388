import Tessera
import TesseraModels
import Testing

/// The tokenizer of docs-28m, which comes as a folder in Hugging Face's form.
@Suite(.enabled(if: DocumentationModel.isPresent, "\(DocumentationModel.absence)"))
struct TokenizerDocumentationModelTests {
  let tokenizer: Tokenizer

  init() throws { tokenizer = try Self.loaded.get() }

  private static let loaded = Result { try Tokenizer(path: DocumentationModel.path) }

  @Test func encodesItsEvaluationText() throws {
    let text = try readFile("\(DocumentationModel.path)/eval.txt")
    let ids = tokenizer.encode(utf8: text.span)
    #expect(ids.count == 92043)
    #expect(ids.prefix(8) == [434, 1536, 13, 1523, 13, 1532, 26, 2459])
    #expect(try tokenizer.bytes(of: ids) == text)
  }

  @Test func saysWhatTheFilesSay() {
    #expect(tokenizer.count == 8192 && tokenizer.beginOfText == 0 && !tokenizer.addsBeginOfText)
    #expect(tokenizer.stopIDs == [0] && tokenizer.id(ofSpecial: "<|endoftext|>") == 0)
    #expect(tokenizer.unencodableBytes == [] && tokenizer.chatTemplateText == nil)
  }
}
