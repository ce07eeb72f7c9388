/// How a text is cut into pieces that are encoded each by itself. The cases are named as in GGUF files.
///
/// The published regular expressions are written out as scanners here: of each, the alternatives in order, and the first that
/// matches at a position takes the piece. Every character is in some piece.
enum PreTokenizer: String, Sendable {
  /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
  case gpt2 = "gpt-2"
  /// First every `\p{N}` becomes a piece, then the text between them is cut as in `gpt2`.
  case smollm
  /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
  case llama3 = "llama-bpe"
  /// As `llama3`, with `\p{N}` for `\p{N}{1,3}`.
  case qwen2

  /// The end of the piece that begins at `start`, which is before the end of the text.
  @inline(__always)
  func endOfPiece(in text: CharacterScanner, at start: Int) -> Int {
    switch self {
    case .gpt2: text.endOfGPT2Piece(at: start, numbersStandAlone: false)
    case .smollm: text.endOfGPT2Piece(at: start, numbersStandAlone: true)
    case .llama3: text.endOfLlama3Piece(at: start, longestNumber: 3)
    case .qwen2: text.endOfLlama3Piece(at: start, longestNumber: 1)
    }
  }
}

extension CharacterScanner {
  /// - Parameter numbersStandAlone: a number character is a piece, and for what is before it the text ends there.
  fileprivate func endOfGPT2Piece(at start: Int, numbersStandAlone: Bool) -> Int {
    let first = character(at: start)
    switch first.kind {
    case .letter: return endOfRun(of: .letter, at: start + first.length)
    case .number: return numbersStandAlone ? start + first.length : endOfRun(of: .number, at: start + first.length)
    case .other: return endOfContraction(at: start, ignoringCase: false) ?? endOfRun(of: .other, at: start + first.length)
    case .space: break
    }
    let next = start + first.length
    if text[start] == .space, next < end {
      let kind = character(at: next).kind
      if kind != .space, kind != .number || !numbersStandAlone { return endOfRun(of: kind, at: next) }
    }
    let (runEnd, last) = spaces(from: start)
    return numbersStandAlone && isAt(.number, runEnd) ? runEnd : endOfSpaces(from: start, last: last, to: runEnd)
  }

  fileprivate func endOfLlama3Piece(at start: Int, longestNumber: Int) -> Int {
    if let end = endOfContraction(at: start, ignoringCase: true) { return end }
    let first = character(at: start)
    let next = start + first.length
    switch first.kind {
    case .letter: return endOfRun(of: .letter, at: next)
    case .number: return endOfNumber(at: start, longest: longestNumber)
    case .other: return isAt(.letter, next) ? endOfRun(of: .letter, at: next) : endOfSymbols(at: next)
    case .space: break
    }
    if !text[start].isLineBreak, isAt(.letter, next) { return endOfRun(of: .letter, at: next) }
    if text[start] == .space, isAt(.other, next) { return endOfSymbols(at: next) }
    let (runEnd, last) = spaces(from: start)
    if let lineBreak = text[start..<runEnd].lastIndex(where: \.isLineBreak) { return lineBreak + 1 }
    return endOfSpaces(from: start, last: last, to: runEnd)
  }

  /// `[^\s\p{L}\p{N}]*[\r\n]*`
  private func endOfSymbols(at start: Int) -> Int {
    var position = endOfRun(of: .other, at: start)
    while position < end, text[position].isLineBreak { position += 1 }
    return position
  }

  private func endOfNumber(at start: Int, longest: Int) -> Int {
    var position = start
    for _ in 0..<longest where isAt(.number, position) { position += character(at: position).length }
    return position
  }

  /// The end of the white space that begins at `start`, and where its last character begins.
  private func spaces(from start: Int) -> (end: Int, last: Int) {
    var (position, last) = (start, start)
    while position < end {
      let next = character(at: position)
      guard next.kind == .space else { break }
      last = position
      position += next.length
    }
    return (position, last)
  }

  /// `\s+(?!\S)|\s+`: white space leaves its last character to the text that follows, unless it has only one.
  private func endOfSpaces(from start: Int, last: Int, to runEnd: Int) -> Int {
    runEnd == end || last == start ? runEnd : last
  }

  /// `'s|'t|'re|'ve|'m|'ll|'d`. Without regard to case, the long s U+017F is an s, too.
  private func endOfContraction(at start: Int, ignoringCase: Bool) -> Int? {
    guard text[start] == UInt8(ascii: "'"), start + 1 < end else { return nil }
    func letter(_ offset: Int) -> UInt8 {
      guard start + offset < end else { return 0 }
      let byte = text[start + offset]
      return ignoringCase && (0x41...0x5A).contains(byte) ? byte | 0x20 : byte
    }
    switch (letter(1), letter(2)) {
    case (UInt8(ascii: "s"), _), (UInt8(ascii: "t"), _), (UInt8(ascii: "m"), _), (UInt8(ascii: "d"), _): return start + 2
    case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")): return start + 3
    case (UInt8(ascii: "l"), UInt8(ascii: "l")): return start + 3
    case (0xC5, 0xBF): return ignoringCase ? start + 3 : nil
    default: return nil
    }
  }
}

extension UInt8 {
  fileprivate static var space: UInt8 { UInt8(ascii: " ") }
  fileprivate var isLineBreak: Bool { self == UInt8(ascii: "\n") || self == UInt8(ascii: "\r") }
}
