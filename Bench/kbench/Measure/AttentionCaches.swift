internal import Tessera

/// How a cache is stored, as `--format` names it.
enum AttentionFormat: String, CaseIterable {
  case denseBF16 = "dense-bf16"
  case int8

  /// Of keys and values.
  var rows: KVFormat {
    switch self {
    case .denseBF16: .bf16
    case .int8: .int8
    }
  }

  func emptyCache(_ shape: AttentionShape) -> KVCache { KVCache(shape, keys: rows, values: rows) }

  /// The kernels for keys and values that a selection chooses.
  func kernels(of selection: KernelSelection, rows: Int) -> [AttentionKernel] {
    [selection.attention(.keys, self.rows, rows: rows), selection.attention(.values, self.rows, rows: rows)]
  }
}

/// Caches of one sequence in memory of their own, taken in turn so that each is cold when its turn comes.
final class AttentionCaches {
  let format: AttentionFormat
  private let caches: [KVCache]
  private var turn = 0

  /// As many copies as `byteCount` bytes hold, at least one.
  init(_ format: AttentionFormat, _ rows: AttentionRows, byteCount: Int, on executor: Executor) throws(TesseraError) {
    self.format = format
    var first = format.emptyCache(rows.shape)
    try rows.fill(&first, on: executor)
    var caches = [first]
    while caches.count < byteCount / first.byteCount { caches.append(try first.copied()) }
    self.caches = caches
  }

  var byteCount: Int { caches.count * caches[0].byteCount }
  /// Bytes that one step reads.
  var bytesRead: Int { caches[0].count * caches[0].bytesPerToken }

  func next() -> AttentionContents {
    turn = (turn + 1) % caches.count
    return caches[turn].contents
  }

  /// The first tokens of the cache, few enough for the scalar reference.
  func beginning(tokens: Int) throws(TesseraError) -> AttentionContents {
    var fork = caches[0]
    try fork.truncate(to: min(tokens, fork.count))
    return fork.contents
  }
}

/// Normal random keys, values and queries of a sequence.
struct AttentionRows {
  let shape: AttentionShape
  let context: Int
  private let seed: UInt64

  /// Tokens that are made at once.
  private static let blockTokens = 512

  init(_ shape: AttentionShape, context: Int, seed: UInt64) {
    self.shape = shape
    self.context = context
    self.seed = seed
  }

  func fill(_ cache: inout KVCache, on executor: Executor) throws(TesseraError) {
    for first in stride(from: 0, to: context, by: AttentionRows.blockTokens) {
      let tokens = min(AttentionRows.blockTokens, context - first)
      let keys = numbers(tokens * shape.keyWidth, stream: first), values = numbers(tokens * shape.valueWidth, stream: first + 1)
      try cache.append(keys: keys.span, values: values.span, on: executor)
    }
  }

  func queries(tokens: Int) -> [Float] { numbers(tokens * shape.queryWidth, stream: -1) }

  private func numbers(_ count: Int, stream: Int) -> [Float] {
    var generator = SplitMix64(seed: seed, stream: stream)
    return (0..<count).map { _ in generator.normal() }
  }
}
