internal import CKernels
internal import Foundation
internal import Testing

@testable internal import Tessera

/// The rule of Docs/Numerics.md, by sorting: the largest magnitudes as bf16 stay, of equal ones those of the first channels.
private func pruned(_ row: [Float], keeping kept: Int) -> [Float] {
  let rounded = row.map { BFloat16($0) }
  let order = row.indices.sorted {
    let (one, other) = (rounded[$0].bits & 0x7FFF, rounded[$1].bits & 0x7FFF)
    return one == other ? $0 < $1 : one > other
  }
  var held = [Float](repeating: 0, count: row.count)
  for channel in order.prefix(kept) { held[channel] = Float(rounded[channel]) }
  return held
}

@Suite struct SparseCacheTests {
  private static let formats: [KVFormat] = [.sparse50, .sparse70]

  private static func kept(_ format: KVFormat, of dimension: Int) -> Int {
    format == .sparse50 ? (dimension + 1) / 2 : (3 * dimension + 9) / 10
  }

  private static func bits(_ row: [Float]) -> [UInt32] { row.map(\.bitPattern) }

  // MARK: Rows

  @Test(arguments: formats, [1, 2, 3, 16, 31, 32, 33, 64, 80, 100, 128, 200, 4096])
  func theLargestElementsStay(format: KVFormat, dimension: Int) {
    var random = SeededGenerator(seed: UInt64(dimension))
    let part = KVPart(format.valueType, dimension: dimension)
    for round in 0..<8 {
      // Few different numbers make many ties.
      let row = (0..<dimension).map { _ -> Float in
        round % 2 == 0 ? Float.random(in: -1...1, using: &random) : Float(Int.random(in: -3...3, using: &random))
      }
      let expected = pruned(row, keeping: Self.kept(format, of: dimension))
      #expect(Self.bits(part.held(row)) == Self.bits(expected))
    }
  }

  @Test(arguments: formats)
  func zerosAreKeptWhereNothingElseIs(format: KVFormat) {
    let part = KVPart(format.valueType, dimension: 40)
    var row = [Float](repeating: -0, count: 40)
    #expect(Self.bits(part.held(row)) == Self.bits(pruned(row, keeping: Self.kept(format, of: 40))))
    row[39] = .leastNonzeroMagnitude * 0x1p20
    #expect(part.held(row)[39] == row[39])
  }

  /// NaN is larger than infinity, and infinity than any number.
  @Test(arguments: formats)
  func whatIsNotFiniteStays(format: KVFormat) {
    let part = KVPart(format.valueType, dimension: 40)
    var row = (0..<40).map { Float($0 + 1) }
    (row[0], row[1], row[2]) = (.nan, .infinity, -.infinity)
    let held = part.held(row)
    #expect(held[0].isNaN && held[1] == .infinity && held[2] == -.infinity)
    #expect(held.count { $0 != 0 } == Self.kept(format, of: 40))
    #expect(part.held(Array(repeating: .nan, count: 40)).count(where: \.isNaN) == Self.kept(format, of: 40))
  }

  @Test(arguments: formats, [1, 31, 33, 64, 128, 200])
  func rowsDoNotTouchEachOther(format: KVFormat, dimension: Int) {
    var random = SeededGenerator(seed: UInt64(dimension))
    let type = format.valueType
    let (part, other) = (KVPart(type, dimension: dimension), KVPart(type, dimension: dimension))
    func row() -> [Float] { (0..<dimension).map { _ in Float.random(in: -1...1, using: &random) } }
    for slot in 0..<64 { part.write(row(), slot: slot) }
    var held = (0..<64).map { part.read(slot: $0) }
    for slot in [5, 0, 63, 32, 31] {
      part.write(row(), slot: slot)
      held[slot] = part.read(slot: slot)
    }
    #expect((0..<64).map { part.read(slot: $0) } == held)
    for slot in 0..<64 { part.copy(slot: slot, to: other, slot: 63 - slot) }
    #expect((0..<64).map { other.read(slot: 63 - $0) } == held)
  }

  @Test func partsOfTooManyElementsDoNotExist() {
    for type in Self.formats.map(\.valueType) {
      #expect(ck_kv_part_bytes(type, Int(CK_KV_SPARSE_DIM)) > 0)
      #expect(ck_kv_part_bytes(type, Int(CK_KV_SPARSE_DIM) + 1) == 0)
      #expect(ck_kv_part_bytes(type, 0) == 0)
    }
  }

