#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Standard output and standard error, unbuffered: work takes long, and lines are to be seen as they come.
package enum StandardStream {
  package static let output = STDOUT_FILENO
  package static let error = STDERR_FILENO

  /// Writes all of a text to a descriptor.
  /// - Returns: whether all of it could be written; `errno` says why not.
  @discardableResult
  package static func put(_ text: String, on descriptor: Int32) -> Bool {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let written = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
      if written < 0, errno == EINTR { continue }
      guard written > 0 else { return false }
      rest = rest.dropFirst(written)
    }
    return true
  }
}
