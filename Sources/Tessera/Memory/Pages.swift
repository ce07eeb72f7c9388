#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Whole pages of zeroed memory from the system. A handle: whoever makes it unmaps it once.
struct Pages {
  let base: UnsafeMutableRawPointer
  private let mappedBytes: Int

  /// From this size on memory begins on a 2 MiB boundary and asks for huge pages, which a single core reads a quarter faster
  /// (Docs/Benchmarks.md).
  private static let hugePageBytes = 2 << 20

  /// At least one page. Nothing is touched: the thread that writes a page first decides its NUMA node.
  init(byteCount: Int) throws(TesseraError) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let alignment = byteCount >= Pages.hugePageBytes ? Pages.hugePageBytes : page
    let (rounded, overflow) = max(byteCount, 1).addingReportingOverflow(page - 1 + alignment)
    guard !overflow else { throw .outOfMemory(bytes: byteCount) }
    let wanted = (rounded - alignment) / page * page
    let reserved = wanted + (alignment - page)
    guard let raw = mmap(nil, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), raw != MAP_FAILED
    else { throw .outOfMemory(bytes: byteCount) }

    let address = Int(bitPattern: raw)
    let front = (alignment - address % alignment) % alignment
    if front > 0 { munmap(raw, front) }
    let back = reserved - front - wanted
    if back > 0 { munmap(raw + front + wanted, back) }
    base = raw + front
    mappedBytes = wanted
    #if os(Linux)
      if alignment == Pages.hugePageBytes { madvise(base, wanted, Int32(MADV_HUGEPAGE)) }
    #endif
  }

  func unmap() { munmap(base, mappedBytes) }
}
