#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// A regular file, mapped read-only.
///
/// Nothing is read until it is touched, and the page cache is shared with every process that maps the same file. The file must
/// not be written to or cut short while it is mapped: a page that is gone from the file raises SIGBUS when it is touched. Tessera
/// itself replaces files by renaming, which leaves existing mappings whole.
public final class MappedFile: @unchecked Sendable {
  // Sendable because the mapping is read-only and lives as long as this object.

  /// What was opened.
  public let path: String
  /// At least 1.
  public let byteCount: Int
  private let base: UnsafeRawPointer

  /// Maps the whole file.
  /// - Throws: `cannotOpen`, `notRegularFile`, `tooShort` for an empty file, `cannotMap`.
  public init(path: String) throws(WeightFileError) {
    // O_NONBLOCK: opening a pipe must not wait for its other end.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw WeightFileError.cannotOpen(file: path, errno: errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw WeightFileError.cannotOpen(file: path, errno: errno) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw WeightFileError.notRegularFile(file: path) }
    guard status.st_size > 0 else { throw WeightFileError.tooShort(file: path, field: "the file", needed: 1, available: 0) }
    guard
      let byteCount = Int(exactly: status.st_size),
      let mapping = mmap(nil, byteCount, PROT_READ, MAP_PRIVATE, descriptor, 0), mapping != MAP_FAILED
    else { throw WeightFileError.cannotMap(file: path, byteCount: UInt64(status.st_size), errno: errno) }
    self.path = path
    self.byteCount = byteCount
    self.base = UnsafeRawPointer(mapping)
  }

  deinit { munmap(UnsafeMutableRawPointer(mutating: base), byteCount) }

  /// The whole file. Valid while this object lives: take it from a variable, not from a temporary, or use `withBytes`.
  public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: byteCount) }

  /// Calls `body` with the whole file, which stays mapped at least until it returns.
  public func withBytes<Result, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    defer { withExtendedLifetime(self) {} }
    return try body(bytes)
  }

  /// The whole file as a region that keeps the mapping alive.
  public var region: MemoryRegion { MemoryRegion(base: base, byteCount: byteCount, keeping: self) }

  /// The bytes `offset ..< offset + byteCount` as a region that keeps the mapping alive; nothing is copied.
  /// - Parameters:
  ///   - offset: counted from the start of the file.
  ///   - byteCount: may be 0.
  ///   - name: the tensor or field, for the error.
  /// - Throws: `badExtent` when they do not all lie in the file.
  public func region(offset: UInt64, byteCount: UInt64, of name: String) throws(WeightFileError) -> MemoryRegion {
    let available = UInt64(self.byteCount)
    guard offset <= available, byteCount <= available - offset else {
      throw WeightFileError.badExtent(file: path, tensor: name, offset: offset, byteCount: byteCount, available: available)
    }
    return MemoryRegion(base: base + Int(offset), byteCount: Int(byteCount), keeping: self)
  }
}
