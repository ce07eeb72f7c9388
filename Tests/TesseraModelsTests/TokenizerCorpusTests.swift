import Tessera
import Testing

@testable import TesseraModels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Any text against the library `tokenizers`: `Tests/Fixtures/make_tokenizer_golden.py --corpus DIR FILE...` writes records and
/// their ids, which this compares when TESSERA_TOKENIZER_CORPUS names the folder.
@Suite(.enabled(if: corpusFolder != nil, "TESSERA_TOKENIZER_CORPUS names no corpus"))
struct TokenizerCorpusTests {
  @Test(arguments: ReferenceTokenizer.allCases)
  func idsAreThoseOfTheLibrary(reference: ReferenceTokenizer) throws {
    let folder = try #require(corpusFolder)
    guard let tokenizer = try reference.tokenizer() else { return }
    let records = try readFile("\(folder)/records").split(separator: 0, omittingEmptySubsequences: false).dropLast()
    let rows = try readFile("\(folder)/\(reference.rawValue).ids").split(separator: 0x0A, omittingEmptySubsequences: false)
    #expect(rows.count == records.count + 1)
    var differences = 0
    for (record, row) in zip(records, rows) {
      let expected = row.split(separator: 0x20).compactMap { Int(String(decoding: $0, as: UTF8.self)) }
      let ids = tokenizer.encode(utf8: record.span, allowingSpecial: reference.allowsSpecial)
      if ids != expected {
        differences += 1
        if differences <= 5 { Issue.record("\(String(decoding: record.prefix(200), as: UTF8.self)): \(ids), \(expected)") }
      }
    }
    #expect(differences == 0)
    print("\(reference.rawValue): \(records.count) records, \(differences) differences")
  }
}

private let corpusFolder = getenv("TESSERA_TOKENIZER_CORPUS").map { String(cString: $0) }
