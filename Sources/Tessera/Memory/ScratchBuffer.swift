/// Memory that grows when asked and is kept until its owner goes: scratch for kernels, never initialised.
struct ScratchBuffer: ~Copyable {
  private var pages: Pages?
  private var byteCount = 0

  /// The first byte, page aligned; nil before anything was reserved.
  var base: UnsafeMutableRawPointer? { pages?.base }

  /// Makes room for `byteCount` bytes; the contents are lost when it grows.
  mutating func reserve(byteCount: Int) throws(TesseraError) {
    guard byteCount > self.byteCount else { return }
    let larger = try Pages(byteCount: byteCount)
    pages?.unmap()
    pages = larger
    self.byteCount = byteCount
  }

  deinit { pages?.unmap() }
}
