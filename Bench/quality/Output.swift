#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// A line of results.
func line(_ text: String) { put(text, on: STDOUT_FILENO) }

/// What goes on, on standard error.
func note(_ text: String) { put(text, on: STDERR_FILENO) }

/// Unbuffered: a run takes long, and its lines are to be seen as they come.
private func put(_ text: String, on descriptor: Int32) {
  var rest = Array("\(text)\n".utf8)[...]
  while !rest.isEmpty {
    let written = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    if written < 0 {
      if errno == EINTR { continue }
      exit(2)
    }
    rest = rest.dropFirst(written)
  }
}
