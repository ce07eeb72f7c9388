/// Merges the symbols of a long piece in O(n log n): a doubly linked list, and a heap of the merges that its neighbours have.
struct SymbolChain {
  private struct Link {
    var symbol: UInt32
    /// With the next link; absent for the last one, and for a link that has been merged into the one before.
    var merge = MergeTable.Merge.absent
    var previous: Int
    /// The number of links after the last one.
    var next: Int
  }

  private var links: [Link] = []
  /// Rank and position of merges. One whose position has another merge by now is passed over: a pair that has changed never comes
  /// back, because symbols only grow, and each pair has a rank of its own.
  private var heap = MinimumHeap()

  mutating func merge(_ symbols: inout [UInt32], by table: MergeTable) {
    precondition(symbols.count <= Int(UInt32.max), "a piece of \(symbols.count) bytes; the most is \(UInt32.max)")
    links.removeAll(keepingCapacity: true)
    for (index, symbol) in symbols.enumerated() {
      links.append(Link(symbol: symbol, previous: index - 1, next: index + 1))
    }
    for index in links.indices { findMerge(at: index, in: table) }
    while let entry = heap.popMinimum() {
      let position = Int(entry & 0xFFFF_FFFF)
      guard links[position].merge.rank == UInt32(entry >> 32) else { continue }
      join(at: position, by: table)
    }
    symbols.removeAll(keepingCapacity: true)
    var position = 0
    while position < links.count {
      symbols.append(links[position].symbol)
      position = links[position].next
    }
  }

  private mutating func join(at position: Int, by table: MergeTable) {
    let absorbed = links[position].next
    links[position].symbol = links[position].merge.token
    links[position].next = links[absorbed].next
    links[absorbed].merge = .absent
    if links[position].next < links.count { links[links[position].next].previous = position }
    findMerge(at: position, in: table)
    if links[position].previous >= 0 { findMerge(at: links[position].previous, in: table) }
  }

  private mutating func findMerge(at position: Int, in table: MergeTable) {
    let next = links[position].next
    guard next < links.count else {
      links[position].merge = .absent
      return
    }
    let merge = table.merge(links[position].symbol, links[next].symbol)
    links[position].merge = merge
    if merge.rank != .max { heap.insert(UInt64(merge.rank) << 32 | UInt64(position)) }
  }
}
