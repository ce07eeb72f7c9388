/// What one attention layer remembers of one sequence.
///
/// A cache is a value: a copy is a fork, at the cost of a few references; blocks of tokens are shared until one side changes
/// them. Keeping a copy is a checkpoint, assigning it back restores it.
public protocol AttentionCache: Sendable {
  /// The heads of the layer.
  var shape: AttentionShape { get }
  /// Tokens held.
  var count: Int { get }
  /// Bytes of a token, padding and scales included.
  var bytesPerToken: Int { get }
  /// Bytes of the blocks that this cache holds or shares.
  var byteCount: Int { get }
  /// What `Executor.attend` reads: a snapshot, which later changes do not touch.
  var contents: AttentionContents { get }

  /// Forgets the tokens from `count` on, as after rejected speculation.
  /// - Throws: `TesseraError.invalidPosition` unless `count` lies in 0...`self.count`.
  mutating func truncate(to count: Int) throws(TesseraError)
}

/// A cache's tokens as attention reads them. It keeps their memory alive.
public struct AttentionContents: Sendable {
  /// The heads of the layer.
  public let shape: AttentionShape
  /// Tokens that can be looked at: all of the cache, or as many as were selected.
  public var count: Int { selected?.first?.count ?? tokens }
  package let tokens: Int
  package let keys: KVRows
  package let values: KVRows
  package let blocks: [KVBlock]
  package let latents: Latents
  /// For each `headsPerList` key-value heads the positions that they look at, ascending; nil means all.
  package private(set) var selected: [[UInt32]]?

  /// What makes heads of latents.
  package struct Latents: Sendable {
    package let keys: LatentKeys?
    package let values: LatentValues?
    /// The angles at the first position of every chunk.
    let origins: [Float]
  }

  init(shape: AttentionShape, tokens: Int, keys: KVRows, values: KVRows, blocks: [KVBlock], latents: Latents) {
    self.shape = shape
    self.tokens = tokens
    self.keys = keys
    self.values = values
    self.blocks = blocks
    self.latents = latents
  }

  /// Elements of a token's result: a value for each query head, or a sum of latents where values are not lifted.
  public var outputWidth: Int { outputColumn(ofHead: shape.keyValueHeads) }

  /// Elements of the result of each query head that shares a key-value head.
  func outputDimension(ofHead head: Int) -> Int {
    guard let latents = latents.values, latents.lifts == nil else { return shape.valueDimension }
    return latents.ranks[head / latents.headsPerGroup]
  }

  /// Where a key-value head's results begin in a token's row.
  func outputColumn(ofHead head: Int) -> Int {
    (0..<head).reduce(0) { $0 + outputDimension(ofHead: $1) } * shape.queriesPerHead
  }

  /// Key-value heads whose rows are read together, and which look at the same tokens where some are selected: those that share
  /// latents of keys or of values, and 1 where none do.
  public var headsPerList: Int { max(keys.headsPerPart, values.headsPerPart) }

  /// The same with only some tokens, chosen for each `headsPerList` key-value heads: sparse decoding.
  /// - Parameter positions: for each `headsPerList` consecutive key-value heads the positions they look at, in rising order,
  ///   equally many in each list.
  /// - Throws: `sizeMismatch` for another number of lists or lists of different length; `invalidPosition` for one beyond the
  ///   cache; `repeatedPosition` for one that is not above the one before; `emptyCache` for empty lists.
  public func selecting(_ positions: [[UInt32]]) throws(TesseraError) -> AttentionContents {
    let lists = shape.keyValueHeads / headsPerList
    guard positions.count == lists else {
      throw .sizeMismatch(what: "lists of positions", expected: lists, got: positions.count)
    }
    for list in positions {
      guard !list.isEmpty else { throw .emptyCache }
      guard list.count == positions[0].count else {
        throw .sizeMismatch(what: "positions of a list", expected: positions[0].count, got: list.count)
      }
      for (index, position) in list.enumerated() {
        guard position < tokens else { throw .invalidPosition(what: "selected", position: Int(position), count: tokens) }
        guard index == 0 || list[index - 1] < position else { throw .repeatedPosition(Int(position)) }
      }
    }
    var copy = self
    copy.selected = positions
    return copy
  }
}
