import Tessera

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The path of a file in Tests/Fixtures.
func fixture(_ name: String) -> String { "\(repositoryRoot)/Tests/Fixtures/\(name)" }

/// The folder of Package.swift, found from where this file lies: `<root>/Tests/TesseraModelsTests/...`.
let repositoryRoot: String = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")

/// A GGUF file in the making: right, unless a test makes it wrong.
struct GGUFDraft: Sendable {
  var magic = Array("GGUF".utf8)
  var version: UInt32 = 3
  /// What the header says, where that is not the truth.
  var tensorCount: UInt64?
  var metadataCount: UInt64?
  /// Key, type and value of each entry.
  var metadata: [[UInt8]] = []
  var tensors: [Tensor] = []
  var alignment = 32
  var trailing: [UInt8] = []

  struct Tensor: Sendable {
    var name: [UInt8]
    /// In the file's order.
    var sizes: [UInt64]
    var type: UInt32 = 0
    /// Nil: where the tensor is.
    var offset: UInt64?
    var data: [UInt8]
  }

  /// Two metadata arrays, and tensors of three types whose last one needs no padding.
  static let valid = GGUFDraft(
    metadata: [
      entry("general.architecture", .string, string("test")),
      entry("list", .array, little(GGUFType.string) + little(3 as UInt64) + string("a") + string("") + string("xyz")),
      entry("numbers", .array, little(GGUFType.int16) + little(2 as UInt64) + little(-1 as Int16) + little(2 as Int16)),
    ],
    tensors: [
      Tensor(name: Array("norm".utf8), sizes: [3], data: little(0x3F80_0000 as UInt32) + Array(repeating: 0, count: 8)),
      Tensor(name: Array("linear".utf8), sizes: [32, 2], type: 2, data: Array(repeating: 0x3C, count: 36)),
      Tensor(name: Array("cube".utf8), sizes: [2, 2, 2], data: Array(repeating: 0, count: 32)),
    ])

  /// One float tensor of one weight, called "t".
  static let single = GGUFDraft(tensors: [Tensor(name: Array("t".utf8), sizes: [1], data: [0, 0, 0x80, 0x3F])])

  var bytes: [UInt8] {
    var file = magic + little(version)
    file += little(tensorCount ?? UInt64(tensors.count)) + little(metadataCount ?? UInt64(metadata.count))
    file += metadata.joined()
    var data: [UInt8] = []
    for tensor in tensors {
      file += little(UInt64(tensor.name.count)) + tensor.name
      file += little(UInt32(tensor.sizes.count)) + tensor.sizes.flatMap(little)
      file += little(tensor.type) + little(tensor.offset ?? UInt64(data.count))
      data += padded(tensor.data)
    }
    return padded(file) + data + trailing
  }

  private func padded(_ bytes: [UInt8]) -> [UInt8] {
    bytes + Array(repeating: 0, count: (alignment - bytes.count % alignment) % alignment)
  }
}

/// Value types as the format numbers them.
enum GGUFType: UInt32 { case uint8, int8, uint16, int16, uint32, int32, float32, bool, string, array, uint64, int64, float64 }

func entry(_ key: String, _ type: GGUFType, _ value: [UInt8]) -> [UInt8] { string(key) + little(type) + value }
func string(_ text: String) -> [UInt8] { string(Array(text.utf8)) }
func string(_ bytes: [UInt8]) -> [UInt8] { little(UInt64(bytes.count)) + bytes }
func little(_ type: GGUFType) -> [UInt8] { little(type.rawValue) }
func little(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }

/// Bytes that end where a page without access begins, so that reading past them crashes the test.
func guardedRegion(_ bytes: [UInt8]) -> MemoryRegion {
  let pages = GuardedPages(byteCount: bytes.count)
  let base = pages.end - bytes.count
  base.copyMemory(from: bytes, byteCount: bytes.count)
  return MemoryRegion(base: base, byteCount: bytes.count, keeping: pages)
}

private final class GuardedPages: @unchecked Sendable {
  // Sendable because nothing writes after `guardedRegion` has.
  let end: UnsafeMutableRawPointer
  private let mapping: UnsafeMutableRawPointer
  private let mappedBytes: Int

  init(byteCount: Int) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let usable = (byteCount + page - 1) / page * page
    mappedBytes = usable + page
    guard
      let mapping = mmap(nil, mappedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      mapping != MAP_FAILED, mprotect(mapping + usable, page, PROT_NONE) == 0
    else { preconditionFailure("no memory for \(byteCount) test bytes") }
    self.mapping = mapping
    end = mapping + usable
  }

  deinit { munmap(mapping, mappedBytes) }
}
