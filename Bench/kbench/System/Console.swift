internal import ProgramSupport
internal import Tessera

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

/// What ends a run, with its exit code.
enum BenchError: Error, CustomStringConvertible {
  /// The arguments make no sense.
  case usage(String)
  /// The machine, its memory or a file lacks what was asked for.
  case failed(String)
  /// So many kernels disagreed with the reference.
  case wrongKernels(Int)

  var description: String {
    switch self {
    case .usage(let text), .failed(let text): text
    case .wrongKernels(let count): "\(count) of the kernels gave wrong results and were not timed"
    }
  }

  var exitCode: Int32 {
    switch self {
    case .usage: 64
    case .failed: 2
    case .wrongKernels: 1
    }
  }
}

/// Standard output, standard error, and the line in between that shows what is going on.
struct Console {
  /// False when standard output belongs to a report.
  let printsTables: Bool
  private let showsProgress = isatty(STDERR_FILENO) != 0 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
  private let colours = isatty(STDOUT_FILENO) != 0 && (ProcessInfo.processInfo.environment["NO_COLOR"] ?? "").isEmpty

  func line(_ text: String) {
    guard printsTables else { return }
    clearProgress()
    guard !StandardStream.put(text + "\n", on: STDOUT_FILENO) else { return }
    // Tables that nobody gets: what would be measured from here on is lost.
    warn("standard output cannot be written: \(String(cString: strerror(errno)))")
    exit(2)
  }

  func heading(_ text: String) { line(colours ? "\u{1B}[1m\(text)\u{1B}[0m" : text) }

  func warn(_ text: String) {
    clearProgress()
    StandardStream.put("kbench: \(text)\n", on: STDERR_FILENO)
  }

  /// Shows `text` in the last line of a terminal until something else is printed.
  func progress(_ text: String) {
    if showsProgress { StandardStream.put("\r\u{1B}[K\(text)", on: STDERR_FILENO) }
  }

  func clearProgress() {
    if showsProgress { StandardStream.put("\r\u{1B}[K", on: STDERR_FILENO) }
  }
}

enum OutputText {
  /// Whether a path is `-`, standard output, or a terminal, pipe or device: what is written there stays, so only a whole report
  /// is.
  static func isStream(_ path: String) -> Bool {
    if path == "-" { return true }
    var status = stat()
    return stat(path, &status) == 0 && ![S_IFREG, S_IFDIR].contains(status.st_mode & S_IFMT)
  }

  /// Replaces a file in one step, or writes to a stream.
  static func save(_ text: String, to path: String) throws(BenchError) {
    if isStream(path) { return try append(text, to: path) }
    do throws(WeightFileError) {
      let file = try OutputFile(path: path)
      try file.write(Array(text.utf8))
      try file.commit()
    } catch {
      throw BenchError.failed("\(error); name a file in a folder of your own")
    }
  }

  private static func append(_ text: String, to path: String) throws(BenchError) {
    let descriptor = path == "-" ? STDOUT_FILENO : open(path, O_WRONLY | O_CLOEXEC)
    defer { if descriptor > STDERR_FILENO { close(descriptor) } }
    guard descriptor >= 0, StandardStream.put(text, on: descriptor) else {
      let name = path == "-" ? "standard output" : path
      throw BenchError.failed("\(name) cannot be written: \(String(cString: strerror(errno)))")
    }
  }
}
