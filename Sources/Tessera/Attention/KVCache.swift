internal import CKernels

/// Keys and values of one layer and sequence, a row for each token and head, in blocks of 64 tokens.
///
/// ```swift
/// var cache = KVCache(shape, keys: .int8, values: .int8)
/// try cache.append(keys: k.span, values: v.span, on: executor)
/// try executor.attend(q.span, to: [cache.contents], into: &y)
/// ```
///
/// Keys go in as queries will meet them: rotated, where the model rotates (`RotaryEmbedding`). With `LatentKeys` or
/// `LatentValues` the rows are latents of groups of heads instead, and those of keys go in before rotation.
public struct KVCache: AttentionCache {
  public let shape: AttentionShape
  /// How keys are stored.
  public var keyFormat: KVFormat { keys.format }
  /// How values are stored.
  public var valueFormat: KVFormat { values.format }
  /// What rebuilds keys from latents; nil where keys are stored.
  public let latentKeys: LatentKeys?
  /// What lifts sums of latents to values; nil where values are stored.
  public let latentValues: LatentValues?
  public private(set) var count = 0

  private let keys: KVRows
  private let values: KVRows
  private var blocks: KVBlocks
  /// The angles at the first position of every chunk, for latent keys.
  private var origins: [Float] = []

  /// An empty cache. Memory comes with tokens.
  /// - Precondition: `KVFormat.ofWholeKeys` contains the keys' format.
  public init(_ shape: AttentionShape, keys keyFormat: KVFormat = .bf16, values valueFormat: KVFormat = .bf16) {
    guard let keyType = keyFormat.keyType else { preconditionFailure("no kernel reads whole keys of \(keyFormat)") }
    self.init(shape, nil, keyType, keyFormat, nil, valueFormat)
  }

  /// An empty cache of latents, for keys, for values, or for both.
  /// - Parameters:
  ///   - shape: as the latents were made for.
  ///   - latentKeys: nil stores whole keys.
  ///   - latentValues: nil stores whole values.
  /// - Throws: `TesseraError.unsupportedLatents` where no kernel rebuilds keys from latents of this format, or reads whole keys
  ///   of it; `invalidShape` where neither side's groups divide the other's.
  public init(
    _ shape: AttentionShape, keys keyFormat: KVFormat = .bf16, latentKeys: LatentKeys?, values valueFormat: KVFormat = .bf16,
    latentValues: LatentValues?
  ) throws(TesseraError) {
    guard let keyType = latentKeys == nil ? keyFormat.keyType : keyFormat.latentKeyType else {
      throw .unsupportedLatents(keyFormat)
    }
    let (keyHeads, valueHeads) = (latentKeys?.headsPerGroup ?? 1, latentValues?.headsPerGroup ?? 1)
    guard max(keyHeads, valueHeads) % min(keyHeads, valueHeads) == 0 else {
      throw .invalidShape(what: "heads of the groups of keys and of values", rows: keyHeads, columns: valueHeads)
    }
    self.init(shape, latentKeys, keyType, keyFormat, latentValues, valueFormat)
  }

  private init(
    _ shape: AttentionShape, _ latentKeys: LatentKeys?, _ keyType: ck_kv_type, _ keyFormat: KVFormat,
    _ latentValues: LatentValues?,
    _ valueFormat: KVFormat
  ) {
    self.shape = shape
    self.latentKeys = latentKeys
    self.latentValues = latentValues
    func dimensions(_ ranks: [Int]?, _ dimension: Int) -> [Int] {
      ranks ?? Array(repeating: dimension, count: shape.keyValueHeads)
    }
    keys = KVRows(
      keyFormat, type: keyType, dimensions: dimensions(latentKeys?.ranks, shape.keyDimension),
      headsPerPart: latentKeys?.headsPerGroup ?? 1, offset: 0)
    values = KVRows(
      valueFormat, type: valueFormat.valueType, dimensions: dimensions(latentValues?.ranks, shape.valueDimension),
      headsPerPart: latentValues?.headsPerGroup ?? 1, offset: keys.end)
    blocks = KVBlocks(blockByteCount: values.end)
  }

  /// Elements of a token's keys, or of their latents.
  public var keyWidth: Int { keys.width }
  /// Elements of a token's values, or of their latents.
  public var valueWidth: Int { values.width }
  public var bytesPerToken: Int { keyBytesPerToken + valueBytesPerToken }
  /// Bytes of a token's keys, or of their latents, padding and scales included.
  public var keyBytesPerToken: Int { keys.bytesPerToken }
  /// The same of values.
  public var valueBytesPerToken: Int { values.bytesPerToken }
  public var byteCount: Int { blocks.byteCount }

  public var contents: AttentionContents {
    AttentionContents(
      shape: shape, tokens: count, keys: keys, values: values, blocks: blocks.blocks,
      latents: AttentionContents.Latents(keys: latentKeys, values: latentValues, origins: origins))
  }

  /// Positions are 32-bit numbers in kernels.
  static let mostTokens = Int(UInt32.max)

