public import Tessera

/// The vectors of all tokens, bfloat16.
public struct TokenEmbedding: Sendable {
  private enum Storage: Sendable {
    /// Vocabulary x width, row after row.
    case rows(MemoryRegion)
    /// The packed matrix of the head: a tied model keeps one copy.
    case packed(DenseWeights)
  }

  /// Tokens.
  public let vocabularySize: Int
  /// Elements of a vector.
  public let width: Int
  private let storage: Storage

  /// The rows of a matrix that is packed as the head.
  public init(_ weights: DenseWeights) {
    vocabularySize = weights.outputs
    width = weights.inputs
    storage = .packed(weights)
  }

  /// Rows that lie one after the other, in memory or in a mapped file.
  /// - Throws: `TesseraError.sizeMismatch`.
  public init(rows: MemoryRegion, vocabularySize: Int, width: Int) throws(TesseraError) {
    guard rows.byteCount == vocabularySize * width * 2 else {
      throw .sizeMismatch(what: "embeddings", expected: vocabularySize * width, got: rows.byteCount / 2)
    }
    self.vocabularySize = vocabularySize
    self.width = width
    storage = .rows(rows)
  }

  /// A copy of these rows.
  /// - Throws: `TesseraError.sizeMismatch`, `outOfMemory`.
  public init(_ rows: Span<BFloat16>, vocabularySize: Int, width: Int) throws(TesseraError) {
    let region = try rows.withUnsafeBytes { source throws(TesseraError) in
      try MemoryRegion(byteCount: source.count) { $0.copyMemory(from: source) }
    }
    try self.init(rows: region, vocabularySize: vocabularySize, width: width)
  }

  /// The bytes that the embedding has of its own: none where it is the head's.
  public var byteCount: Int {
    switch storage {
    case .rows(let region): region.byteCount
    case .packed: 0
    }
  }

  /// The rows as a tensor of a packed model; nil where they are the head's.
  func packedTensor(named name: String) throws(ModelError) -> PackedTensor? {
    guard case .rows(let region) = storage else { return nil }
    return PackedTensor(
      name: name, format: .plainBF16, rows: vocabularySize, columns: width, nonZeroCount: vocabularySize * width,
      parts: ["values": region])
  }

  /// Copies the vector of a token to elements `place` ..< `place + width` of a target.
  /// - Precondition: the token lies in 0..<`vocabularySize`, the elements in the target.
  func copyVector(of token: Int, into target: inout MutableSpan<Float>, at place: Int) {
    switch storage {
    case .packed(let weights):
      weights.copyRow(token, into: &target, at: place)
    case .rows(let region):
      precondition((0..<vocabularySize).contains(token), "token \(token) of \(vocabularySize)")
      let row = region.base + token * width * 2
      for column in 0..<width {
        target[place + column] = Float(BFloat16(bits: row.loadUnaligned(fromByteOffset: column * 2, as: UInt16.self)))
      }
      withExtendedLifetime(region) {}
    }
  }
}
