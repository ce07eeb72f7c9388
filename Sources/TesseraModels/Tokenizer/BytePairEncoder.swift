/// The tables of a byte-level byte pair encoding.
struct BytePairModel: Sendable {
  /// The bytes of each token; empty for an id that no token has.
  var tokens: ByteStrings
  /// The tokens that text can become: all but control tokens.
  var table: TokenTable
  var merges: MergeTable
  /// For each byte the token that is this byte alone; `absent` where there is none.
  var byteTokens: [UInt32]
  /// A piece that is a token as a whole is that token, whatever the merges would make of it.
  var takesWholePieces: Bool

  static let absent = UInt32.max
}

/// Turns pieces into ids. It keeps its working memory from one piece to the next.
///
/// The bytes of a piece become their single-byte tokens, and as long as two neighbours have a merge, those with the lowest rank
/// (the leftmost on ties) become one. Source: Sennrich, Haddow and Birch, arXiv:1508.07909, on bytes as in GPT-2.
struct BytePairEncoder {
  private let model: BytePairModel
  private var symbols: [UInt32] = []
  private var merges: [MergeTable.Merge] = []
  private var chain = SymbolChain()

  /// Up to here looking for the best of all merges each time is faster than a heap.
  private static let shortPiece = 48

  init(_ model: BytePairModel) { self.model = model }

  /// Appends the ids of `piece`. A byte that has no token is left out.
  mutating func encode(_ piece: UnsafeBufferPointer<UInt8>, into output: inout [Int]) {
    if model.takesWholePieces, let id = model.table.find(UnsafeRawBufferPointer(piece), in: model.tokens) {
      return output.append(id)
    }
    symbols.removeAll(keepingCapacity: true)
    for byte in piece {
      let token = model.byteTokens[Int(byte)]
      if token != BytePairModel.absent { symbols.append(token) }
    }
    if symbols.count > BytePairEncoder.shortPiece {
      chain.merge(&symbols, by: model.merges)
    } else if symbols.count > 1 {
      mergeShort()
    }
    for symbol in symbols { output.append(Int(symbol)) }
  }

  /// `merges[i]` is the merge of `symbols[i]` and `symbols[i + 1]`.
  private mutating func mergeShort() {
    merges.removeAll(keepingCapacity: true)
    for index in 1..<symbols.count { merges.append(model.merges.merge(symbols[index - 1], symbols[index])) }
    while let best = merges.indices.min(by: { merges[$0].rank < merges[$1].rank }), merges[best].rank != .max {
      symbols[best] = merges[best].token
      symbols.remove(at: best + 1)
      merges.remove(at: best)
      if best > 0 { merges[best - 1] = model.merges.merge(symbols[best - 1], symbols[best]) }
      if best < merges.count { merges[best] = model.merges.merge(symbols[best], symbols[best + 1]) }
    }
  }
}