  /// Adds tokens at the end.
  /// - Parameters:
  ///   - newKeys: tokens x `keyWidth` elements, one or more tokens.
  ///   - newValues: as many tokens x `valueWidth`.
  ///   - executor: whose threads share the work where there is enough; nil leaves it to the calling one. The bits are the same.
  /// - Throws: `sizeMismatch` for counts that are no whole tokens or differ; `outOfMemory`. The cache is then as before.
  public mutating func append(
    keys newKeys: Span<Float>, values newValues: Span<Float>, on executor: Executor? = nil
  ) throws(TesseraError) {
    let (keyWidth, valueWidth) = (keyWidth, valueWidth)
    let tokens = newKeys.count / keyWidth
    guard tokens > 0, newKeys.count == tokens * keyWidth else {
      throw .sizeMismatch(what: "keys", expected: max(tokens, 1) * keyWidth, got: newKeys.count)
    }
    guard newValues.count == tokens * valueWidth else {
      throw .sizeMismatch(what: "values", expected: tokens * valueWidth, got: newValues.count)
    }
    guard tokens <= KVCache.mostTokens - count else {
      throw .invalidPosition(what: "appended", position: count + tokens, count: KVCache.mostTokens)
    }
    let room = Int(CK_KV_TOKENS)
    try blocks.makeUnique(count / room..<(count + tokens - 1) / room + 1)
    store(newKeys, tokens: tokens, as: keys, on: executor)
    store(newValues, tokens: tokens, as: values, on: executor)
    count += tokens
    addOrigins()
  }

  private mutating func addOrigins() {
    guard let latentKeys else { return }
    let chunks = (count - 1) / Int(CK_ATTENTION_CHUNK) + 1
    while origins.count < chunks * latentKeys.originCount {
      let position = origins.count / latentKeys.originCount * Int(CK_ATTENTION_CHUNK)
      origins += [Float](unsafeUninitializedCapacity: latentKeys.originCount) { target, count in
        if let base = target.baseAddress { latentKeys.makeOrigin(at: position, into: base) }
        count = latentKeys.originCount
      }
    }
  }

  /// From this many tokens on the parts are shared between threads: fewer cost less than a fork-join.
  private static let parallelTokens = 4

  private func store(_ rows: Span<Float>, tokens: Int, as side: KVRows, on executor: Executor?) {
    let blocks = blocks.blocks
    let first = count
    rows.withUnsafeBufferPointer { rows in
      guard let base = rows.baseAddress else { return }
      let source = SharedPointer(base)
      let width = side.width
      func store(_ parts: Range<Int>) {
        for token in 0..<tokens {
          let (block, slot) = (first + token).quotientAndRemainder(dividingBy: Int(CK_KV_TOKENS))
          side.write(source.base + token * width, parts: parts, slot: slot, of: blocks[block])
        }
      }
      if let executor, tokens >= KVCache.parallelTokens {
        executor.pool.run(parts: side.parts.count) { part, _ in store(part..<part + 1) }
      } else {
        store(side.parts.indices)
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

  var blockByteCount: Int { blocks.blockByteCount }
  /// The memory of each block.
  var blockBytes: [UnsafeRawBufferPointer] {
    blocks.blocks.map { UnsafeRawBufferPointer(start: $0.base, count: blockByteCount) }
  }

  /// A cache of the same kind without tokens.
  func emptied() -> KVCache {
    var copy = self
    copy.count = 0
    copy.origins = []
    copy.blocks = KVBlocks(blockByteCount: blockByteCount)
    return copy
  }

  /// Fills an empty cache from the blocks of another.
  mutating func fill(tokens: Int, from source: [UnsafeRawBufferPointer]) throws(TesseraError) {
    precondition(count == 0, "a cache that holds \(count) tokens")
    guard tokens > 0 else { return }
    try blocks.makeUnique(source.indices)
    for (block, bytes) in zip(blocks.blocks, source) {
      if let base = bytes.baseAddress { block.base.copyMemory(from: base, byteCount: blockByteCount) }
    }
    count = tokens
    addOrigins()
  }

  /// The same in memory of its own, as a fork has it that changed every block: for measuring.
  package func copied() throws(TesseraError) -> KVCache {
    var copy = self
    try copy.blocks.makeUnique(copy.blocks.blocks.indices)
    return copy
  }

  /// The key of a token and head as it is stored, or the latent of the head's group.
  /// - Precondition: the position lies in 0..<`count`, the head in 0..<`shape.keyValueHeads`.
  public func key(at position: Int, head: Int) -> [Float] { row(of: keys, at: position, head: head) }

  /// The value of a token and head as it is stored, or the latent of the head's group.
  /// - Precondition: as for `key`.
  public func value(at position: Int, head: Int) -> [Float] { row(of: values, at: position, head: head) }

  private func row(of side: KVRows, at position: Int, head: Int) -> [Float] {
    precondition((0..<count).contains(position), "position \(position) of \(count)")
    precondition((0..<shape.keyValueHeads).contains(head), "head \(head) of \(shape.keyValueHeads)")
    let (block, slot) = position.quotientAndRemainder(dividingBy: Int(CK_KV_TOKENS))
    return side.read(head / side.headsPerPart, slot: slot, of: blocks.blocks[block])
  }
}

/// A caller's memory, lent to the threads of one call.
struct SharedPointer<Element>: @unchecked Sendable {
  let base: UnsafePointer<Element>
  init(_ base: UnsafePointer<Element>) { self.base = base }
}
