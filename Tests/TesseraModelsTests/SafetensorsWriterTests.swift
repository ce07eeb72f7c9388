import Tessera
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct SafetensorsWriterTests {
  private let folder = TemporaryFolder()

  private func write(_ tensors: [SafetensorsWriter.Tensor], of bytes: [[UInt8]], to path: String) throws {
    var writer = try SafetensorsWriter(path: path, tensors: tensors, metadata: [("k\u{1}\"", "v\\\n")])
    for part in bytes { try part.withUnsafeBytes { try writer.write($0) } }
    try writer.finish()
  }

  @Test func everyTensorBeginsAtAMultipleOf64() throws {
    let path = folder.file("a.safetensors")
    let sizes = [1, 0, 64, 63, 65, 128, 7]
    let contents = sizes.enumerated().map { index, size in [UInt8](repeating: UInt8(index + 1), count: size) }
    let tensors = sizes.enumerated().map { index, size in SafetensorsWriter.Tensor(name: "t\(index)", type: .u8, shape: [size]) }
    try write(tensors, of: contents, to: path)

    let file = try MappedFile(path: path)
    let header = try SafetensorsHeader(parsing: file.bytes, file: path)
    #expect(header.metadata == ["k\u{1}\"": "v\\\n"])
    #expect(header.dataOffset % 64 == 0)
    for (index, content) in contents.enumerated() {
      let tensor = try #require(header["t\(index)"])
      #expect(tensor.offset % 64 == 0)
      #expect(Array(file.bytes[tensor.offset..<tensor.offset + tensor.byteCount]) == content)
    }
    let paddings = header.tensors.filter { $0.name.hasPrefix("tessera.padding.") }
    #expect(paddings.map(\.byteCount) == [63, 1, 63])
    #expect(paddings.allSatisfy { file.bytes[$0.offset..<$0.offset + $0.byteCount].allSatisfy { $0 == 0 } })
  }

  @Test func aTensorMayBeWrittenInPieces() throws {
    let path = folder.file("a.safetensors")
    try write(
      [.init(name: "a", type: .u16, shape: [2]), .init(name: "b", type: .u8, shape: [1])], of: [[1], [], [2, 3, 4], [5]], to: path
    )
    let bytes = try readFile(path)
    let header = try SafetensorsHeaderTests.parse(bytes)
    #expect(try #require(header["a"]).offset + 64 == #require(header["b"]).offset)
    #expect(bytes.last == 5)
  }

  @Test func replacesAnExistingFileAndLeavesNoOther() throws {
    let path = folder.write("old", to: "a.safetensors")
    try write([.init(name: "a", type: .u8, shape: [1])], of: [[1]], to: path)
    #expect(folder.contents == ["a.safetensors"])
    #expect(try SafetensorsHeaderTests.parse(readFile(path)).tensors.count == 1)
  }

  @Test func anUnfinishedWriterLeavesTheOldFile() throws {
    let path = folder.write("old", to: "a.safetensors")
    do {
      var writer = try SafetensorsWriter(path: path, tensors: [.init(name: "a", type: .u8, shape: [2])])
      try [UInt8(1)].withUnsafeBytes { try writer.write($0) }
      #expect(folder.contents.count == 2)
    }
    #expect(folder.contents == ["a.safetensors"])
    #expect(try readFile(path) == Array("old".utf8))
  }

  @Test func refusesWhatNoFileCanHold() {
    let path = folder.file("a.safetensors")
    let cases: [([SafetensorsWriter.Tensor], String)] = [
      ([.init(name: "", type: .u8, shape: [])], "invalidName"), ([.init(name: "a\0", type: .u8, shape: [])], "invalidName"),
      ([.init(name: String(repeating: "x", count: 257), type: .u8, shape: [])], "invalidName"),
      ([.init(name: "__metadata__", type: .u8, shape: [])], "invalidName"),
      ([.init(name: "tessera.padding.0", type: .u8, shape: [])], "invalidName"),
      ([.init(name: "a", type: .u8, shape: []), .init(name: "a", type: .u8, shape: [])], "duplicateName"),
      ([.init(name: "a", type: .u8, shape: [1 << 62, 4])], "badShape"), ([.init(name: "a", type: .f4, shape: [1])], "badShape"),
      ([.init(name: "a", type: .u8, shape: [Int](repeating: 1, count: 9))], "badShape"),
      (["a", "b", "c", "d", "e", "f", "g", "h", "i"].map { .init(name: $0, type: .u8, shape: [1 << 60 - 1]) }, "tooLarge"),
    ]
    for (tensors, expected) in cases {
      let error = #expect(throws: WeightFileError.self) { _ = try SafetensorsWriter(path: path, tensors: tensors) }
      #expect(error?.kind == expected, "\(tensors)")
    }
    #expect(folder.contents.isEmpty)
  }

  @Test func refusesMetadataThatCannotBeRead() {
    let path = folder.file("a.safetensors")
    func kind(_ keys: String...) -> String? {
      #expect(throws: WeightFileError.self) {
        _ = try SafetensorsWriter(path: path, tensors: [], metadata: keys.map { ($0, "") })
      }?.kind
    }
    #expect(kind("a", "b", "a") == "duplicateName")
    #expect(kind(String(repeating: "k", count: 513)) == "wrongMetadata")
    #expect(folder.contents.isEmpty)
  }

  @Test(arguments: ["/proc/tessera.safetensors", "/nowhere/a.safetensors"])
  func namesAFolderThatCannotBeWritten(path: String) throws {
    let error = #expect(throws: WeightFileError.self) { _ = try SafetensorsWriter(path: path, tensors: []) }
    #expect(error?.kind == "writeFailed")
  }

  @Test func aFolderInTheWayIsAnError() throws {
    let error = #expect(throws: WeightFileError.self) { try write([], of: [], to: folder.path) }
    #expect(error == .notRegularFile(file: folder.path))
    #expect(TemporaryFolder.entries(of: "/tmp").filter { $0.hasPrefix(folder.path.dropFirst(5) + ".partial") }.isEmpty)
  }

  /// Renaming over a device or a pipe would remove it.
  @Test func aPipeInTheWayStays() throws {
    let pipe = folder.file("pipe")
    #expect(mkfifo(pipe, 0o600) == 0)
    #expect(throws: WeightFileError.notRegularFile(file: pipe)) { try write([], of: [], to: pipe) }
    var status = stat()
    #expect(stat(pipe, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO)
    #expect(folder.contents == ["pipe"])
  }

  @Test func aLinkStaysAndItsFileIsReplaced() throws {
    let path = folder.write("old", to: "a.safetensors")
    #expect(symlink(path, folder.file("link")) == 0)
    try write([.init(name: "a", type: .u8, shape: [1])], of: [[1]], to: folder.file("link"))
    var status = stat()
    #expect(lstat(folder.file("link"), &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
    #expect(try SafetensorsHeaderTests.parse(readFile(path)).tensors.count == 1)
    #expect(folder.contents == ["a.safetensors", "link"])
  }

  #if os(Linux)
    /// The system follows such a link to a file that has no name any more.
    @Test func aFileWithoutANameIsRefused() throws {
      let descriptor = open(folder.write("old", to: "a"), O_RDONLY)
      defer { close(descriptor) }
      unlink(folder.file("a"))
      let path = "/proc/self/fd/\(descriptor)"
      #expect(throws: WeightFileError.notRegularFile(file: path)) { try write([], of: [], to: path) }
    }

    /// A limit on the size of files fails a write in the middle, as a full disk does.
    @Test func aWriteThatFailsLeavesTheOldFile() async {
      await #expect(processExitsWith: .success) {
        let folder = TemporaryFolder()
        let path = folder.write("old", to: "a.safetensors")
        signal(SIGXFSZ, SIG_IGN)
        var limit = rlimit(rlim_cur: 4096, rlim_max: 4096)
        setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
        let error = #expect(throws: WeightFileError.self) {
          var writer = try SafetensorsWriter(path: path, tensors: [.init(name: "a", type: .u8, shape: [10_000])])
          try [UInt8](repeating: 1, count: 10_000).withUnsafeBytes { try writer.write($0) }
          try writer.finish()
        }
        #expect(error == .writeFailed(file: path, errno: EFBIG))
        #expect(folder.contents == ["a.safetensors"])
        #expect((try? readFile(path)) == Array("old".utf8))
      }
    }
  #endif
}

