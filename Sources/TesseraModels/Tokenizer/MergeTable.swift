/// From two adjacent tokens to their merge: a hash table with linear probing, at most half full, one cache line a look-up.
struct MergeTable: Sendable {
  struct Merge {
    /// Lower merges first; `absent` where the two do not merge.
    var rank: UInt32
    var token: UInt32

    static let absent = Merge(rank: .max, token: .max)
  }

  private struct Slot {
    var pair = UInt64.max
    var merge = Merge.absent
  }

  private var slots: [Slot]
  private let mask: UInt64
  /// Drawn anew for each table, so that no file can be made whose pairs all collide.
  private let seed = UInt64.random(in: .min ... .max) | 1

  /// - Parameter capacity: the most merges that will be inserted.
  init(capacity: Int) {
    let count = max(16, capacity * 2).nextPowerOfTwo
    slots = Array(repeating: Slot(), count: count)
    mask = UInt64(count - 1)
  }

  /// Enters a merge, unless the two have one already: then returns its rank.
  mutating func insert(_ left: UInt32, _ right: UInt32, rank: UInt32, token: UInt32) -> UInt32? {
    let slot = self.slot(of: MergeTable.pair(left, right))
    if slots[slot].pair != .max { return slots[slot].merge.rank }
    slots[slot] = Slot(pair: MergeTable.pair(left, right), merge: Merge(rank: rank, token: token))
    return nil
  }

  @inline(__always)
  func merge(_ left: UInt32, _ right: UInt32) -> Merge { slots[slot(of: MergeTable.pair(left, right))].merge }

  @inline(__always)
  private static func pair(_ left: UInt32, _ right: UInt32) -> UInt64 { UInt64(left) << 32 | UInt64(right) }

  /// The slot that holds `pair`, or the empty one where it would go.
  @inline(__always)
  private func slot(of pair: UInt64) -> Int {
    let product = (pair ^ seed).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15 ^ seed &* 2)
    var slot = (product.high ^ product.low) & mask
    while slots[Int(slot)].pair != pair, slots[Int(slot)].pair != .max { slot = (slot + 1) & mask }
    return Int(slot)
  }
}
