import Tessera
import TesseraModels
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct SafetensorsFileTests {
  private let folder = TemporaryFolder()

  /// 1, -2, the smallest subnormal, the largest subnormal, infinity, and -0, in binary16; beside them their values.
  private static let halves: [UInt16] = [0x3C00, 0xC000, 0x0001, 0x03FF, 0x7C00, 0x8000]
  private static let halfValues: [Float] = [1, -2, 0x1p-24, 0x1.FF8p-15, .infinity, -0.0]

  private static func bytes<Element: BitwiseCopyable>(_ elements: [Element]) -> [UInt8] { elements.withUnsafeBytes(Array.init) }

  private func write(_ tensors: [(SafetensorsWriter.Tensor, [UInt8])], to name: String) throws -> String {
    let path = folder.file(name)
    var writer = try SafetensorsWriter(path: path, tensors: tensors.map(\.0), metadata: [("format", "pt")])
    for (_, bytes) in tensors { try bytes.withUnsafeBytes { try writer.write($0) } }
    try writer.finish()
    return path
  }

  @Test func convertsBF16F16AndF32() throws {
    let floats: [Float] = [1.5, -0.0, 1.00390625, 1.01171875, .nan, 3.4e38]
    let path = try write(
      [
        (.init(name: "half", type: .f16, shape: [2, 3]), Self.bytes(Self.halves)),
        (.init(name: "brain", type: .bf16, shape: [2]), Self.bytes([UInt16(0x3FC0), 0xFF80])),
        (.init(name: "single", type: .f32, shape: [6]), Self.bytes(floats)),
      ], to: "a.safetensors")
    let file = try SafetensorsFile.open(path)
    #expect(file.names == ["half", "brain", "single"])
    #expect(file.metadata == ["format": "pt"])
    #expect(try file.shape(of: "half") == [2, 3])
    #expect(try file.type(of: "half") == .f16)
    #expect(try file.float32("half").map(\.bitPattern) == Self.halfValues.map(\.bitPattern))
    #expect(try file.float32("brain") == [1.5, -.infinity])
    #expect(try file.bfloat16("brain").map(\.bits) == [0x3FC0, 0xFF80])
    #expect(try file.float32("single").map(\.bitPattern) == floats.map(\.bitPattern))
    // Ties go to the even neighbour: 1 + 2^-8 down, 1 + 3 x 2^-8 up. Too large becomes infinity, NaN stays NaN.
    #expect(try file.bfloat16("single").map(\.bits) == [0x3FC0, 0x8000, 0x3F80, 0x3F82, 0x7FC0, 0x7F80])
    #expect(try file.bfloat16("half").map(\.bits).prefix(2) == [0x3F80, 0xC000])
  }

  @Test func readsTensorsAtOddOffsets() throws {
    let header = #"{"pad":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}"#
    let path = folder.write(safetensors(header, data: [9] + Self.bytes([Float(2.5)])), to: "odd.safetensors")
    #expect(try SafetensorsFile.open(path).float32("w") == [2.5])
  }

  @Test func namesWhatIsMissingOrOfAnotherType() throws {
    let path = try write([(.init(name: "ids", type: .i32, shape: [1]), [1, 0, 0, 0])], to: "ids.safetensors")
    let file = try SafetensorsFile.open(path)
    #expect(throws: WeightFileError.missingTensor(file: path, tensor: "w")) { try file.float32("w") }
    #expect(throws: WeightFileError.unsupportedType(file: path, tensor: "ids", type: "I32", supported: "BF16, F16, F32")) {
      try file.bfloat16("ids")
    }
    #expect(try file.shape(of: "ids") == [1])
  }

  // MARK: Shards

  private func writeShards(index: String) throws {
    _ = try write([(.init(name: "a", type: .f32, shape: [1]), Self.bytes([Float(1)]))], to: "one.safetensors")
    _ = try write(
      [
        (.init(name: "b", type: .f32, shape: [1]), Self.bytes([Float(2)])),
        (.init(name: "c", type: .f32, shape: [1]), Self.bytes([Float(3)])),
      ], to: "two.safetensors")
    folder.write(index, to: "model.safetensors.index.json")
  }

  @Test func readsAFolderOfShards() throws {
    try writeShards(
      index: """
        {
          "metadata": {"total_size": 1.2e1, "other": [null, true, {"x": "y"}]},
          "weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}
        }

        """)
    for path in [folder.path, folder.path + "/", folder.file("model.safetensors.index.json")] {
      let file = try SafetensorsFile.open(path)
      #expect(file.names == ["a", "b", "c"])
      #expect(try ["a", "b", "c"].flatMap(file.float32) == [1, 2, 3])
    }
  }

  @Test func readsAFolderOfOneFile() throws {
    _ = try write([(.init(name: "a", type: .f32, shape: [1]), Self.bytes([Float(1)]))], to: "model.safetensors")
    #expect(try SafetensorsFile.open(folder.path).names == ["a"])
    #expect(try openWeights(folder.path).float32("a") == [1])
    #expect(try openWeights(folder.file("model.safetensors")).float32("a") == [1])
    #expect(throws: WeightFileError.cannotOpen(file: folder.file("absent"), errno: 2)) { try openWeights(folder.file("absent")) }
  }

  @Test func namesWhatIsNeitherFileNorFolder() throws {
    let pipe = folder.file("pipe")
    #expect(mkfifo(pipe, 0o600) == 0)
    #expect(throws: WeightFileError.notRegularFile(file: pipe)) { try openWeights(pipe) }
    let empty = folder.file("model.safetensors")
    #expect(throws: WeightFileError.cannotOpen(file: empty, errno: ENOENT)) { try openWeights(folder.path) }
  }

  @Test(arguments: [
    "../one.safetensors", "/etc/passwd", "sub/one.safetensors", "..", ".", "", "a\\\\b", "one.safetensors\\u0000",
  ])
  func refusesPathsThatLeaveTheFolder(name: String) throws {
    try writeShards(index: #"{"weight_map":{"a":"\#(name)"}}"#)
    let error = #expect(throws: WeightFileError.self) { try SafetensorsFile.open(folder.path) }
    #expect(error?.kind == "unsafePath")
  }

  @Test(arguments: [
    (#"{"weight_map":{}}"#, "wrongMetadata"), (#"{}"#, "wrongMetadata"), (#"{"weight_map":[]}"#, "malformedHeader"),
    (#"{"weight_map":{"a":1}}"#, "malformedHeader"), (#"{"weight_map":{"a":"x","a":"y"}}"#, "duplicateName"),
    (#"{"weight_map":{"a":"absent.safetensors"}}"#, "cannotOpen"), (#"{"weight_map":{"b":"one.safetensors"}}"#, "missingTensor"),
    (#"{"metadata":-,"weight_map":{}}"#, "malformedHeader"), (#"{"metadata":01,"weight_map":{}}"#, "malformedHeader"),
    (#"{"metadata":1.,"weight_map":{}}"#, "malformedHeader"), (#"{"metadata":1e,"weight_map":{}}"#, "malformedHeader"),
    (#"{"metadata":nul,"weight_map":{}}"#, "malformedHeader"), (#"{"weight_map":{}} x"#, "malformedHeader"),
  ])
  func refusesABadIndex(index: String, error expected: String) throws {
    try writeShards(index: index)
    let error = #expect(throws: WeightFileError.self) { try SafetensorsFile.open(folder.path) }
    #expect(error?.kind == expected, "\(error.map(String.init(describing:)) ?? "")")
  }

  @Test func nestingInTheIndexIsCapped() throws {
    let deep = String(repeating: "[", count: 100_000)
    try writeShards(index: #"{"metadata":\#(deep)"#)
    let error = #expect(throws: WeightFileError.self) { try SafetensorsFile.open(folder.path) }
    #expect(error?.kind == "malformedHeader")
  }
}
