#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// A file under construction beside its target: it appears under its name whole, or not at all.
package final class OutputFile {
  private let path: String
  /// The path without symbolic links: the file that a link names is replaced, not the link.
  private let target: String
  private let partialPath: String
  private var descriptor: Int32
  private var isCommitted = false

  /// One write call takes at most this much: Linux cuts off at 2 GiB, macOS refuses more.
  private static let maximumChunk = 1 << 30

  /// - Throws: `notRegularFile` when something else has the name, a device above all: renaming would remove it. `writeFailed`.
  package init(path: String) throws(WeightFileError) {
    self.path = path
    target = try OutputFile.resolved(path)
    partialPath = "\(target).partial-\(getpid())-\(String(UInt64.random(in: 0...UInt64.max), radix: 16))"
    descriptor = open(partialPath, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    if descriptor < 0 {
      isCommitted = true  // there is nothing to remove
      throw WeightFileError.writeFailed(file: path, errno: errno)
    }
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
    if !isCommitted { unlink(partialPath) }
  }

  /// `path` itself when there is no such file yet. What the system follows to a file without a name, as it does the links of
  /// /proc, is none that could be replaced.
  private static func resolved(_ path: String) throws(WeightFileError) -> String {
    var status = stat()
    guard stat(path, &status) == 0 else { return path }
    guard status.st_mode & S_IFMT == S_IFREG, let target = realpath(path, nil) else {
      throw WeightFileError.notRegularFile(file: path)
    }
    defer { free(target) }
    return String(cString: target)
  }

  package func write(_ bytes: [UInt8]) throws(WeightFileError) {
    try bytes.withUnsafeBufferPointer { (bytes) throws(WeightFileError) in try write(UnsafeRawBufferPointer(bytes)) }
  }

  func write(_ bytes: UnsafeRawBufferPointer) throws(WeightFileError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let chunk = UnsafeRawBufferPointer(rebasing: rest.prefix(OutputFile.maximumChunk))
      #if canImport(Glibc)
        let written = Glibc.write(descriptor, chunk.baseAddress, chunk.count)
      #elseif canImport(Musl)
        let written = Musl.write(descriptor, chunk.baseAddress, chunk.count)
      #else
        let written = Darwin.write(descriptor, chunk.baseAddress, chunk.count)
      #endif
      if written < 0 && errno == EINTR { continue }
      guard written > 0 else { throw WeightFileError.writeFailed(file: path, errno: written < 0 ? errno : EIO) }
      rest = rest.dropFirst(written)
    }
  }

  /// Syncs, closes and renames; each of them can be the one that reports that the disk was full.
  package func commit() throws(WeightFileError) {
    guard fsync(descriptor) == 0 else { throw WeightFileError.writeFailed(file: path, errno: errno) }
    let closing = descriptor
    descriptor = -1
    guard close(closing) == 0 else { throw WeightFileError.writeFailed(file: path, errno: errno) }
    guard rename(partialPath, target) == 0 else { throw WeightFileError.writeFailed(file: path, errno: errno) }
    isCommitted = true
    syncFolder()
  }

  /// Makes the new name durable too. Some file systems refuse to sync a folder; the file is whole under either name, so that is
  /// no error.
  private func syncFolder() {
    let folder = target.lastIndex(of: "/").map { $0 == target.startIndex ? "/" : String(target[..<$0]) } ?? "."
    let folderDescriptor = open(folder, O_RDONLY | O_CLOEXEC)
    guard folderDescriptor >= 0 else { return }
    _ = fsync(folderDescriptor)
    close(folderDescriptor)
  }
}
