import Tessera
import Testing

@testable import TesseraModels

/// 12,000 made-up lines against hashes of the ids that the library `tokenizers` gives for them; `make_tokenizer_golden.py` wrote
/// them and makes the same lines.
@Suite(.enabled(if: ReferenceModel.isPresent, "models/\(ReferenceModel.name) is absent; Scripts/fetch-model.sh fetches it"))
struct TokenizerGoldenTests {
  @Test(arguments: ReferenceTokenizer.allCases)
  func idsHaveTheHashesOfTheLibrary(reference: ReferenceTokenizer) throws {
    guard let tokenizer = try reference.tokenizer() else { return }
    let hashes = try Self.hashes(of: reference)
    #expect(hashes.count == Self.lines.count / Self.blockLength)
    for (block, hash) in hashes.enumerated() {
      let lines = Self.lines[block * Self.blockLength..<(block + 1) * Self.blockLength]
      let ids = lines.map { tokenizer.encode($0, allowingSpecial: reference.allowsSpecial) }
      #expect(fnv1a(ids) == hash, "\(reference.rawValue): lines from \(block * Self.blockLength) on")
    }
  }

  private static func hashes(of reference: ReferenceTokenizer) throws -> [UInt64] {
    let text = String(decoding: try readFile(fixture("tokenizer-golden.txt")), as: UTF8.self)
    return text.split(separator: "\n").compactMap { row in
      let fields = row.split(separator: " ")
      return fields[0] == reference.rawValue ? UInt64(fields[2], radix: 16) : nil
    }
  }

  private func fnv1a(_ lists: [[Int]]) -> UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for id in lists.joined(separator: [0xFFFF_FFFF]) + [0xFFFF_FFFF] {
      for shift in stride(from: 0, to: 32, by: 8) { hash = (hash ^ UInt64(id >> shift & 0xFF)) &* 0x100_0000_01B3 }
    }
    return hash
  }

  private static let blockLength = 100

  private static let lines: [String] = {
    var random = SeededGenerator(seed: 2026)
    func below(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
    return (0..<12_000).map { _ in
      var line = ""
      for _ in 0..<1 + below(12) {
        if below(3) == 0 {
          line += spice[below(spice.count)]
        } else {
          let range = ranges[below(ranges.count)]
          for _ in 0..<1 + below(8) {
            let code = range.lowerBound + UInt32(below(range.count))
            line.unicodeScalars.append(Unicode.Scalar(code) ?? "\u{FFFD}")
          }
        }
      }
      return line
    }
  }()

  private static let ranges: [ClosedRange<UInt32>] = [
    0x61...0x7A, 0x41...0x5A, 0x30...0x39, 0x21...0x7E, 0x00...0xFF, 0xC0...0x24F, 0x300...0x36F, 0x370...0x3FF,
    0x400...0x4FF, 0x531...0x556, 0x5D0...0x5EA, 0x621...0x669, 0x900...0x96F, 0xE01...0xE59, 0x10A0...0x10FF,
    0x1100...0x11FF, 0x1E00...0x1EFF, 0x2000...0x206F, 0x2150...0x218B, 0x2460...0x24FF, 0x3000...0x30FF,
    0x4E00...0x9FFF, 0xAC00...0xD7A3, 0xFF01...0xFF5E, 0x1F600...0x1F64F, 0x10000...0x1005D, 0x1D7CE...0x1D7FF,
  ]
  private static let spice = [
    " ", " ", " ", "  ", "    ", "\n", "\n\n", "\t", "\r\n", " \n ", "\u{A0}", "\u{3000}", "\u{85}", "\u{2028}", "\u{200B}",
    "\u{FEFF}", "'s", "'S", "'re", "'RE", "'ll", "'Ll", "'\u{17F}", "'d", "'x", "don't", " I'VE", "don’t", "12345", " 3.14",
    "²½Ⅷ", "٣٤٥",
    "...", " ==", "```\n", "<|im_end|>", "<|endoftext|>", "<|im_",
    "e\u{301}", "👩‍👩‍👧", "🇩🇪", "    return x;\n",
    "if (a[i] != 0) {", "ß", "İ", "ﬁ", "ǅ", "\u{0}", "\u{4}",
  ]
}

/// The tokenizers of `make_tokenizer_golden.py`: SmolLM2's vocabulary with each pre-tokenizer, and docs-28m.
enum ReferenceTokenizer: String, CaseIterable, Sendable {
  case smollm
  case special = "smollm-special"
  case gpt2 = "gpt-2"
  case llama3 = "llama-bpe"
  case qwen2
  case documentation = "docs-28m"

  var allowsSpecial: Bool { self == .special }

  /// Nil if its file is absent.
  func tokenizer() throws -> Tokenizer? {
    if self == .documentation { return DocumentationModel.isPresent ? try Tokenizer(path: DocumentationModel.path) : nil }
    var draft = try TokenizerDraft(GGUFFile(path: ReferenceModel.path))
    draft.preTokenizer = PreTokenizer(rawValue: rawValue) ?? .smollm
    draft.takesWholePieces = self == .llama3
    return try Tokenizer(draft)
  }
}
