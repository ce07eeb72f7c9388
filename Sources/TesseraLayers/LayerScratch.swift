public import Tessera

/// Arrays that layers borrow for the time of a call. What is given back is kept, so after the first steps nothing is allocated.
///
/// ```swift
/// var q = try scratch.take(rows * width)
/// defer { scratch.give(q) }
/// ```
public struct LayerScratch: Sendable {
  private var free: [[Float]] = []

  public init() {}

  /// An array of `count` elements, which may have any values.
  /// - Throws: `TesseraError.outOfMemory`.
  public mutating func take(_ count: Int) throws(TesseraError) -> [Float] {
    // The tightest fit, so that small requests leave the large arrays to large ones.
    let fitting = free.indices.filter { free[$0].capacity >= count }
    guard let best = fitting.min(by: { free[$0].capacity < free[$1].capacity }) else {
      if !free.isEmpty { free.removeLast() }
      return try [Float](allocating: count) { $0.initialize(repeating: 0) }
    }
    free.swapAt(best, free.count - 1)
    var array = free.removeLast()
    if array.count > count {
      array.removeLast(array.count - count)
    } else {
      array.append(contentsOf: repeatElement(0, count: count - array.count))
    }
    return array
  }

  /// Gives an array back. The caller must not keep it, or the next user has to copy.
  public mutating func give(_ array: consuming [Float]) { free.append(array) }
}
