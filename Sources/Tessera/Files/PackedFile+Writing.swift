extension PackedFile {
  /// Writes packed tensors to `path`, in the given order; an existing file is replaced only when the new one is whole and
  /// durable.
  ///
  /// The parts are read twice, for their checksums and for their bytes; they may themselves be mapped, so files can be joined
  /// that do not fit in memory. The same tensors and metadata give the same bytes. Keys that begin with `tessera.` are reserved.
  /// - Throws: `invalidName`, `duplicateName`, `wrongMetadata`, `tooLarge`, `notRegularFile`, `writeFailed`.
  public static func write(
    _ tensors: [PackedTensor], metadata: [String: String] = [:], to path: String
  ) throws(WeightFileError) {
    let parts = tensors.flatMap(\.orderedParts)
    let placed = try SafetensorsWriter.place(
      parts.map { SafetensorsWriter.Tensor(name: $0.name, type: $0.layout.type, shape: $0.layout.shape) }, file: path)
    var header = try SafetensorsWriter.header(
      of: placed, metadata: try allMetadata(of: tensors, and: metadata, file: path), file: path)
    let digits = 8 + PackedPrelude.text.count
    header.replaceSubrange(
      digits..<digits + Checksum.digitCount, with: Checksum.text(PackedPrelude.checksum(ofHeader: Array(header[8...]))).utf8)

    var writer = try SafetensorsWriter(path: path, placed: placed, header: header)
    for part in parts { try writer.write(part.contents.bytes) }
    try writer.finish()
  }

  /// Version and checksum first (rule P1), then the descriptions, then the caller's keys in order.
  private static func allMetadata(
    of tensors: [PackedTensor], and metadata: [String: String], file: String
  ) throws(WeightFileError) -> [(key: String, value: String)] {
    var all = [
      (key: PackedPrelude.versionKey, value: PackedPrelude.version),
      (key: PackedPrelude.checksumKey, value: PackedPrelude.blankDigits),
    ]
    var names: Set<String> = []
    for tensor in tensors {
      guard names.insert(tensor.name).inserted else { throw WeightFileError.duplicateName(file: file, name: tensor.name) }
      all.append((PackedDescription.keyPrefix + tensor.name, tensor.description().json()))
    }
    for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
      guard !key.hasPrefix("tessera.") else {
        throw WeightFileError.wrongMetadata(file: file, key: key, detail: "keys that begin with 'tessera.' are reserved")
      }
      all.append((key, value))
    }
    return all
  }
}

extension PackedTensor {
  /// The parts that are there, in the order of the file, under their names in the container.
  fileprivate var orderedParts: [(name: String, layout: PackedPart, contents: MemoryRegion)] {
    let layout = format.parts(rows: rows, columns: columns, nonZeroCount: nonZeroCount) ?? []
    return layout.compactMap { part in parts[part.name].map { ("\(name).\(part.name)", part, $0) } }
  }

  fileprivate func description() -> PackedDescription {
    PackedDescription(
      format: format, rows: rows, columns: columns, nonZeroCount: nonZeroCount,
      checksums: parts.mapValues { Checksum.xxh64($0.bytes) })
  }
}
