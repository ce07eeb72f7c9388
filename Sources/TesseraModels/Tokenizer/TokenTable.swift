/// From the bytes of a token to its id: a hash table with linear probing, at most half full.
///
/// Keys are not stored: they lie in the vocabulary. The hash is the standard library's, seeded anew in each process, so that no
/// file can be made whose tokens all collide.
struct TokenTable: Sendable {
  private var ids: [Int32]
  private let mask: Int

  /// - Parameter capacity: the most tokens that will be inserted.
  init(capacity: Int) {
    let slots = max(16, capacity * 2).nextPowerOfTwo
    ids = Array(repeating: -1, count: slots)
    mask = slots - 1
  }

  /// Enters the token `id` of `strings`, unless its bytes are there already: then returns the id that has them.
  mutating func insert(_ id: Int, of strings: ByteStrings) -> Int? {
    let key = strings.range(of: id)
    return strings.bytes.withUnsafeBytes { bytes in
      let slot = self.slot(of: UnsafeRawBufferPointer(rebasing: bytes[key]), in: strings)
      if ids[slot] >= 0 { return Int(ids[slot]) }
      ids[slot] = Int32(id)
      return nil
    }
  }

  func find(_ key: UnsafeRawBufferPointer, in strings: ByteStrings) -> Int? {
    let id = ids[slot(of: key, in: strings)]
    return id < 0 ? nil : Int(id)
  }

  /// The slot that holds `key`, or the empty one where it would go.
  private func slot(of key: UnsafeRawBufferPointer, in strings: ByteStrings) -> Int {
    var hasher = Hasher()
    hasher.combine(bytes: key)
    var slot = hasher.finalize() & mask
    while ids[slot] >= 0, !strings.isEqual(Int(ids[slot]), to: key) { slot = (slot + 1) & mask }
    return slot
  }
}

extension Int {
  /// The smallest power of two that is not below this positive number.
  var nextPowerOfTwo: Int { self <= 1 ? 1 : 1 << (Int.bitWidth - (self - 1).leadingZeroBitCount) }
}
