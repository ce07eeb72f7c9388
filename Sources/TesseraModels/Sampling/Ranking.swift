/// The ids of logits from the largest to the smallest, of equal ones the lower id first, found as they are asked for: O(n) time for
/// the first and O(log n) for each. -infinity is left out.
struct Ranking {
  private var heap: MinimumHeap

  init(_ logits: [Float]) {
    var keys: [UInt64] = []
    keys.reserveCapacity(logits.count)
    for (id, logit) in logits.enumerated() where logit > -.infinity {
      keys.append(UInt64(Ranking.descendingBits(logit)) << 32 | UInt64(id))
    }
    heap = MinimumHeap(keys)
  }

  mutating func popFirst() -> Int? { heap.popMinimum().map { Int($0 & 0xFFFF_FFFF) } }

  /// A number that is smaller, the larger `logit` is. Adding zero makes both zeros the same.
  private static func descendingBits(_ logit: Float) -> UInt32 {
    let bits = (logit + 0).bitPattern
    return bits >> 31 == 0 ? bits ^ 0x7FFF_FFFF : bits
  }
}
