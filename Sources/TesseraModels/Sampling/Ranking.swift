/// The ids of logits from the largest to the smallest, of equal ones the lower id first. -infinity is left out.
struct Ranking {
  private var heap: MinimumHeap

  /// All that `include` accepts, found as they are asked for: O(n) time for the first and O(log n) for each.
  init(_ logits: [Float], where include: (Int) -> Bool = { _ in true }) {
    var keys: [UInt64] = []
    for (id, logit) in logits.enumerated() where logit > -.infinity && include(id) { keys.append(Ranking.key(logit, id)) }
    heap = MinimumHeap(keys)
  }

  /// The first `limit`. What is behind them is passed over as soon as that is known, which for most logits is at once.
  init(_ logits: [Float], limit: Int) {
    var keys: [UInt64] = []
    var bound = UInt64.max
    // With room for as many again, so that sorting is rare; `limit` may be larger than any list.
    let room = min(limit, logits.count) + max(64, min(limit, logits.count))
    for (id, logit) in logits.enumerated() where logit > -.infinity {
      let key = Ranking.key(logit, id)
      guard key < bound else { continue }
      keys.append(key)
      if keys.count == room {
        keys.sort()
        keys.removeLast(keys.count - limit)
        bound = keys[limit - 1]
      }
    }
    keys.sort()
    heap = MinimumHeap(Array(keys.prefix(limit)))
  }

  mutating func popFirst() -> Int? { heap.popMinimum().map { Int($0 & 0xFFFF_FFFF) } }

  /// Smaller, the earlier a logit comes. Adding zero makes both zeros the same.
  private static func key(_ logit: Float, _ id: Int) -> UInt64 {
    let bits = (logit + 0).bitPattern
    return UInt64(bits >> 31 == 0 ? bits ^ 0x7FFF_FFFF : bits) << 32 | UInt64(id)
  }
}
