package import CKernels

/// The keys or the values in a block of tokens: a part for each head, or for each group of heads that share a latent, one after
/// the other.
package struct KVRows: Sendable {
  package let format: KVFormat
  package let type: ck_kv_type
  package let parts: [Part]
  /// Key-value heads that share a part.
  let headsPerPart: Int
  let offset: Int

  package struct Part: Sendable {
    /// Elements of a row.
    package let dimension: Int
    /// Where the part begins in a block.
    let offset: Int
    let byteCount: Int
    /// Where its elements begin in a token's row of all parts.
    let column: Int
  }

  /// - Parameter dimensions: of each part.
  init(_ format: KVFormat, type: ck_kv_type, dimensions: [Int], headsPerPart: Int, offset: Int) {
    self.format = format
    self.type = type
    self.headsPerPart = headsPerPart
    self.offset = offset
    var (place, column) = (offset, 0)
    parts = dimensions.map { dimension in
      let byteCount = ck_kv_part_bytes(type, dimension)
      precondition(byteCount > 0, "no part holds rows of \(dimension) \(format) elements")
      defer {
        place += byteCount
        column += dimension
      }
      return Part(dimension: dimension, offset: place, byteCount: byteCount, column: column)
    }
  }

  var byteCount: Int { parts.reduce(0) { $0 + $1.byteCount } }
  var end: Int { offset + byteCount }
  /// Elements of a token, all parts.
  var width: Int { parts.reduce(0) { $0 + $1.dimension } }
  /// Bytes that a token takes, its share of padding and scales included.
  var bytesPerToken: Int { byteCount / Int(CK_KV_TOKENS) }
  var mostDimension: Int { parts.reduce(0) { max($0, $1.dimension) } }
  var mostPartBytes: Int { parts.reduce(0) { max($0, $1.byteCount) } }

  func address(_ part: Int, of block: KVBlock) -> UnsafeMutableRawPointer { block.base + parts[part].offset }

  /// Stores one token's rows of some parts.
  func write(_ row: UnsafePointer<Float>, parts range: Range<Int>, slot: Int, of block: KVBlock) {
    for part in range { ck_kv_write(type, parts[part].dimension, address(part, of: block), slot, row + parts[part].column) }
  }

  /// What is stored of one token and part.
  func read(_ part: Int, slot: Int, of block: KVBlock) -> [Float] {
    let dimension = parts[part].dimension
    return [Float](unsafeUninitializedCapacity: dimension) { row, count in
      if let base = row.baseAddress { ck_kv_read(type, dimension, address(part, of: block), slot, base) }
      count = dimension
    }
  }

  /// Copies a token's row to another part, bit for bit.
  func copy(_ part: Int, slot: Int, of block: KVBlock, to target: UnsafeMutableRawPointer, slot targetSlot: Int) {
    ck_kv_copy(type, parts[part].dimension, address(part, of: block), slot, target, targetSlot)
  }
}

extension KVFormat {
  /// Of keys that are read as they are; nil where no kernel does.
  package var keyType: ck_kv_type? {
    switch self {
    case .bf16: .CK_KV_BF16
    case .int8: .CK_KV_INT8
    case .razerG16: .CK_KV_RAZER_KEYS
    case .sparse50: .CK_KV_SPARSE50
    case .sparse70: .CK_KV_SPARSE70
    case .affine8, .affine4, .affine3, .affine2: nil
    }
  }

  /// Of values and of their latents.
  package var valueType: ck_kv_type {
    switch self {
    case .bf16: .CK_KV_BF16
    case .int8: .CK_KV_INT8
    case .razerG16: .CK_KV_RAZER_VALUES
    case .sparse50: .CK_KV_SPARSE50
    case .sparse70: .CK_KV_SPARSE70
    case .affine8: .CK_KV_AFFINE8
    case .affine4: .CK_KV_AFFINE4
    case .affine3: .CK_KV_AFFINE3
    case .affine2: .CK_KV_AFFINE2
    }
  }

  /// Of latents from which keys are rebuilt; nil where no kernel does.
  package var latentKeyType: ck_kv_type? {
    switch self {
    case .bf16: .CK_KV_LATENT_BF16
    case .int8, .razerG16, .sparse50, .sparse70: nil
    case .affine8: .CK_KV_LATENT_AFFINE8
    case .affine4: .CK_KV_LATENT_AFFINE4
    case .affine3: .CK_KV_LATENT_AFFINE3
    case .affine2: .CK_KV_LATENT_AFFINE2
    }
  }
}
