public import Tessera

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// The small files of a model beside its weights, as a folder in Hugging Face's form has them: configuration, tokenizer, chat
/// template. They may lie in a folder, in a packed model, or be made of a GGUF file's metadata.
public struct ModelFiles: Sendable {
  /// The files that are looked for.
  public enum Name: String, Sendable, CaseIterable {
    case configuration = "config.json"
    case generation = "generation_config.json"
    case tokenizerConfiguration = "tokenizer_config.json"
    case tokenizer = "tokenizer.json"
    case chatTemplate = "chat_template.jinja"
  }

  private enum Place: Sendable {
    case folder(String)
    case file(String)
  }

  private let place: Place
  private let contents: [Name: MemoryRegion]

  /// Maps those files of a folder that are there.
  /// - Throws: what `MappedFile` throws, but for files that do not exist.
  public init(folder: String) throws(WeightFileError) {
    let folder = folder.hasSuffix("/") ? String(folder.dropLast()) : folder
    var contents: [Name: MemoryRegion] = [:]
    for name in Name.allCases {
      contents[name] = try ifPresent { () throws(WeightFileError) in try MappedFile(path: "\(folder)/\(name.rawValue)").region }
    }
    place = .folder(folder)
    self.contents = contents
  }

  /// The files in a packed model, with their checksums compared: they are small, and all else depends on them.
  /// - Throws: `checksumMismatch`, `unsupportedType` naming the file's tensor.
  public init(_ file: PackedFile) throws(WeightFileError) {
    var contents: [Name: MemoryRegion] = [:]
    for name in Name.allCases {
      guard let tensor = file[name.rawValue] else { continue }
      try file.verify(name.rawValue)
      contents[name] = try tensor.plainBytes()
    }
    place = .file(file.file)
    self.contents = contents
  }

  /// - Parameter file: what errors call the file that the contents were made of.
  init(_ contents: [Name: [UInt8]], file: String) throws(TesseraError) {
    var regions: [Name: MemoryRegion] = [:]
    for (name, bytes) in contents {
      regions[name] = try MemoryRegion(byteCount: bytes.count) { $0.copyBytes(from: bytes) }
    }
    place = .file(file)
    self.contents = regions
  }

  /// The bytes of a file, or nil where there is none.
  public subscript(name: Name) -> MemoryRegion? { contents[name] }

  /// What errors call a file.
  func path(of name: Name) -> String {
    switch place {
    case .folder(let folder): "\(folder)/\(name.rawValue)"
    case .file(let file): "\(file): \(name.rawValue)"
    }
  }

  /// The bytes of a file that must be there.
  /// - Throws: `cannotOpen`, or `missingTensor` where the files are in a file themselves.
  func required(_ name: Name) throws(WeightFileError) -> MemoryRegion {
    if let contents = contents[name] { return contents }
    switch place {
    case .folder: throw .cannotOpen(file: path(of: name), errno: ENOENT)
    case .file(let file): throw .missingTensor(file: file, tensor: name.rawValue)
    }
  }

  /// A file as JSON, or nil where there is none.
  func json(_ name: Name, limit: Int) throws(WeightFileError) -> JSONValue? {
    guard let contents = contents[name] else { return nil }
    defer { withExtendedLifetime(contents) {} }
    return try JSONValue(parsing: contents.bytes, file: path(of: name), limit: limit)
  }

  /// The tensors that hold the files in a packed model, in the order of `Name`.
  func packedTensors() -> [PackedTensor] {
    Name.allCases.compactMap { name in contents[name].map { PackedTensor(bytes: $0, named: name.rawValue) } }
  }
}