  /// Masks of a file may have any bits: kernels stay in the part, whose end the address sanitizer watches.
  @Test(arguments: formats, [1, 33, 128, 200])
  func noMaskLeadsOutOfItsPart(format: KVFormat, dimension: Int) {
    let (type, tokens, rows) = (format.valueType, 64, 5)
    let byteCount = ck_kv_part_bytes(type, dimension)
    let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 64)
    let room = UnsafeMutableRawPointer.allocate(byteCount: 1 << 20, alignment: 64)
    defer {
      memory.deallocate()
      room.deallocate()
    }
    memory.initializeMemory(as: UInt8.self, repeating: 0xFF, count: byteCount)
    let left = [Float](repeating: 1, count: rows * max(dimension, tokens))
    var y = [Float](repeating: 0, count: rows * max(dimension, tokens))
    var parts: [UnsafeRawPointer] = [UnsafeRawPointer(memory)]
    let machine = InstructionSet.detect()
    for kernel in AttentionKernel.all(.keys, format) + AttentionKernel.all(.values, format)
    where machine.isSuperset(of: kernel.instructionSets) {
      left.withUnsafeBufferPointer { left in
        parts.withUnsafeMutableBufferPointer { parts in
          guard let left = left.baseAddress, let parts = parts.baseAddress else { return }
          var span = ck_kv_span(parts: UnsafePointer(parts), tokens: tokens, dim: dimension, next: nil)
          switch kernel.function {
          case .keys(let variant):
            #expect(variant.scratch_bytes(rows, dimension) <= 1 << 20)
            var queries = ck_attention_queries(rows: rows, q: left, stride: dimension)
            variant.run(&span, &queries, &y, tokens, room)
          case .values(let variant):
            #expect(variant.scratch_bytes(rows, dimension) <= 1 << 20)
            variant.run(&span, rows, left, tokens, &y, dimension, room)
          case .latentKeys, .softmax: return
          }
        }
      }
      #expect(y[0].isNaN, "\(kernel)")
    }
  }

  // MARK: Caches

  /// Keys and values of 128: 64 values of 2 bytes and 16 bytes of masks, or 39 values.
  @Test func bytesOfAToken() throws {
    let shape = try AttentionShape(queryHeads: 32, keyValueHeads: 8, keyDimension: 128)
    #expect(KVCache(shape, keys: .sparse50, values: .sparse50).bytesPerToken == 8 * 2 * 144)
    #expect(KVCache(shape, keys: .sparse50, values: .sparse70).bytesPerToken == 8 * (144 + 94))
    #expect(KVCache(shape).bytesPerToken == 8 * 2 * 256)
  }

  private struct Numbers {
    var random: SeededGenerator
    mutating func callAsFunction(_ count: Int) -> [Float] {
      (0..<count).map { _ in Float.random(in: -1...1, using: &random) }
    }
  }

  /// A sparse cache, and a dense one of what it holds.
  private static func caches(
    _ shape: AttentionShape, keys: KVFormat, values: KVFormat, tokens: Int, _ numbers: inout Numbers
  ) throws -> (sparse: KVCache, dense: KVCache) {
    var sparse = KVCache(shape, keys: keys, values: values)
    let (newKeys, newValues) = (numbers(tokens * shape.keyWidth), numbers(tokens * shape.valueWidth))
    try sparse.append(keys: newKeys.span, values: newValues.span)
    var dense = KVCache(shape)
    func held(_ row: (Int, Int) -> [Float]) -> [Float] {
      (0..<tokens).flatMap { token in (0..<shape.keyValueHeads).flatMap { row(token, $0) } }
    }
    let (heldKeys, heldValues) = (held { sparse.key(at: $0, head: $1) }, held { sparse.value(at: $0, head: $1) })
    try dense.append(keys: heldKeys.span, values: heldValues.span)
    return (sparse, dense)
  }

  /// Levels of instructions, and the rows whose kernels are pinned: those that multiply sparse and dense rows in one order.
  private static func executors(values: KVFormat) throws -> [Executor] {
    let levels = [("scalar", 1), ("avx2", 4), ("avx512", 4), ("amx", values == .bf16 ? 4 : 16)]
    return try levels.compactMap { name, rows in
      do {
        return try Executor(threads: 1, isa: ISALevel(name), pinnedRows: rows)
      } catch TesseraError.unsupportedISA {
        return nil
      }
    }
  }

  /// Bit for bit: alone and in a batch of several lengths, causal and in a tree, all tokens and some.
  @Test(arguments: [(KVFormat.sparse50, KVFormat.sparse50), (.sparse50, .sparse70), (.sparse70, .bf16), (.bf16, .sparse70)])
  func attentionIsThatOfADenseCacheOfWhatIsHeld(keys: KVFormat, values: KVFormat) throws {
    let shape = try AttentionShape(queryHeads: 8, keyValueHeads: 2, keyDimension: 128, valueDimension: 80)
    var numbers = Numbers(random: SeededGenerator(seed: 77))
    let pairs = try [700, 65, 15].map { try Self.caches(shape, keys: keys, values: values, tokens: $0, &numbers) }
    let (sparse, dense) = (pairs.map(\.sparse.contents), pairs.map(\.dense.contents))
    let q = numbers(5 * shape.queryWidth)
    let lists = [Array(stride(from: UInt32(1), to: 700, by: 3)), Array(UInt32(300)..<533)]
    let tree = AttentionMask.tree(ancestors: [0b1, 0b11, 0b101, 0b1011, 0b10101])
    for executor in try Self.executors(values: values) {
      func same(_ one: [AttentionContents], _ other: [AttentionContents], _ tokens: [Int], _ mask: AttentionMask) throws -> Bool {
        let queries = Array(q.prefix(tokens.reduce(0, +) * shape.queryWidth))
        return try attend(executor, queries, to: one, tokens: tokens, mask: mask)
          == attend(executor, queries, to: other, tokens: tokens, mask: mask)
      }
      let name = executor.selection.level?.name ?? ""
      #expect(try same(sparse, dense, [1, 3, 1], .causal), "\(name)")
      #expect(try same([sparse[0]], [dense[0]], [5], tree), "\(name)")
      #expect(try same([sparse[0].selecting(lists)], [dense[0].selecting(lists)], [1], .all), "\(name)")
    }
  }

  /// What is stored of a token depends on the token alone: forks, truncation and guesses that were rejected leave no trace.
  @Test func historyChangesNothing() throws {
    let shape = try AttentionShape(queryHeads: 4, keyValueHeads: 2, keyDimension: 64)
    var numbers = Numbers(random: SeededGenerator(seed: 5))
    let (keys, values) = (numbers(150 * shape.keyWidth), numbers(150 * shape.valueWidth))
    func append(_ range: Range<Int>, to cache: inout KVCache) throws {
      try cache.append(
        keys: keys.span.extracting(range.lowerBound * shape.keyWidth..<range.upperBound * shape.keyWidth),
        values: values.span.extracting(range.lowerBound * shape.valueWidth..<range.upperBound * shape.valueWidth))
    }
    var straight = KVCache(shape, keys: .sparse50, values: .sparse70)
    try append(0..<150, to: &straight)
    var cache = KVCache(shape, keys: .sparse50, values: .sparse70)
    try append(0..<100, to: &cache)
    let checkpoint = cache
    try append(140..<150, to: &cache)
    try cache.truncate(to: 60)
    try append(60..<150, to: &cache)
    #expect(checkpoint.count == 100)
    for token in 0..<150 {
      for head in 0..<2 {
        #expect(cache.key(at: token, head: head) == straight.key(at: token, head: head))
        #expect(cache.value(at: token, head: head) == straight.value(at: token, head: head))
        guard token < 100 else { continue }
        #expect(checkpoint.key(at: token, head: head) == straight.key(at: token, head: head))
      }
    }
  }

  @Test func filesSayWhichSparsity() throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("tessera-sparse-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let shape = try AttentionShape(queryHeads: 4, keyValueHeads: 2, keyDimension: 40, valueDimension: 24)
    var numbers = Numbers(random: SeededGenerator(seed: 6))
    let saved = try Self.caches(shape, keys: .sparse50, values: .sparse70, tokens: 100, &numbers).sparse
    try saved.save(to: path)
    var restored = KVCache(shape, keys: .sparse50, values: .sparse70)
    try restored.restore(from: path)
    let (q, executor) = (numbers(shape.queryWidth), try Executor(threads: 1))
    #expect(try attend(executor, q, to: [restored.contents]) == attend(executor, q, to: [saved.contents]))
    var other = KVCache(shape, keys: .sparse50, values: .sparse50)
    #expect(
      throws: WeightFileError.wrongMetadata(
        file: path, key: "tessera.cache.values", detail: "'sparse-70' in the file, 'sparse-50' in this cache")
    ) { try other.restore(from: path) }
  }

  @Test func keysAreNotRebuiltFromSparseLatents() throws {
    let shape = try AttentionShape(queryHeads: 2, keyValueHeads: 2, keyDimension: 32)
    let latents = try LatentKeys(
      [Array(repeating: 0, count: 64 * 16)], ranks: [16], rotary: RotaryEmbedding(rotated: 32, theta: 10000), shape: shape)
    for format in Self.formats {
      #expect(throws: TesseraError.unsupportedLatents(format)) {
        try KVCache(shape, keys: format, latentKeys: latents, latentValues: nil)
      }
    }
  }
}
