internal import CKernels

extension KVCache {
  /// Writes the cache to a file, from which `restore` continues: a long prompt is computed once. An existing file is replaced
  /// only when the new one is whole and durable.
  ///
  /// The file is safetensors: one tensor `blocks` of bytes, a row for each block of tokens, and metadata that describe it
  /// (Docs/Formats.md, "Caches").
  /// - Parameters:
  ///   - path: of the file.
  ///   - model: whatever names the model and its layer; `restore` refuses a file with another name.
  /// - Throws: `writeFailed`, `notRegularFile`, `tooLarge`.
  public func save(to path: String, model: String = "") throws(WeightFileError) {
    let description = description(model: model)
    let metadata =
      [(key: CacheFile.versionKey, value: CacheFile.version)] + description + [
        (key: CacheFile.tokensKey, value: "\(count)"),
        (key: CacheFile.checksumKey, value: Checksum.text(CacheFile.checksum(description, tokens: count, blocks: blockBytes))),
      ]
    let tensor = SafetensorsWriter.Tensor(name: CacheFile.tensor, type: .u8, shape: [blockBytes.count, blockByteCount])
    var writer = try SafetensorsWriter(path: path, tensors: [tensor], metadata: metadata)
    for block in blockBytes { try writer.write(block) }
    try writer.finish()
  }

  /// Replaces the contents by those of a file that a cache of the same heads, formats and ranks has saved.
  /// - Parameters:
  ///   - path: of the file.
  ///   - model: the name that was given to `save`.
  /// - Throws: `wrongMetadata` with both sides where the file's cache is another one; `unsupportedVersion`, `badShape`,
  ///   `checksumMismatch` and what is wrong with the container; `outOfMemory`. The cache is then as before.
  public mutating func restore(from path: String, model: String = "") throws(WeightFileError) {
    let mapped = try MappedFile(path: path)
    defer { withExtendedLifetime(mapped) {} }
    let header = try SafetensorsHeader(parsing: mapped.bytes, file: path)
    let file = CacheFile(header: header, contents: mapped.bytes, path: path)
    let description = description(model: model)
    try file.checkDescription(description)
    let tokens = try file.tokens(atMost: KVCache.mostTokens)
    let blocks = try file.blocks(tokens: tokens, blockByteCount: blockByteCount)
    try file.checkChecksum(description, tokens: tokens, blocks: blocks)

    var restored = emptied()
    do throws(TesseraError) {
      try restored.fill(tokens: tokens, from: blocks)
    } catch {
      throw .outOfMemory(file: path, tensor: CacheFile.tensor, byteCount: UInt64(tokens) * UInt64(bytesPerToken))
    }
    self = restored
  }

  /// What a cache must have in common with a file's, in the order of the file.
  private func description(model: String) -> [(key: String, value: String)] {
    let heads = "\(shape.queryHeads) query heads, \(shape.keyValueHeads) key-value heads"
    let dimensions = "keys of \(shape.keyDimension), values of \(shape.valueDimension), scale \(shape.scale)"
    func rows(_ format: KVFormat, _ ranks: [Int]?) -> String {
      guard let ranks else { return format.rawValue }
      return "\(format.rawValue) latents of rank " + ranks.map { "\($0)" }.joined(separator: ", ")
    }
    return [
      (key: "tessera.cache.model", value: model), (key: "tessera.cache.shape", value: "\(heads), \(dimensions)"),
      (key: "tessera.cache.keys", value: rows(keyFormat, latentKeys?.ranks)),
      (key: "tessera.cache.values", value: rows(valueFormat, latentValues?.ranks)),
    ]
  }
}

/// What is particular to files of caches.
private struct CacheFile {
  static let version = "1"
  static let versionKey = "tessera.cache"
  static let tokensKey = "tessera.cache.tokens"
  static let checksumKey = "tessera.cache.checksum"
  static let tensor = "blocks"

  let header: SafetensorsHeader
  let contents: UnsafeRawBufferPointer
  let path: String

  /// XXH64 of a text: the description's values, the count of tokens and the checksum of each block, a line each.
  static func checksum(
    _ description: [(key: String, value: String)], tokens: Int, blocks: [UnsafeRawBufferPointer]
  ) -> UInt64 {
    var lines = description.map(\.value)
    lines.append("\(tokens)")
    lines += blocks.map { Checksum.text(Checksum.xxh64($0)) }
    return Array(lines.joined(separator: "\n").utf8).withUnsafeBytes { Checksum.xxh64($0) }
  }

  func checkDescription(_ description: [(key: String, value: String)]) throws(WeightFileError) {
    guard let version = header.metadata[CacheFile.versionKey] else {
      throw .wrongMetadata(file: path, key: CacheFile.versionKey, detail: "absent: this is no file of a cache")
    }
    guard version == CacheFile.version else {
      throw .unsupportedVersion(
        file: path, got: String(version.unicodeScalars.prefix(32)), supported: CacheFile.version)
    }
    for (key, expected) in description {
      guard let got = header.metadata[key] else { throw .wrongMetadata(file: path, key: key, detail: "absent") }
      guard got.utf8.elementsEqual(expected.utf8) else {
        let got = String(got.unicodeScalars.prefix(200))
        throw .wrongMetadata(file: path, key: key, detail: "'\(got)' in the file, '\(expected)' in this cache")
      }
    }
  }

  func tokens(atMost most: Int) throws(WeightFileError) -> Int {
    guard let text = header.metadata[CacheFile.tokensKey], let tokens = Int(text), (0...most).contains(tokens) else {
      throw .wrongMetadata(file: path, key: CacheFile.tokensKey, detail: "no number in 0...\(most)")
    }
    return tokens
  }

  /// The bytes of each block.
  func blocks(tokens: Int, blockByteCount: Int) throws(WeightFileError) -> [UnsafeRawBufferPointer] {
    guard let tensor = header[CacheFile.tensor] else { throw .missingTensor(file: path, tensor: CacheFile.tensor) }
    let count = (tokens + Int(CK_KV_TOKENS) - 1) / Int(CK_KV_TOKENS)
    guard tensor.type == .u8, tensor.shape == [count, blockByteCount] else {
      throw .badShape(
        file: path, tensor: CacheFile.tensor, shape: tensor.shape.map { UInt64($0) },
        detail: "\(tokens) tokens take \(count) x \(blockByteCount) U8")
    }
    return (0..<count).map {
      let begin = tensor.offset + $0 * blockByteCount
      return UnsafeRawBufferPointer(rebasing: contents[begin..<begin + blockByteCount])
    }
  }

  func checkChecksum(
    _ description: [(key: String, value: String)], tokens: Int, blocks: [UnsafeRawBufferPointer]
  ) throws(WeightFileError) {
    guard let recorded = header.metadata[CacheFile.checksumKey].flatMap(Checksum.parse) else {
      throw .wrongMetadata(file: path, key: CacheFile.checksumKey, detail: "no 16 hexadecimal digits")
    }
    let computed = CacheFile.checksum(description, tokens: tokens, blocks: blocks)
    guard computed == recorded else {
      throw .checksumMismatch(file: path, tensor: CacheFile.tensor, expected: recorded, got: computed)
    }
  }
}
