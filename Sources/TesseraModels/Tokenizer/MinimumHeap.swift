/// A binary heap of numbers, the smallest first: none is below the one at half its index.
struct MinimumHeap {
  private var elements: [UInt64] = []

  init() {}

  /// Takes O(n) time.
  init(_ elements: [UInt64]) {
    self.elements = elements
    for hole in (0..<elements.count / 2).reversed() { sink(elements[hole], from: hole) }
  }

  mutating func insert(_ element: UInt64) {
    var hole = elements.count
    elements.append(element)
    while hole > 0, elements[(hole - 1) / 2] > element {
      elements[hole] = elements[(hole - 1) / 2]
      hole = (hole - 1) / 2
    }
    elements[hole] = element
  }

  mutating func popMinimum() -> UInt64? {
    guard let minimum = elements.first, let last = elements.popLast() else { return nil }
    if !elements.isEmpty { sink(last, from: 0) }
    return minimum
  }

  /// Puts `element` where it belongs, at `hole` or below.
  private mutating func sink(_ element: UInt64, from hole: Int) {
    var hole = hole
    while true {
      var child = 2 * hole + 1
      if child + 1 < elements.count, elements[child + 1] < elements[child] { child += 1 }
      guard child < elements.count, elements[child] < element else { break }
      elements[hole] = elements[child]
      hole = child
    }
    elements[hole] = element
  }
}
