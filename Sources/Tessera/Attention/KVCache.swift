internal import CKernels

/// Keys and values of one layer and sequence, a row for each token and head, in blocks of 64 tokens.
///
/// ```swift
/// var cache = try KVCache(shape, keys: .int8, values: .int8)
/// try cache.append(keys: k.span, values: v.span, on: executor)
/// try executor.attend(q.span, to: [cache.contents], into: &y)
/// ```
///
/// Keys go in as queries will meet them: rotated, where the model rotates (`RotaryEmbedding`).
public struct KVCache: AttentionCache {
  public let shape: AttentionShape
  /// How keys are stored.
  public var keyFormat: KVFormat { keys.format }
  /// How values are stored.
  public var valueFormat: KVFormat { values.format }
  public private(set) var count = 0

  private let keys: KVRows
  private let values: KVRows
  private var blocks: KVBlocks

  /// An empty cache. Memory comes with tokens.
  public init(_ shape: AttentionShape, keys keyFormat: KVFormat = .bf16, values valueFormat: KVFormat = .bf16) {
    self.shape = shape
    keys = KVRows(keyFormat, heads: shape.keyValueHeads, dimension: shape.keyDimension, offset: 0)
    values = KVRows(valueFormat, heads: shape.keyValueHeads, dimension: shape.valueDimension, offset: keys.end)
    blocks = KVBlocks(blockByteCount: values.end)
  }

  public var bytesPerToken: Int { keys.bytesPerToken + values.bytesPerToken }
  public var byteCount: Int { blocks.byteCount }

  public var contents: AttentionContents {
    AttentionContents(shape: shape, tokens: count, keys: keys, values: values, blocks: blocks.blocks)
  }

  /// Positions are 32-bit numbers in kernels.
  private static let mostTokens = Int(UInt32.max)

  /// Adds tokens at the end.
  /// - Parameters:
  ///   - newKeys: tokens x `shape.keyWidth` elements, one or more tokens.
  ///   - newValues: as many tokens x `shape.valueWidth`.
  ///   - executor: whose threads share the work where there is enough; nil leaves it to the calling one. The bits are the same.
  /// - Throws: `sizeMismatch` for counts that are no whole tokens or differ; `outOfMemory`. The cache is then as before.
  public mutating func append(
    keys newKeys: Span<Float>, values newValues: Span<Float>, on executor: Executor? = nil
  ) throws(TesseraError) {
    let tokens = newKeys.count / shape.keyWidth
    guard tokens > 0, newKeys.count == tokens * shape.keyWidth else {
      throw .sizeMismatch(what: "keys", expected: max(tokens, 1) * shape.keyWidth, got: newKeys.count)
    }
    guard newValues.count == tokens * shape.valueWidth else {
      throw .sizeMismatch(what: "values", expected: tokens * shape.valueWidth, got: newValues.count)
    }
    guard tokens <= KVCache.mostTokens - count else {
      throw .invalidPosition(what: "appended", position: count + tokens, count: KVCache.mostTokens)
    }
    let room = Int(CK_KV_TOKENS)
    try blocks.makeUnique(count / room..<(count + tokens - 1) / room + 1)
    store(newKeys, tokens: tokens, as: keys, on: executor)
    store(newValues, tokens: tokens, as: values, on: executor)
    count += tokens
  }

  /// From this many tokens on the heads are shared between threads: fewer cost less than a fork-join.
  private static let parallelTokens = 4

  private func store(_ rows: Span<Float>, tokens: Int, as side: KVRows, on executor: Executor?) {
    let blocks = blocks.blocks
    let first = count
    rows.withUnsafeBufferPointer { rows in
      guard let base = rows.baseAddress else { return }
      let source = SharedPointer(base)
      func store(_ heads: Range<Int>) {
        for token in 0..<tokens {
          let (block, slot) = (first + token).quotientAndRemainder(dividingBy: Int(CK_KV_TOKENS))
          side.write(source.base + token * side.width, heads: heads, slot: slot, of: blocks[block])
        }
      }
      if let executor, tokens >= KVCache.parallelTokens {
        executor.pool.run(parts: side.heads) { head, _ in store(head..<head + 1) }
      } else {
        store(0..<side.heads)
      }
    }
  }

  public mutating func truncate(to count: Int) throws(TesseraError) {
    guard (0...self.count).contains(count) else {
      throw .invalidPosition(what: "to truncate to", position: count, count: self.count)
    }
    self.count = count
    blocks.removeAll(from: (count + Int(CK_KV_TOKENS) - 1) / Int(CK_KV_TOKENS))
  }

  /// The same in memory of its own, as a fork has it that changed every block: for measuring.
  package func copied() throws(TesseraError) -> KVCache {
    var copy = self
    try copy.blocks.makeUnique(copy.blocks.blocks.indices)
    return copy
  }

  /// The key of a token and head as it is stored.
  /// - Precondition: the position lies in 0..<`count`, the head in 0..<`shape.keyValueHeads`.
  public func key(at position: Int, head: Int) -> [Float] { row(of: keys, at: position, head: head) }

  /// The value of a token and head as it is stored.
  /// - Precondition: as for `key`.
  public func value(at position: Int, head: Int) -> [Float] { row(of: values, at: position, head: head) }

  private func row(of side: KVRows, at position: Int, head: Int) -> [Float] {
    precondition((0..<count).contains(position), "position \(position) of \(count)")
    precondition((0..<side.heads).contains(head), "head \(head) of \(side.heads)")
    let (block, slot) = position.quotientAndRemainder(dividingBy: Int(CK_KV_TOKENS))
    return side.read(head: head, slot: slot, of: blocks.blocks[block])
  }
}

/// A caller's memory, lent to the threads of one call.
struct SharedPointer<Element>: @unchecked Sendable {
  let base: UnsafePointer<Element>
  init(_ base: UnsafePointer<Element>) { self.base = base }
}
