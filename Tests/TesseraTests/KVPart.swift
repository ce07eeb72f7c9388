internal import CKernels

/// A part of a cache, rows of one type and dimension. Before the first row it holds a pattern that is no row.
final class KVPart {
  let type: ck_kv_type
  let dimension: Int
  private let memory: UnsafeMutableRawPointer

  init(_ type: ck_kv_type, dimension: Int) {
    self.type = type
    self.dimension = dimension
    let byteCount = ck_kv_part_bytes(type, dimension)
    memory = .allocate(byteCount: byteCount, alignment: 64)
    memory.initializeMemory(as: UInt8.self, repeating: 0xA5, count: byteCount)
  }

  deinit { memory.deallocate() }

  func write(_ row: [Float], slot: Int) { ck_kv_write(type, dimension, memory, slot, row) }

  func read(slot: Int) -> [Float] {
    var row = [Float](repeating: .nan, count: dimension)
    ck_kv_read(type, dimension, memory, slot, &row)
    return row
  }

  func copy(slot: Int, to other: KVPart, slot otherSlot: Int) {
    ck_kv_copy(type, dimension, memory, slot, other.memory, otherSlot)
  }

  /// What is left of a row in the last slot.
  func held(_ row: [Float]) -> [Float] {
    let last = Int(CK_KV_TOKENS) - 1
    write(row, slot: last)
    return read(slot: last)
  }
}
