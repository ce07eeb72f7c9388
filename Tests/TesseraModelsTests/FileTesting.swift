import Tessera

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A folder that is removed with everything in it when the test is over.
final class TemporaryFolder: Sendable {
  let path: String

  init() {
    var template = Array("/tmp/tessera-test-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { preconditionFailure("mkdtemp: error \(errno)") }
    path = String(cString: made)
  }

  deinit { TemporaryFolder.remove(path) }

  func file(_ name: String) -> String { "\(path)/\(name)" }

  @discardableResult
  func write(_ bytes: [UInt8], to name: String) -> String {
    let path = file(name)
    guard let stream = fopen(path, "wb") else { preconditionFailure("\(path): error \(errno)") }
    precondition(fwrite(bytes, 1, bytes.count, stream) == bytes.count, path)
    fclose(stream)
    return path
  }

  @discardableResult
  func write(_ text: String, to name: String) -> String { write(Array(text.utf8), to: name) }

  var contents: [String] { TemporaryFolder.entries(of: path) }

  static func entries(of folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  private static func remove(_ folder: String) {
    for name in entries(of: folder) {
      let path = "\(folder)/\(name)"
      if unlink(path) != 0 { remove(path) }
    }
    rmdir(folder)
  }
}

func readFile(_ path: String) throws -> [UInt8] { try MappedFile(path: path).withBytes { Array($0) } }

/// Copies bytes to a 64-byte aligned region, as a mapped file would give them. One byte after the last does not belong to the
/// region.
func region(_ bytes: [UInt8]) throws -> MemoryRegion {
  try MemoryRegion(byteCount: bytes.count) { $0.copyBytes(from: bytes) }
}

func regionOf<Element: BitwiseCopyable>(_ elements: [Element]) throws -> MemoryRegion {
  try elements.withUnsafeBytes { try region(Array($0)) }
}

/// A safetensors file from its header's text and its data.
func safetensors(_ header: String, data: [UInt8] = []) -> [UInt8] {
  safetensors(header: Array(header.utf8), data: data)
}

func safetensors(header: [UInt8], data: [UInt8] = []) -> [UInt8] {
  withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header + data
}

/// splitmix64: small, and the same on every machine.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
}

extension WeightFileError {
  /// The name of the case.
  var kind: String { Mirror(reflecting: self).children.first?.label ?? "\(self)" }
}
