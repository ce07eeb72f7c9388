internal import ProgramSupport

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif
#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Standard output, standard error, and the line in between that shows what is going on.
enum Terminal {
  private static let showsProgress = isatty(STDERR_FILENO) != 0 && ProcessInfo.processInfo.environment["TERM"] != "dumb"

  static func line(_ text: String) { put(text + "\n", on: STDOUT_FILENO) }

  /// Text as it comes, without an end of line.
  static func stream(_ text: String) { put(text, on: STDOUT_FILENO) }

  static func note(_ text: String) { put(text + "\n", on: STDERR_FILENO) }

  static func warn(_ text: String) {
    clearProgress()
    put("tessera: \(text)\n", on: STDERR_FILENO)
  }

  /// Replaces the line that shows what is going on.
  static func progress(_ text: String) {
    if showsProgress { put("\r\u{1B}[K\(text)", on: STDERR_FILENO) }
  }

  static func clearProgress() {
    if showsProgress { put("\r\u{1B}[K", on: STDERR_FILENO) }
  }

  /// Whether a person types.
  static var isInteractive: Bool { isatty(STDIN_FILENO) != 0 }

  /// Writes all of it; ends the program where nobody reads any more.
  private static func put(_ text: String, on descriptor: Int32) {
    if !StandardStream.put(text, on: descriptor) { exit(descriptor == STDOUT_FILENO ? 2 : 0) }
  }
}
