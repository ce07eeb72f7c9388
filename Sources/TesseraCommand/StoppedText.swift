/// Text that ends before any of some stop strings. What could be the beginning of one is held back until more is known.
struct StoppedText {
  private let stops: [String]
  private var held = ""
  private(set) var isStopped = false
  /// Everything that was let through.
  private(set) var written = ""

  init(stops: [String]) { self.stops = stops }

  /// Takes more text and returns what can be shown of it.
  mutating func append(_ text: String) -> String {
    guard !isStopped else { return "" }
    held += text
    let starts = stops.compactMap { held.utf8Range(of: $0)?.lowerBound }
    if let first = starts.min() {
      isStopped = true
      return release(until: first)
    }
    let open = stops.map { held.longestEnd(beginning: $0) }.max() ?? 0
    return release(until: held.utf8.index(held.endIndex, offsetBy: -open))
  }

  /// The rest: no stop string came after all.
  mutating func finish() -> String { isStopped ? "" : release(until: held.endIndex) }

  private mutating func release(until end: String.Index) -> String {
    let text = String(held[..<end])
    held.removeSubrange(..<end)
    written += text
    return text
  }
}

extension String {
  /// Where another text first stands, compared byte by byte.
  fileprivate func utf8Range(of other: String) -> Range<String.Index>? {
    var start = utf8.startIndex
    while start < utf8.endIndex {
      if utf8[start...].starts(with: other.utf8) { return start..<utf8.index(start, offsetBy: other.utf8.count) }
      start = utf8.index(after: start)
    }
    return nil
  }

  /// Bytes of the longest end of this text with which another begins.
  fileprivate func longestEnd(beginning other: String) -> Int {
    var length = min(utf8.count, other.utf8.count - 1)
    while length > 0, !utf8.suffix(length).elementsEqual(other.utf8.prefix(length)) { length -= 1 }
    return length
  }
}
