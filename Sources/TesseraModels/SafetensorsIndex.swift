internal import Tessera

/// `model.safetensors.index.json`: which file of a sharded checkpoint holds which tensor (rules I1 to I4 of Docs/Formats.md).
///
///     {"metadata": {...}, "weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors", ...}}
struct SafetensorsIndex {
  /// Files in order of their names, each with the tensors it must hold.
  let shards: [(file: String, tensors: Set<String>)]

  private static let maximumByteCount = 100_000_000

  init(path: String) throws(WeightFileError) {
    let file = try MappedFile(path: path)
    guard file.byteCount <= SafetensorsIndex.maximumByteCount else {
      throw WeightFileError.tooLarge(
        file: path, what: "the index", value: UInt64(file.byteCount), limit: UInt64(SafetensorsIndex.maximumByteCount))
    }
    self = try file.withBytes { (bytes) throws(WeightFileError) in try SafetensorsIndex(parsing: bytes, file: path) }
  }

  /// - Throws: `malformedHeader`, `duplicateName`, `wrongMetadata` without a weight_map, `unsafePath`.
  init(parsing bytes: UnsafeRawBufferPointer, file: String) throws(WeightFileError) {
    var shards: [String: Set<String>]?
    var reader = JSONReader(bytes, file: file)
    try reader.object { (reader, member) throws(WeightFileError) in
      guard member == "weight_map" else { return try reader.skipValue() }
      var map: [String: Set<String>] = [:]
      try reader.object { (reader, tensor) throws(WeightFileError) in
        let name = try reader.name()
        guard SafetensorsIndex.isPlainFileName(name) else { throw WeightFileError.unsafePath(file: file, name: name) }
        map[name, default: []].insert(tensor)
      }
      shards = map
    }
    try reader.end(allowing: .whiteSpace)
    guard let shards, !shards.isEmpty else {
      throw WeightFileError.wrongMetadata(file: file, key: "weight_map", detail: "absent or empty")
    }
    self.shards = shards.sorted { $0.key < $1.key }.map { (file: $0.key, tensors: $0.value) }
  }

  /// One component that names a file of the same folder.
  private static func isPlainFileName(_ name: String) -> Bool {
    !name.isEmpty && name != "." && name != ".."
      && !name.utf8.contains { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "\\") || $0 == 0 }
  }
}
