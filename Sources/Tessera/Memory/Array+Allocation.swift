extension Array {
  /// `count` elements, all of which `fill` initialises.
  ///
  /// Where the system refuses memory, the standard library ends the process; a size that comes from a file or a caller needs an
  /// error instead. So the system is asked for as much before, which costs a few calls and touches nothing. What other threads
  /// take in between is beyond this check.
  /// - Throws: `TesseraError.outOfMemory`.
  package init(allocating count: Int, fill: (UnsafeMutableBufferPointer<Element>) -> Void) throws(TesseraError) {
    precondition(count >= 0, "an array of \(count) elements")
    let (byteCount, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
    guard !overflow else { throw .outOfMemory(bytes: Int.max) }
    try Pages(byteCount: byteCount).unmap()
    self.init(unsafeUninitializedCapacity: count) { buffer, initialized in
      fill(UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
      initialized = count
    }
  }
}