@Suite struct MappedFileTests {
  private let folder = TemporaryFolder()

  @Test func givesExtentsInsideTheFileOnly() throws {
    let path = folder.write([1, 2, 3, 4], to: "a")
    let file = try MappedFile(path: path)
    #expect(Array(try file.region(offset: 1, byteCount: 3, of: "t").bytes) == [2, 3, 4])
    #expect(try file.region(offset: 4, byteCount: 0, of: "t").byteCount == 0)
    for (offset, byteCount) in [(UInt64(0), UInt64(5)), (5, 0), (4, 1), (.max, 1), (1, .max), (.max, .max)] {
      #expect(throws: WeightFileError.badExtent(file: path, tensor: "t", offset: offset, byteCount: byteCount, available: 4)) {
        try file.region(offset: offset, byteCount: byteCount, of: "t")
      }
    }
  }

  @Test func aRegionKeepsTheMappingAlive() throws {
    let region = try MappedFile(path: folder.write([1, 2, 3, 4], to: "a")).region(offset: 2, byteCount: 2, of: "t")
    #expect(Array(region.bytes) == [3, 4])
  }

  @Test func refusesWhatIsNoFileOfWeights() throws {
    func kind(_ path: String) -> String? { #expect(throws: WeightFileError.self) { try MappedFile(path: path) }?.kind }
    #expect(kind(folder.file("absent")) == "cannotOpen")
    #expect(kind(folder.path) == "notRegularFile")
    #expect(kind("/dev/zero") == "notRegularFile")
    #expect(kind(folder.write([UInt8](), to: "empty")) == "tooShort")
    let pipe = folder.file("pipe")
    #expect(mkfifo(pipe, 0o600) == 0)
    #expect(kind(pipe) == "notRegularFile")
  }
}
