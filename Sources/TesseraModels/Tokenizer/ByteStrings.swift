/// Many byte strings, one after the other in one allocation.
struct ByteStrings: Sendable {
  private(set) var bytes: [UInt8] = []
  private var ends: [Int] = []

  var count: Int { ends.count }

  mutating func reserve(count: Int, byteCount: Int) {
    ends.reserveCapacity(count)
    bytes.reserveCapacity(byteCount)
  }

  mutating func append(_ string: some Sequence<UInt8>) {
    bytes.append(contentsOf: string)
    ends.append(bytes.count)
  }

  func range(of index: Int) -> Range<Int> { (index == 0 ? 0 : ends[index - 1])..<ends[index] }

  subscript(index: Int) -> ArraySlice<UInt8> { bytes[range(of: index)] }

  func isEqual(_ index: Int, to other: UnsafeRawBufferPointer) -> Bool {
    let range = range(of: index)
    guard range.count == other.count else { return false }
    return bytes.withUnsafeBytes { bytes in other.indices.allSatisfy { bytes[range.lowerBound + $0] == other[$0] } }
  }

  /// For messages: what is not UTF-8 is replaced.
  func text(_ index: Int) -> String { String(decoding: self[index], as: UTF8.self) }
}
