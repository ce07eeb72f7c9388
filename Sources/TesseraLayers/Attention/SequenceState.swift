public import Tessera

/// What a model remembers of one sequence: a cache for each of its layers.
///
/// A value: a copy is a fork or a checkpoint, and costs a few references for each layer; blocks of tokens are shared until one
/// side changes them.
public struct SequenceState: Sendable {
  /// One for each layer, all with the same number of tokens.
  public private(set) var caches: [any AttentionCache]

  /// - Precondition: all caches hold as many tokens.
  public init(caches: [any AttentionCache]) {
    precondition(caches.allSatisfy { $0.count == caches[0].count }, "caches of \(caches.map(\.count)) tokens")
    self.caches = caches
  }

  /// Tokens held.
  public var count: Int { caches.first?.count ?? 0 }
  /// Bytes of all caches, what they share with other states included.
  public var byteCount: Int { caches.reduce(0) { $0 + $1.byteCount } }

  /// Forgets the tokens from `count` on.
  /// - Throws: `TesseraError.invalidPosition` unless `count` lies in 0...`self.count`.
  public mutating func truncate(to count: Int) throws(TesseraError) {
    for layer in caches.indices { try caches[layer].truncate(to: count) }
  }

  /// Lets a layer change its cache. Meanwhile the state does not hold it, so that blocks that nobody else shares are changed in
  /// place.
  /// - Precondition: the layer's cache is a `Cache`, as `AttentionLayer.makeCache` made it.
  public mutating func withCache<Cache: AttentionCache>(
    ofLayer layer: Int, as _: Cache.Type = Cache.self, _ body: (inout Cache) throws(TesseraError) -> Void
  ) throws(TesseraError) {
    guard var cache = caches[layer] as? Cache else {
      preconditionFailure("the cache of layer \(layer) is a \(type(of: caches[layer])), not a \(Cache.self)")
    }
    caches[layer] = LentCache(shape: cache.shape)
    defer { caches[layer] = cache }
    try body(&cache)
  }
}

/// Stands in for a cache that a layer is changing.
private struct LentCache: AttentionCache {
  let shape: AttentionShape
  var count: Int { 0 }
  var bytesPerToken: Int { 0 }
  var byteCount: Int { 0 }
  var contents: AttentionContents { preconditionFailure("the cache is being changed") }
  mutating func truncate(to count: Int) { preconditionFailure("the cache is being changed") }
}
