/// A tokenizer as a file describes it, on the way to being checked.
struct TokenizerDraft {
  enum Kind {
    /// Written in the byte alphabet; what text becomes.
    case vocabulary
    /// Written as it is, and found in text only by whoever looks for special tokens. Control tokens steer the model, the other
    /// added ones are words that the vocabulary lacked.
    case control, added
  }

  let file: String
  var preTokenizer: PreTokenizer
  var takesWholePieces = false
  /// "left right", in the order of their ranks.
  var merges = ByteStrings()
  var beginOfText: Int?
  var addsBeginOfText = false
  var stopIDs: Set<Int> = []
  var chatTemplate: String?

  /// In the order in which they were added.
  private(set) var texts = ByteStrings()
  private(set) var kinds: [Kind] = []
  /// For each id the position of its token, or -1.
  private(set) var positions: [Int32] = []

  static let tokenLimit = 1 << 20
  static let mergeLimit = 1 << 20

  init(file: String, preTokenizer: PreTokenizer) {
    self.file = file
    self.preTokenizer = preTokenizer
  }

  mutating func add(_ text: some Sequence<UInt8>, id: Int, kind: Kind) throws(TokenizerError) {
    guard (0..<TokenizerDraft.tokenLimit).contains(id) else {
      let token = "token '\(String(decoding: Array(text), as: UTF8.self))'"
      throw TokenizerError.idOutOfRange(file: file, what: token, id: id, limit: TokenizerDraft.tokenLimit)
    }
    while positions.count <= id { positions.append(-1) }
    let position = Int(positions[id])
    if position < 0 {
      positions[id] = Int32(kinds.count)
      texts.append(text)
      kinds.append(kind)
    } else if kind != .vocabulary, texts[position].elementsEqual(text) {
      kinds[position] = kind
    } else {
      throw TokenizerError.duplicateID(
        file: file, id: id, first: texts.text(position), second: String(decoding: Array(text), as: UTF8.self))
    }
  }
}

extension Tokenizer {
  init(_ draft: TokenizerDraft) throws(TokenizerError) {
    let model = try BytePairModel(draft)
    let specials = try SpecialTokens(draft)
    let ids = [draft.beginOfText].compactMap { $0 } + draft.stopIDs.sorted()
    if let id = ids.first(where: { !draft.positions.indices.contains($0) || draft.positions[$0] < 0 }) {
      throw TokenizerError.idOutOfRange(
        file: draft.file, what: "the token that begins or ends a text", id: id, limit: draft.positions.count)
    }
    self.init(
      file: draft.file, model: model, specials: specials, preTokenizer: draft.preTokenizer, beginOfText: draft.beginOfText,
      addsBeginOfText: draft.addsBeginOfText && draft.beginOfText != nil,
      stopIDs: draft.stopIDs.union(specials.knownStops), chatTemplateText: draft.chatTemplate)
  }
}

extension BytePairModel {
  fileprivate init(_ draft: TokenizerDraft) throws(TokenizerError) {
    tokens = ByteStrings()
    tokens.reserve(count: draft.positions.count, byteCount: draft.texts.bytes.count)
    table = TokenTable(capacity: draft.kinds.count)
    merges = MergeTable(capacity: draft.merges.count)
    takesWholePieces = draft.takesWholePieces
    byteTokens = []
    try readTokens(of: draft)
    try findByteTokens(of: draft)
    try readMerges(of: draft)
  }

  /// A token of the vocabulary with a character outside the byte alphabet can only be decoded: as it is written.
  private mutating func readTokens(of draft: TokenizerDraft) throws(TokenizerError) {
    var bytes: [UInt8] = []
    for (id, position) in draft.positions.enumerated() {
      guard position >= 0 else {
        tokens.append([])
        continue
      }
      let text = draft.texts[Int(position)]
      bytes.removeAll(keepingCapacity: true)
      guard draft.kinds[Int(position)] == .vocabulary, ByteAlphabet.decode(text, into: &bytes) else {
        tokens.append(text)
        continue
      }
      tokens.append(bytes)
      if let first = table.insert(id, of: tokens) {
        throw TokenizerError.duplicateToken(
          file: draft.file, token: String(decoding: text, as: UTF8.self), first: first, second: id)
      }
    }
  }

  private mutating func findByteTokens(of draft: TokenizerDraft) throws(TokenizerError) {
    byteTokens = (UInt8.min...UInt8.max).map { find([$0][...]) ?? BytePairModel.absent }
    let needed = [UInt8(ascii: "\n")] + Array(UInt8(ascii: " ")...UInt8(ascii: "~"))
    if let byte = needed.first(where: { byteTokens[Int($0)] == BytePairModel.absent }) {
      throw TokenizerError.missingByte(file: draft.file, byte: byte)
    }
  }

  private mutating func readMerges(of draft: TokenizerDraft) throws(TokenizerError) {
    var bytes: [UInt8] = []
    for index in 0..<draft.merges.count {
      let text = draft.merges[index]
      guard let space = text.firstIndex(of: .space), space > text.startIndex, space < text.endIndex - 1,
        !text[(space + 1)...].contains(.space)
      else { throw TokenizerError.malformedMerge(file: draft.file, index: index, merge: draft.merges.text(index)) }
      bytes.removeAll(keepingCapacity: true)
      guard ByteAlphabet.decode(text[..<space], into: &bytes), let left = find(bytes[...]) else {
        throw unknown(text[..<space], in: index, of: draft)
      }
      let middle = bytes.count
      guard ByteAlphabet.decode(text[(space + 1)...], into: &bytes), let right = find(bytes[middle...]) else {
        throw unknown(text[(space + 1)...], in: index, of: draft)
      }
      guard let joined = find(bytes[...]) else { throw unknown(text[..<space] + text[(space + 1)...], in: index, of: draft) }
      if let first = merges.insert(left, right, rank: UInt32(index), token: joined) {
        throw TokenizerError.duplicateMerge(
          file: draft.file, first: Int(first), second: index, merge: draft.merges.text(index))
      }
    }
  }

  private func unknown(_ token: ArraySlice<UInt8>, in index: Int, of draft: TokenizerDraft) -> TokenizerError {
    .unknownToken(
      file: draft.file, index: index, merge: draft.merges.text(index), token: String(decoding: token, as: UTF8.self))
  }

  private func find(_ bytes: ArraySlice<UInt8>) -> UInt32? {
    bytes.withUnsafeBytes { table.find($0, in: tokens) }.map { UInt32($0) }
  }
}

extension UInt8 {
  fileprivate static var space: UInt8 { UInt8(ascii: " ") }
}
