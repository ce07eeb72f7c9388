internal import CKernels

/// How one call of attention is cut: cells, each some query tokens against the key-value heads that share rows of the cache, and
/// their chunks of tokens.
struct AttentionPlan {
  /// Some query tokens of one sequence, and a key-value head or those that share latents: they share what is read of the cache.
  struct Cell {
    let sequence: Int
    let heads: Range<Int>
    /// Of the sequence's query tokens.
    let queries: Range<Int>
    /// Tokens of the cache that the last of them sees.
    let visible: Int
    /// The first of its units, one for each chunk.
    let firstUnit: Int
    let chunks: Int
  }

  struct Unit {
    let cell: Int
    let chunk: Int
  }

  private(set) var cells: [Cell] = []
  private(set) var units: [Unit] = []
  /// Whether chunks are units of their own, folded in a second pass; otherwise a cell is one unit.
  let splitsChunks: Bool

  /// Query rows of a cell, about: enough for the tile unit to meet a chunk's rows while they lie in the L2 cache.
  static let rowsOfCell = 64
  static let chunk = Int(CK_ATTENTION_CHUNK)

  init(_ sequences: [AttentionSequence], threads: Int) {
    for (index, sequence) in sequences.enumerated() {
      let (shape, headsOfCell) = (sequence.contents.shape, sequence.contents.headsPerList)
      let tokensOfCell = sequence.queriesPerCell
      for first in stride(from: 0, to: sequence.queries, by: tokensOfCell) {
        let queries = first..<min(first + tokensOfCell, sequence.queries)
        let visible = sequence.visible(to: queries.upperBound - 1)
        let chunks = (visible - 1) / AttentionPlan.chunk + 1
        for head in stride(from: 0, to: shape.keyValueHeads, by: headsOfCell) {
          for chunk in 0..<chunks { units.append(Unit(cell: cells.count, chunk: chunk)) }
          cells.append(
            Cell(
              sequence: index, heads: head..<head + headsOfCell, queries: queries, visible: visible,
              firstUnit: units.count - chunks, chunks: chunks))
        }
      }
    }
    // With fewer cells than this some threads would wait for the last ones.
    splitsChunks = cells.count < 4 * threads && units.count > cells.count
    guard !splitsChunks else { return }
    // The longest first: the short ones fill the gaps at the end.
    let cells = cells
    units = cells.indices.sorted { (cells[$0].chunks, $1) > (cells[$1].chunks, $0) }.map { Unit(cell: $0, chunk: 0) }
  }
}

/// One sequence of a call, with its part of the callers' memory.
struct AttentionSequence: @unchecked Sendable {
  // Sendable: the pointers are read, or written in places of its own, by the threads of one call.
  let contents: AttentionContents
  /// Query tokens, the last ones of the cache.
  let queries: Int
  let mask: AttentionMask
  /// queries x shape.queryWidth.
  let q: UnsafePointer<Float>
  /// queries x contents.outputWidth.
  let y: UnsafeMutablePointer<Float>

  /// Query tokens of a cell, but for the last.
  var queriesPerCell: Int {
    let rowsOfToken = contents.shape.queriesPerHead * contents.headsPerList
    return min(max(AttentionPlan.rowsOfCell / rowsOfToken, 1), queries)
  }

  /// Query rows of each key-value head of a cell, at most.
  var headRows: Int { queriesPerCell * contents.shape.queriesPerHead }

  /// Query rows of a cell, at most.
  var cellRows: Int { headRows * contents.headsPerList }

  /// How many tokens a query sees, those excepted that a tree hides.
  func visible(to query: Int) -> Int {
    switch mask {
    case .all: contents.count
    case .causal, .tree: contents.count - queries + query + 1
    }
  }
}
