import Tessera
import Testing

@testable import TesseraModels

/// What holds for any vocabulary, on small ones made here.
struct TokenizerTests {
  /// Random merges over two letters, so that pieces merge in many orders: the encoder against the definition, on both sides of
  /// the length from which a heap takes over.
  @Test(arguments: 0..<20 as Range<UInt64>)
  func mergesTheLowestRankFirst(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    var toy = ToyTokenizer()
    var known = ["a", "b"]
    while toy.merges.count < 60 {
      let (left, right) = (known.randomElement(using: &random) ?? "", known.randomElement(using: &random) ?? "")
      guard left.count + right.count <= 24, !toy.merges.contains("\(left) \(right)") else { continue }
      toy.add(left, right)
      if !known.contains(left + right) { known.append(left + right) }
    }
    let tokenizer = try toy.tokenizer()
    for length in [0, 1, 2, 3, 7, 30, 47, 48, 49, 50, 64, 200, 1000] {
      let text = String((0..<length).map { _ in Bool.random(using: &random) ? "a" : "b" as Character })
      #expect(tokenizer.encode(text) == naive(text, toy), "seed \(seed), length \(length)")
    }
  }

  private func naive(_ text: String, _ toy: ToyTokenizer) -> [Int] {
    var symbols = text.map { String($0) }
    let ranks = Dictionary(uniqueKeysWithValues: toy.merges.enumerated().map { ($0.element, $0.offset) })
    while true {
      let pairs = zip(symbols, symbols.dropFirst()).map { ranks["\($0) \($1)"] ?? Int.max }
      guard let best = pairs.indices.min(by: { pairs[$0] < pairs[$1] }), pairs[best] != .max else { break }
      symbols.replaceSubrange(best...best + 1, with: [symbols[best] + symbols[best + 1]])
    }
    return symbols.compactMap { toy.tokens.firstIndex(of: $0) }
  }

  /// A piece of a megabyte: quadratic time would be hours.
  @Test(.timeLimit(.minutes(1)))
  func longPiecesTakeNoQuadraticTime() throws {
    var toy = ToyTokenizer()
    for power in 0..<10 { toy.add(String(repeating: "a", count: 1 << power), String(repeating: "a", count: 1 << power)) }
    let ids = try toy.tokenizer().encode(String(repeating: "a", count: 1 << 18))
    #expect(ids.count == 1 << 8 && Set(ids).count == 1)
  }

  @Test(arguments: [PreTokenizer.gpt2, .smollm, .llama3, .qwen2], 0..<5 as Range<UInt64>)
  func everyTextComesBack(preTokenizer: PreTokenizer, seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    var toy = ToyTokenizer(preTokenizer: preTokenizer)
    for (left, right) in [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ċ", "Ċ"), ("Ġ", "Ġ"), ("Ã", "©")] {
      toy.add(left, right)
    }
    let tokenizer = try toy.tokenizer()
    for _ in 0..<100 {
      let text = randomText(length: 40, using: &random)
      #expect(try tokenizer.decode(tokenizer.encode(text)).utf8.elementsEqual(text.utf8), "seed \(seed)")
      let bytes = (0..<40).map { _ in UInt8.random(in: 0...255, using: &random) }
      #expect(try tokenizer.bytes(of: tokenizer.encode(utf8: bytes.span)) == bytes, "seed \(seed)")
    }
  }

  @Test(arguments: 0..<5 as Range<UInt64>)
  func streamingGivesTheSameText(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let tokenizer = try ToyTokenizer().tokenizer()
    for round in 0..<200 {
      let valid = Array(randomText(length: 10, using: &random).utf8)
      // Leads and trails of all kinds, in any order.
      let units: [UInt8] = [0x41, 0x80, 0xBF, 0xC3, 0xE0, 0xA0, 0xED, 0x9F, 0xF0, 0x90, 0xF4, 0x8F, 0xFF]
      let broken = (0..<20).map { _ in units[Int.random(in: 0..<units.count, using: &random)] }
      let bytes = round % 2 == 0 ? valid : broken
      let ids = bytes.map { Int($0) }
      var decoder = StreamingDecoder(tokenizer)
      var text = ""
      for id in ids { text += try decoder.append(id) }
      text += decoder.finish()
      #expect(text.utf8.elementsEqual(String(decoding: bytes, as: UTF8.self).utf8), "seed \(seed): \(bytes)")
    }
  }

  @Test func streamingShowsACharacterWhenItIsWhole() throws {
    var decoder = StreamingDecoder(try ToyTokenizer(controls: [("<end>", 256)]).tokenizer())
    let texts = try Array("é€😀a".utf8).map { try decoder.append(Int($0)) }
    #expect(texts == ["", "é", "", "", "€", "", "", "", "😀", "a"])
    let around = try [0xE2, 256, 0x82, 0xAC, 0xF0].map { try decoder.append($0) }
    #expect(around == ["", "", "", "€", ""])
    let ends = [decoder.finish(), decoder.finish()]
    #expect(ends == ["\u{FFFD}", ""])
    #expect(throws: TokenizerError.unknownID(id: 257, count: 257)) { try decoder.append(257) }
  }

  @Test func theLongestSpecialTokenIsTaken() throws {
    let tokenizer = try ToyTokenizer(controls: [("<a>", 256), ("<a><b>", 257), ("<", 258), ("Ä Ö", 259)]).tokenizer()
    #expect(tokenizer.encode("<a><b><a><<ax", allowingSpecial: true) == [257, 256, 258, 258, 0x61, 0x78])
    #expect(tokenizer.encode("xÄ Öx", allowingSpecial: true) == [0x78, 259, 0x78])
    #expect(tokenizer.encode("<a>") == [0x3C, 0x61, 0x3E])
    #expect(try tokenizer.decode([257, 259, 0x78]) == "<a><b>Ä Öx")
    #expect(try tokenizer.decode([257, 259, 0x78], skippingControl: true) == "x")
  }

  @Test(arguments: [-1, 256, .max, .min])
  func decodingRefusesOtherIDs(id: Int) throws {
    let tokenizer = try ToyTokenizer().tokenizer()
    #expect(throws: TokenizerError.unknownID(id: id, count: 256)) { try tokenizer.decode([65, id]) }
    #expect(!tokenizer.isControl(id))
  }

  private func randomText(length: Int, using random: inout SeededGenerator) -> String {
    var text = ""
    for _ in 0..<length {
      let limit: UInt32 = [0x80, 0x80, 0x250, 0x3100, 0x11_0000].randomElement(using: &random) ?? 0x80
      text.unicodeScalars.append(Unicode.Scalar(UInt32.random(in: 0..<limit, using: &random)) ?? " ")
    }
    return text
  }
}
