internal import CKernels

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Bytes that stay at one address and never change while this object lives: packed weights, whether owned or mapped from a file.
public final class MemoryRegion: @unchecked Sendable {
  // Sendable because nothing writes through `base` after initialisation, and the owner outlives it.

  /// The first byte. Aligned to 64 bytes in every region that Tessera itself allocates.
  public let base: UnsafeRawPointer
  public let byteCount: Int
  private let owner: Owner

  private enum Owner {
    case allocation(UnsafeMutableRawPointer, mappedBytes: Int)
    case shared(any AnyObject & Sendable)
  }

  /// Regions from this size on are aligned to 2 MiB and asked to use huge pages: 27% more read bandwidth on one core (facts: Docs/Benchmarks.md).
  private static let hugePageBytes = 2 << 20

  /// Allocates `byteCount` bytes of zeros, lets `fill` write them once, and freezes them.
  ///
  /// Pages are not touched before `fill` does, so the thread that fills a range decides its NUMA node.
  /// - Throws: `TesseraError.outOfMemory` when the system refuses the memory, or what `fill` throws.
  public convenience init(
    byteCount: Int, fill: (UnsafeMutableRawBufferPointer) throws(TesseraError) -> Void
  ) throws(TesseraError) {
    precondition(byteCount >= 0, "a region of \(byteCount) bytes")
    let (memory, mappedBytes) = try MemoryRegion.map(byteCount: byteCount)
    do throws(TesseraError) {
      try fill(UnsafeMutableRawBufferPointer(start: memory, count: byteCount))
    } catch {
      munmap(memory, mappedBytes)
      throw error
    }
    self.init(base: UnsafeRawPointer(memory), byteCount: byteCount, owner: .allocation(memory, mappedBytes: mappedBytes))
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
    if case .allocation(let memory, let mappedBytes) = owner { munmap(memory, mappedBytes) }
  }

  public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: byteCount) }

  /// Maps at least one page. A large mapping is trimmed so that it begins on a huge page.
  private static func map(byteCount: Int) throws(TesseraError) -> (UnsafeMutableRawPointer, mappedBytes: Int) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let wanted = max(1, (byteCount + page - 1) / page) * page
    let alignment = byteCount >= hugePageBytes ? hugePageBytes : page
    let reserved = wanted + (alignment - page)
    guard
      let raw = mmap(nil, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      raw != MAP_FAILED
    else { throw TesseraError.outOfMemory(bytes: byteCount) }
    let address = Int(bitPattern: raw)
    let aligned = (address + alignment - 1) / alignment * alignment
    if aligned > address { munmap(raw, aligned - address) }
    let tail = (address + reserved) - (aligned + wanted)
    if tail > 0 { munmap(raw + (aligned - address) + wanted, tail) }
    let start = raw + (aligned - address)
    #if os(Linux)
      if alignment == hugePageBytes { madvise(start, wanted, Int32(MADV_HUGEPAGE)) }
    #endif
    return (start, wanted)
  }
}
