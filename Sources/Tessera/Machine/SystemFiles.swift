#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Small text files of /sys and /proc, below a root that tests can move.
struct SystemFiles {
  /// Prefix of every path; empty for the running system.
  var root = ""

  /// Far above any file read here; keeps a made-up tree from filling memory.
  private static let mostBytes = 1 << 20

  /// The file's text without surrounding white space; nil when it is absent or cannot be read.
  func text(_ path: String) -> String? {
    let descriptor = open(root + path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while bytes.count < Self.mostBytes {
      let got = read(descriptor, &chunk, chunk.count)
      if got < 0 { return nil }
      if got == 0 { break }
      bytes.append(contentsOf: chunk[..<got])
    }
    return String(Substring(decoding: bytes, as: UTF8.self).trimmed)
  }

  func integer(_ path: String) -> Int? { text(path).flatMap { Int($0) } }

  func cpus(_ path: String) -> [Int] { text(path).map { CPUList.parse($0) } ?? [] }

  /// The numbers N of the entries `prefixN` of a directory, ascending.
  func numbers(in path: String, prefix: String) -> [Int] {
    names(in: path).compactMap { name in
      name.hasPrefix(prefix) ? Int(name.dropFirst(prefix.count)) : nil
    }.filter { $0 >= 0 }.sorted()
  }

  /// The names in a directory; empty when it is absent.
  func names(in path: String) -> [String] {
    guard let directory = opendir(root + path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      names.append(name)
    }
    return names
  }
}

extension Substring {
  /// Without white space at either end.
  var trimmed: Substring {
    let front = drop(while: \.isWhitespace)
    guard let last = front.lastIndex(where: { !$0.isWhitespace }) else { return "" }
    return front[...last]
  }
}
