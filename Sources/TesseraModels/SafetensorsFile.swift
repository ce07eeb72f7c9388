public import Tessera

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// The tensors of an ordinary safetensors checkpoint, one file or a folder of shards.
///
/// Headers are checked when the checkpoint is opened; tensors are converted when they are asked for.
public struct SafetensorsFile: WeightSource {
  /// What was opened: the file or the index.
  public let path: String
  /// In the order of the files, and inside a file of the bytes; without the padding that `SafetensorsWriter` inserts.
  public let names: [String]
  /// What the files' `__metadata__` say; where shards disagree, the later one.
  public let metadata: [String: String]
  private let places: [String: Place]

  private struct Place: Sendable {
    let file: MappedFile
    let tensor: SafetensorsHeader.Tensor

    /// Valid while this place, and so the mapping, lives.
    var bytes: UnsafeRawBufferPointer {
      UnsafeRawBufferPointer(rebasing: file.bytes[tensor.offset..<tensor.offset + tensor.byteCount])
    }
  }

  /// Opens a `.safetensors` file, a `.safetensors.index.json`, or a folder that holds `model.safetensors.index.json` or
  /// `model.safetensors`.
  public static func open(_ path: String) throws(WeightFileError) -> SafetensorsFile {
    if path.hasSuffix(".json") { return try SafetensorsFile(index: path) }
    do {
      return try SafetensorsFile(single: path)
    } catch .notRegularFile {
      let folder = path.hasSuffix("/") ? String(path.dropLast()) : path
      do {
        return try SafetensorsFile(index: "\(folder)/model.safetensors.index.json")
      } catch .cannotOpen(_, ENOENT) {
        return try SafetensorsFile(single: "\(folder)/model.safetensors")
      } catch .cannotOpen(_, ENOTDIR) {
        throw WeightFileError.notRegularFile(file: path)
      }
    }
  }

  private init(single path: String) throws(WeightFileError) {
    var shards = Shards()
    try shards.add(path, expecting: nil)
    self.init(shards, path: path)
  }

  private init(index path: String) throws(WeightFileError) {
    let index = try SafetensorsIndex(path: path)
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
    var shards = Shards()
    for (file, tensors) in index.shards { try shards.add(folder + file, expecting: tensors) }
    self.init(shards, path: path)
  }

  private init(_ shards: Shards, path: String) {
    self.path = path
    names = shards.names
    metadata = shards.metadata
    places = shards.places
  }

  private struct Shards {
    var names: [String] = []
    var metadata: [String: String] = [:]
    var places: [String: Place] = [:]

    /// `expected`: the tensors that the index looks for in this file; nil for all.
    mutating func add(_ path: String, expecting expected: Set<String>?) throws(WeightFileError) {
      let file = try MappedFile(path: path)
      let header = try file.withBytes { (bytes) throws(WeightFileError) in try SafetensorsHeader(parsing: bytes, file: path) }
      if let missing = expected?.filter({ header[$0] == nil }).min() {
        throw WeightFileError.missingTensor(file: path, tensor: missing)
      }
      for tensor in header.tensors where expected?.contains(tensor.name) ?? !tensor.isPadding {
        names.append(tensor.name)
        places[tensor.name] = Place(file: file, tensor: tensor)
      }
      metadata.merge(header.metadata) { $1 }
    }
  }
}

extension SafetensorsFile {
  /// Whether there is a tensor of this name.
  public func contains(_ name: String) -> Bool { places[name] != nil }

  /// The sizes of a tensor, slowest dimension first; empty for a scalar.
  /// - Throws: `missingTensor`.
  public func shape(of name: String) throws(WeightFileError) -> [Int] { try place(name).tensor.shape }

  /// The type of a tensor's elements in the file.
  /// - Throws: `missingTensor`.
  public func type(of name: String) throws(WeightFileError) -> SafetensorsType { try place(name).tensor.type }

  /// The tensor's elements in row-major order. BF16 and F16 become Float exactly.
  /// - Throws: `missingTensor`, `outOfMemory`, or `unsupportedType` for anything but BF16, F16 and F32.
  public func float32(_ name: String) throws(WeightFileError) -> [Float] {
    let place = try place(name)
    defer { withExtendedLifetime(place) {} }
    switch place.tensor.type {
    case .bf16: return try elements(of: place) { (bits: UInt16) in Float(BFloat16(bits: bits)) }
    case .f16: return try elements(of: place) { (bits: UInt16) in Float(binary16: bits) }
    case .f32: return try elements(of: place) { (bits: UInt32) in Float(bitPattern: bits) }
    default: throw unsupported(place)
    }
  }

  /// The tensor's elements in row-major order, rounded to nearest even where they are not BF16 already.
  /// - Throws: `missingTensor`, `outOfMemory`, or `unsupportedType` for anything but BF16, F16 and F32.
  public func bfloat16(_ name: String) throws(WeightFileError) -> [BFloat16] {
    let place = try place(name)
    defer { withExtendedLifetime(place) {} }
    switch place.tensor.type {
    case .bf16:
      let count = place.bytes.count / MemoryLayout<BFloat16>.size
      return try weightArray(of: name, file: place.file.path, count: count) { target in
        UnsafeMutableRawBufferPointer(target).copyMemory(from: place.bytes)
      }
    case .f16: return try elements(of: place) { (bits: UInt16) in BFloat16(Float(binary16: bits)) }
    case .f32: return try elements(of: place) { (bits: UInt32) in BFloat16(Float(bitPattern: bits)) }
    default: throw unsupported(place)
    }
  }

  private func place(_ name: String) throws(WeightFileError) -> Place {
    guard let place = places[name] else { throw WeightFileError.missingTensor(file: path, tensor: name) }
    return place
  }

  private func unsupported(_ place: Place) -> WeightFileError {
    .unsupportedType(
      file: place.file.path, tensor: place.tensor.name, type: place.tensor.type.rawValue, supported: "BF16, F16, F32")
  }

  /// Tensors of foreign files begin at any byte, hence the unaligned loads.
  private func elements<Bits: FixedWidthInteger & BitwiseCopyable, Element>(
    of place: Place, _ convert: (Bits) -> Element
  ) throws(WeightFileError) -> [Element] {
    let bytes = place.bytes
    let count = bytes.count / MemoryLayout<Bits>.size
    return try weightArray(of: place.tensor.name, file: place.file.path, count: count) { target in
      for i in 0..<count {
        let bits = Bits(littleEndian: bytes.loadUnaligned(fromByteOffset: i * MemoryLayout<Bits>.size, as: Bits.self))
        target.initializeElement(at: i, to: convert(bits))
      }
    }
  }
}
