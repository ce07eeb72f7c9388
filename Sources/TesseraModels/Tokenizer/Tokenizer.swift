/// A byte-level byte pair encoding, as GPT-2, Llama 3, Qwen2 and SmolLM2 use it: text to ids and back.
///
/// Text is cut into pieces (words with their space, numbers, punctuation, white space) by the rules that the file names, and each
/// piece is encoded by itself. Every byte sequence has an encoding: bytes that are no UTF-8 count as punctuation. It decodes to
/// the same bytes, but for ``unencodableBytes``. Encoding takes O(n log n) time in the longest piece and O(n) in the text.
///
/// The file is untrusted: what contradicts itself gives a ``TokenizerError``. A tokenizer is immutable and can be used by several
/// threads at once.
public struct Tokenizer: Sendable {
  /// What was opened, for errors.
  public let file: String
  /// Ids are below this. A model may have more rows of logits, which stand for nothing.
  public var count: Int { model.tokens.count }
  /// The token that begins a text, if the file names one.
  public let beginOfText: Int?
  /// Whether the model wants `beginOfText` before every text. `encode` leaves that to its caller.
  public let addsBeginOfText: Bool
  /// Tokens at which generating ends: those that the file names, and control tokens such as `<|im_end|>`.
  public let stopIDs: Set<Int>
  /// The chat template as it stands in the file, in the language Jinja.
  public let chatTemplateText: String?
  let model: BytePairModel
  let specials: SpecialTokens
  private let preTokenizer: PreTokenizer

  init(
    file: String, model: BytePairModel, specials: SpecialTokens, preTokenizer: PreTokenizer, beginOfText: Int?,
    addsBeginOfText: Bool, stopIDs: Set<Int>, chatTemplateText: String?
  ) {
    self.file = file
    self.model = model
    self.specials = specials
    self.preTokenizer = preTokenizer
    self.beginOfText = beginOfText
    self.addsBeginOfText = addsBeginOfText
    self.stopIDs = stopIDs
    self.chatTemplateText = chatTemplateText
  }

  /// The bytes that have no token of their own: `encode` leaves them out. SmolLM2 lacks six control characters and the bytes
  /// that UTF-8 does not use, or only for characters above U+3FFFF.
  public var unencodableBytes: [UInt8] {
    (UInt8.min...UInt8.max).filter { model.byteTokens[Int($0)] == BytePairModel.absent }
  }

  // MARK: Encoding

  /// The ids of `text`, without a begin-of-text token.
  /// - Parameter allowingSpecial: whether the text of a special token (`<|im_end|>`) becomes that token. Leave it out for text
  ///   that a user has written, so that it cannot end its own turn.
  public func encode(_ text: String, allowingSpecial: Bool = false) -> [Int] {
    var text = text
    return text.withUTF8 { encode($0, allowingSpecial: allowingSpecial) }
  }

  /// The ids of text in UTF-8; it need not be valid. Otherwise like `encode(_:allowingSpecial:)`.
  public func encode(utf8 text: Span<UInt8>, allowingSpecial: Bool = false) -> [Int] {
    text.withUnsafeBufferPointer { encode($0, allowingSpecial: allowingSpecial) }
  }

  private func encode(_ text: UnsafeBufferPointer<UInt8>, allowingSpecial: Bool) -> [Int] {
    var encoder = BytePairEncoder(model)
    var ids: [Int] = []
    ids.reserveCapacity(text.count / 3)
    var position = 0
    while allowingSpecial, let special = specials.next(in: text, from: position) {
      encode(text, position..<special.range.lowerBound, with: &encoder, into: &ids)
      ids.append(special.id)
      position = special.range.upperBound
    }
    encode(text, position..<text.count, with: &encoder, into: &ids)
    return ids
  }

  private func encode(
    _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, with encoder: inout BytePairEncoder, into ids: inout [Int]
  ) {
    let scanner = CharacterScanner(text: UnsafeBufferPointer(rebasing: text[range]))
    var position = 0
    while position < scanner.end {
      let end = preTokenizer.endOfPiece(in: scanner, at: position)
      encoder.encode(UnsafeBufferPointer(rebasing: scanner.text[position..<end]), into: &ids)
      position = end
    }
  }

  // MARK: Decoding

  /// The text of `ids`. Bytes that are no UTF-8 become U+FFFD.
  /// - Parameter skippingControl: whether control tokens are left out; otherwise they appear as they are written.
  /// - Throws: `unknownID`.
  public func decode(_ ids: some Sequence<Int>, skippingControl: Bool = false) throws(TokenizerError) -> String {
    String(decoding: try bytes(of: ids, skippingControl: skippingControl), as: UTF8.self)
  }

  /// The bytes of `ids`, which may end inside a character.
  /// - Throws: `unknownID`.
  public func bytes(of ids: some Sequence<Int>, skippingControl: Bool = false) throws(TokenizerError) -> [UInt8] {
    var bytes: [UInt8] = []
    for id in ids {
      guard (0..<count).contains(id) else { throw TokenizerError.unknownID(id: id, count: count) }
      if !skippingControl || !specials.isControl(id) { bytes += model.tokens[id] }
    }
    return bytes
  }

  // MARK: Special tokens

  /// The id of a special token, such as `<|im_end|>`.
  public func id(ofSpecial text: String) -> Int? { specials.id(of: text) }

  /// Whether `id` is a token that steers the model and is no text.
  public func isControl(_ id: Int) -> Bool { (0..<count).contains(id) && specials.isControl(id) }
}
