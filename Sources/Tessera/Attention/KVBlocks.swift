internal import CKernels
internal import Synchronization

/// Memory for one block of a cache: `CK_KV_TOKENS` tokens, keys and values of every head.
///
/// Written only while exactly one cache holds it; caches that share it read.
package struct KVBlock: @unchecked Sendable {
  let base: UnsafeMutableRawPointer
  private var share: Share

  /// Counted once for each cache that holds the block; keeps the slab.
  private final class Share {
    let slab: KVSlab
    init(of slab: KVSlab) { self.slab = slab }
  }

  fileprivate init(_ base: UnsafeMutableRawPointer, in slab: KVSlab) {
    self.base = base
    share = Share(of: slab)
  }

  fileprivate var isHeldOnce: Bool { mutating get { isKnownUniquelyReferenced(&share) } }
}

/// Several blocks' memory in one piece, so that huge pages can back it. It goes back to the system with its last block.
private final class KVSlab: @unchecked Sendable {
  private let pages: Pages
  private let blockByteCount: Int
  private let capacity: Int
  // Caches that were forked from each other take blocks from the same slab, on any thread.
  private let taken = Atomic(0)

  init(blockByteCount: Int, capacity: Int) throws(TesseraError) {
    let (byteCount, overflow) = blockByteCount.multipliedReportingOverflow(by: capacity)
    guard !overflow else { throw .outOfMemory(bytes: Int.max) }
    pages = try Pages(byteCount: byteCount)
    self.blockByteCount = blockByteCount
    self.capacity = capacity
  }

  deinit { pages.unmap() }

  /// nil when all blocks are taken.
  func take() -> KVBlock? {
    let index = taken.wrappingAdd(1, ordering: .relaxed).oldValue
    return index < capacity ? KVBlock(pages.base + index * blockByteCount, in: self) : nil
  }
}

/// The blocks of one sequence, in order of tokens. A copy shares them; whoever changes a shared block copies it first.
struct KVBlocks: Sendable {
  let blockByteCount: Int
  private(set) var blocks: [KVBlock] = []
  private var slab: KVSlab?

  /// Slabs grow with the sequence up to about this size: a few huge pages.
  private static let mostSlabBytes = 16 << 20

  init(blockByteCount: Int) { self.blockByteCount = blockByteCount }

  var byteCount: Int { blocks.count * blockByteCount }

  /// Makes blocks `range` exist and belong to this sequence alone.
  mutating func makeUnique(_ range: Range<Int>) throws(TesseraError) {
    while blocks.count < range.upperBound { blocks.append(try takeBlock()) }
    for index in range where !blocks[index].isHeldOnce {
      let copy = try takeBlock()
      copy.base.copyMemory(from: blocks[index].base, byteCount: blockByteCount)
      blocks[index] = copy
    }
  }

  mutating func removeAll(from count: Int) { blocks.removeSubrange(min(count, blocks.count)...) }

  private mutating func takeBlock() throws(TesseraError) -> KVBlock {
    if let block = slab?.take() { return block }
    let wanted = min(max(blocks.count, 1), max(KVBlocks.mostSlabBytes / blockByteCount, 1))
    let fresh = try KVSlab(blockByteCount: blockByteCount, capacity: wanted)
    slab = fresh
    guard let block = fresh.take() else { preconditionFailure("a new slab of \(wanted) blocks holds none") }
    return block
  }
}
