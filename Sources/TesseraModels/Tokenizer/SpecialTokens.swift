/// The tokens that stand for themselves in a text: control tokens such as `<|im_end|>`, and words added to a vocabulary.
struct SpecialTokens: Sendable {
  private let texts: ByteStrings
  private let ids: [Int]
  /// For each first byte the positions in `texts`, longest first.
  private let candidates: [[Int]]
  private let isControl: [Bool]

  init(_ draft: TokenizerDraft) throws(TokenizerError) {
    var texts = ByteStrings()
    var ids: [Int] = []
    var candidates = [[Int]](repeating: [], count: 256)
    var isControl = [Bool](repeating: false, count: draft.positions.count)
    for (id, position) in draft.positions.enumerated() where position >= 0 && draft.kinds[Int(position)] != .vocabulary {
      let text = draft.texts[Int(position)]
      isControl[id] = draft.kinds[Int(position)] == .control
      guard let first = text.first else { continue }
      if let twin = candidates[Int(first)].first(where: { texts[$0].elementsEqual(text) }) {
        throw TokenizerError.duplicateToken(
          file: draft.file, token: draft.texts.text(Int(position)), first: ids[twin], second: id)
      }
      candidates[Int(first)].append(ids.count)
      ids.append(id)
      texts.append(text)
    }
    for first in candidates.indices { candidates[first].sort { texts[$0].count > texts[$1].count } }
    (self.texts, self.ids, self.candidates, self.isControl) = (texts, ids, candidates, isControl)
  }

  func isControl(_ id: Int) -> Bool { isControl[id] }

  func id(of text: String) -> Int? {
    guard let first = text.utf8.first else { return nil }
    return candidates[Int(first)].first { texts[$0].elementsEqual(text.utf8) }.map { ids[$0] }
  }

  /// The first special token at or after `start`, the longest one that begins there: its id and where it lies.
  func next(in text: UnsafeBufferPointer<UInt8>, from start: Int) -> (id: Int, range: Range<Int>)? {
    for position in start..<text.count {
      for candidate in candidates[Int(text[position])] where text[position...].starts(with: texts[candidate]) {
        return (ids[candidate], position..<position + texts[candidate].count)
      }
    }
    return nil
  }

  /// The ids of control tokens that end a text or a turn in the models that have them, whatever the file says.
  var knownStops: Set<Int> {
    let names = ["<|endoftext|>", "<|im_end|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>"]
    return Set(names.compactMap(id(of:)).filter(isControl))
  }
}
