/// Rows that go through the model together: pieces of one or several sequences.
struct LlamaBlock {
  struct Piece {
    let sequence: Int
    /// Of the tokens that the sequence has in this call.
    let tokens: Range<Int>
  }

  private(set) var pieces: [Piece] = []
  /// The rows, counted within the block, whose logits are wanted.
  private(set) var wantedRows: [Int] = []
  private(set) var rowCount = 0

  /// Cuts the tokens of a call, in order, into blocks of at most `rowsOfBlock` rows.
  static func blocks(of tokens: [[Int]], rows: LlamaRunner.LogitRows, rowsOfBlock: Int = LlamaRunner.rowsOfBlock) -> [LlamaBlock]
  {
    var blocks: [LlamaBlock] = []
    var block = LlamaBlock()
    for (sequence, tokens) in tokens.enumerated() {
      var first = 0
      while first < tokens.count {
        let end = min(tokens.count, first + rowsOfBlock - block.rowCount)
        block.append(Piece(sequence: sequence, tokens: first..<end), endsSequence: end == tokens.count, rows: rows)
        first = end
        if block.rowCount == rowsOfBlock {
          blocks.append(block)
          block = LlamaBlock()
        }
      }
    }
    return block.rowCount > 0 ? blocks + [block] : blocks
  }

  private mutating func append(_ piece: Piece, endsSequence: Bool, rows: LlamaRunner.LogitRows) {
    let range = rowCount..<rowCount + piece.tokens.count
    switch rows {
    case .all: wantedRows += range
    case .last: if endsSequence { wantedRows.append(range.upperBound - 1) }
    }
    pieces.append(piece)
    rowCount = range.upperBound
  }
}
