package import CKernels

/// How a cache stores rows of keys or of values. The raw value is the name used in tables, reports and files.
public enum KVFormat: String, Sendable, CaseIterable, Codable, CustomStringConvertible {
  /// 2 bytes per element.
  case bf16
  /// A byte per element and a float for each token and head.
  case int8

  /// The raw value.
  public var description: String { rawValue }

  package var cType: ck_kv_type {
    switch self {
    case .bf16: .CK_KV_BF16
    case .int8: .CK_KV_INT8
    }
  }
}

/// The keys or the values in a block of tokens: a part for each head, one after the other.
package struct KVRows: Sendable, Hashable {
  package let format: KVFormat
  package let heads: Int
  package let dimension: Int
  /// Where the first head's part begins in a block.
  let offset: Int
  let partByteCount: Int

  init(_ format: KVFormat, heads: Int, dimension: Int, offset: Int) {
    self.format = format
    self.heads = heads
    self.dimension = dimension
    self.offset = offset
    partByteCount = ck_kv_part_bytes(format.cType, dimension)
  }

  var end: Int { offset + heads * partByteCount }
  /// Elements of a token, all heads.
  var width: Int { heads * dimension }
  /// Bytes that a token takes, its share of padding and scales included.
  var bytesPerToken: Int { heads * partByteCount / Int(CK_KV_TOKENS) }

  func part(_ head: Int, of block: KVBlock) -> UnsafeMutableRawPointer { block.base + offset + head * partByteCount }

  /// Stores one token's row of each head in `heads`.
  func write(_ row: UnsafePointer<Float>, heads: Range<Int>, slot: Int, of block: KVBlock) {
    for head in heads { ck_kv_write(format.cType, dimension, part(head, of: block), slot, row + head * dimension) }
  }

  /// What is stored of one token and head.
  func read(head: Int, slot: Int, of block: KVBlock) -> [Float] {
    [Float](unsafeUninitializedCapacity: dimension) { row, count in
      if let base = row.baseAddress { ck_kv_read(format.cType, dimension, part(head, of: block), slot, base) }
      count = dimension
    }
  }
}
