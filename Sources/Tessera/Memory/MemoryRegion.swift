/// Bytes that stay at one address and never change while this object lives: packed weights, whether owned or mapped from a file.
public final class MemoryRegion: @unchecked Sendable {
  // Sendable because nothing writes through `base` after initialisation, and the owner outlives it.

  /// The first byte. Aligned to 64 bytes in every region that Tessera itself allocates.
  public let base: UnsafeRawPointer
  /// How many bytes belong to the region.
  public let byteCount: Int
  private let owner: Owner

  private enum Owner {
    case allocation(Pages)
    case shared(any AnyObject & Sendable)
  }

  /// Whether the pages are this region's own, and not a part of a mapped file or of another region.
  package var isAllocation: Bool {
    if case .allocation = owner { true } else { false }
  }

  /// Allocates `byteCount` bytes of zeros, lets `fill` write them once, and freezes them.
  ///
  /// Pages are not touched before `fill` does, so the thread that fills a range decides its NUMA node.
  /// - Throws: `TesseraError.outOfMemory` when the system refuses the memory, or what `fill` throws.
  public convenience init(
    byteCount: Int, fill: (UnsafeMutableRawBufferPointer) throws(TesseraError) -> Void
  ) throws(TesseraError) {
    precondition(byteCount >= 0, "a region of \(byteCount) bytes")
    let pages = try Pages(byteCount: byteCount)
    do throws(TesseraError) {
      try fill(UnsafeMutableRawBufferPointer(start: pages.base, count: byteCount))
    } catch {
      pages.unmap()
      throw error
    }
    self.init(base: UnsafeRawPointer(pages.base), byteCount: byteCount, owner: .allocation(pages))
  }

  /// A part of memory that `owner` keeps alive and unchanged.
  public convenience init(base: UnsafeRawPointer, byteCount: Int, keeping owner: any AnyObject & Sendable) {
    self.init(base: base, byteCount: byteCount, owner: .shared(owner))
  }

  private init(base: UnsafeRawPointer, byteCount: Int, owner: Owner) {
    self.base = base
    self.byteCount = byteCount
    self.owner = owner
  }

  deinit {
    if case .allocation(let pages) = owner { pages.unmap() }
  }

  /// For whoever has just made the region and shown it to nobody: packers write parts that their initialisers already hold.
  func unfrozen<Element: BitwiseCopyable>(as _: Element.Type) -> UnsafeMutablePointer<Element> {
    UnsafeMutableRawPointer(mutating: base).assumingMemoryBound(to: Element.self)
  }

  /// All of it. Valid while this object lives.
  public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: byteCount) }
}
