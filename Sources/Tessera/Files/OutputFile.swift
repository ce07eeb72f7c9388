#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// A file under construction beside its target: it appears under its name whole, or not at all.
final class OutputFile {
  private let path: String
  private let partialPath: String
  private var descriptor: Int32
  private var isCommitted = false

  /// One write call takes at most this much: Linux cuts off at 2 GiB, macOS refuses more.
  private static let maximumChunk = 1 << 30

  init(path: String) throws(WeightFileError) {
    self.path = path
    partialPath = "\(path).partial-\(getpid())-\(String(UInt64.random(in: 0...UInt64.max), radix: 16))"
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

  func write(_ bytes: [UInt8]) throws(WeightFileError) {
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
  func commit() throws(WeightFileError) {
    guard fsync(descriptor) == 0 else { throw WeightFileError.writeFailed(file: path, errno: errno) }
    let closing = descriptor
    descriptor = -1
    guard close(closing) == 0 else { throw WeightFileError.writeFailed(file: path, errno: errno) }
    guard rename(partialPath, path) == 0 else { throw WeightFileError.writeFailed(file: path, errno: errno) }
    isCommitted = true
    syncFolder()
  }

  /// Makes the new name durable too. Some file systems refuse to sync a folder; the file is whole under either name, so that is
  /// no error.
  private func syncFolder() {
    let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    let folderDescriptor = open(folder, O_RDONLY | O_CLOEXEC)
    guard folderDescriptor >= 0 else { return }
    _ = fsync(folderDescriptor)
    close(folderDescriptor)
  }
}
