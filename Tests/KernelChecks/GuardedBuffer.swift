#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Memory between two inaccessible pages that touches one of them: an access beyond its exact size there is a fault.
///
/// It is filled with a pattern that is NaN as fp32 and as bf16.
final class GuardedBuffer: @unchecked Sendable {
  // Sendable as a handle: the threads of one case write disjoint parts of it.

  static let poison: UInt16 = 0x7FA5
  static let poison32 = UInt32(poison) << 16 | UInt32(poison)

  let base: UnsafeMutableRawPointer
  let byteCount: Int
  private let pages: UnsafeMutableRawBufferPointer
  private let mapping: UnsafeMutableRawBufferPointer

  /// nil when the system refuses the memory.
  init?(byteCount: Int, guardPage: KernelCase.Guard) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let inside = (max(byteCount, 1) + page - 1) / page * page
    guard let start = mmap(nil, inside + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), start != MAP_FAILED else {
      return nil
    }
    mapping = UnsafeMutableRawBufferPointer(start: start, count: inside + 2 * page)
    pages = UnsafeMutableRawBufferPointer(start: start + page, count: inside)
    guard mprotect(start + page, inside, PROT_READ | PROT_WRITE) == 0 else {
      munmap(start, inside + 2 * page)
      return nil
    }
    self.byteCount = byteCount
    base = guardPage == .before ? start + page : start + page + inside - byteCount
    poisonAll()
  }

  deinit { munmap(mapping.baseAddress, mapping.count) }

  func poisonAll() {
    guard let start = pages.baseAddress else { return }
    let words = start.assumingMemoryBound(to: UInt64.self)
    let pattern = UInt64(GuardedBuffer.poison32) << 32 | UInt64(GuardedBuffer.poison32)
    words.update(repeating: pattern, count: pages.count / 8)
  }

  /// From now on a write is a fault.
  func freeze() { mprotect(pages.baseAddress, pages.count, PROT_READ) }

  /// Whether the memory of the first and last page that is not part of the buffer still holds the pattern.
  var surroundingsAreUntouched: Bool {
    guard let start = pages.baseAddress else { return true }
    let before = base - start
    for offset in stride(from: 0, to: before - before % 2, by: 2)
    where start.load(fromByteOffset: offset, as: UInt16.self) != GuardedBuffer.poison { return false }
    let end = before + byteCount
    for offset in stride(from: end + end % 2, to: pages.count, by: 2)
    where start.load(fromByteOffset: offset, as: UInt16.self) != GuardedBuffer.poison { return false }
    return true
  }

  /// Where an address lies in or around this buffer, which messages call `name`; nil when it is far from it.
  func place(of address: UInt, name: String) -> String? {
    let start = UInt(bitPattern: mapping.baseAddress)
    guard address >= start, address < start + UInt(mapping.count) else { return nil }
    let offset = Int(address) - Int(bitPattern: base)
    if offset < 0 { return "\(-offset) bytes before \(name)" }
    return offset < byteCount ? "at byte \(offset) of \(name)" : "\(offset - byteCount) bytes beyond \(name)"
  }

  func pointer<Element>(to _: Element.Type) -> UnsafeMutablePointer<Element> { base.assumingMemoryBound(to: Element.self) }
}
