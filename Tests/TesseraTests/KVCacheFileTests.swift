internal import Foundation
internal import Testing

@testable internal import Tessera

/// Files of caches, in a folder of their own.
@Suite final class KVCacheFileTests {
  private let folder: URL
  private var path: String { folder.appendingPathComponent("cache.safetensors").path }
  private var random = SeededGenerator(seed: 44)

  init() throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("tessera-cache-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  private static func shape() throws -> AttentionShape {
    try AttentionShape(queryHeads: 4, keyValueHeads: 2, keyDimension: 40, valueDimension: 24)
  }

  private func numbers(_ count: Int) -> [Float] { (0..<count).map { _ in Float.random(in: -2...2, using: &random) } }

  private func append(_ tokens: Int, to cache: inout KVCache) throws {
    let (keys, values) = (numbers(tokens * cache.keyWidth), numbers(tokens * cache.valueWidth))
    try cache.append(keys: keys.span, values: values.span)
  }

  private func filled(_ tokens: Int, keys: KVFormat = .bf16, values: KVFormat = .bf16) throws -> KVCache {
    var cache = KVCache(try Self.shape(), keys: keys, values: values)
    if tokens > 0 { try append(tokens, to: &cache) }
    return cache
  }

  private func rows(_ cache: KVCache) -> [[Float]] {
    (0..<cache.count).flatMap { token in
      (0..<cache.shape.keyValueHeads).flatMap { [cache.key(at: token, head: $0), cache.value(at: token, head: $0)] }
    }
  }

  @Test(arguments: KVFormat.ofWholeKeys, [0, 1, 64, 150])
  func continuesWhereItStopped(format: KVFormat, tokens: Int) throws {
    let saved = try filled(tokens, keys: format, values: format == .bf16 ? .int8 : .bf16)
    try saved.save(to: path, model: "tests, layer 3")
    var restored = try filled(70, keys: saved.keyFormat, values: saved.valueFormat)
    try restored.restore(from: path, model: "tests, layer 3")
    #expect(restored.count == tokens)
    #expect(rows(restored) == rows(saved))

    // What comes next goes to memory of its own.
    var (one, other) = (saved, restored)
    let (keys, values) = (numbers(3 * saved.keyWidth), numbers(3 * saved.valueWidth))
    try one.append(keys: keys.span, values: values.span)
    try other.append(keys: keys.span, values: values.span)
    let queries = numbers(3 * saved.shape.queryWidth)
    let executor = try Executor(threads: 1)
    #expect(
      try attend(executor, queries, to: [one.contents], tokens: [3])
        == attend(executor, queries, to: [other.contents], tokens: [3]))
  }

  @Test func theSameCacheGivesTheSameBytes() throws {
    let cache = try filled(100)
    try cache.save(to: path)
    let first = try Data(contentsOf: URL(fileURLWithPath: path))
    try cache.save(to: path)
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == first)
  }

  @Test func latentsComeBack() throws {
    let shape = try AttentionShape(queryHeads: 4, keyValueHeads: 2, keyDimension: 32)
    func cache(ranks: [Int]) throws -> KVCache {
      let latents = try LatentKeys(
        ranks.map { Array(repeating: 0.25, count: 2 / ranks.count * 32 * $0) }, ranks: ranks,
        rotary: RotaryEmbedding(rotated: 32, theta: 10000), shape: shape)
      return try KVCache(shape, latentKeys: latents, latentValues: nil)
    }
    var saved = try cache(ranks: [20, 7])
    try append(600, to: &saved)
    try saved.save(to: path)
    var restored = try cache(ranks: [20, 7])
    try restored.restore(from: path)
    let (queries, executor) = (numbers(shape.queryWidth), try Executor(threads: 1))
    #expect(try attend(executor, queries, to: [saved.contents]) == attend(executor, queries, to: [restored.contents]))

    var other = try cache(ranks: [32])
    #expect(
      throws: WeightFileError.wrongMetadata(
        file: path, key: "tessera.cache.keys",
        detail: "'bf16 latents of rank 20, 7' in the file, 'bf16 latents of rank 32' in this cache")
    ) { try other.restore(from: path) }
  }

  @Test func refusesAnotherModelsCache() throws {
    try filled(10).save(to: path, model: "one")
    var cache = try filled(5)
    let before = rows(cache)
    #expect(
      throws: WeightFileError.wrongMetadata(
        file: path, key: "tessera.cache.model", detail: "'one' in the file, 'other' in this cache")
    ) { try cache.restore(from: path, model: "other") }
    var otherFormat = try filled(5, keys: .int8)
    #expect(
      throws: WeightFileError.wrongMetadata(
        file: path, key: "tessera.cache.keys", detail: "'bf16' in the file, 'int8' in this cache")
    ) { try otherFormat.restore(from: path, model: "one") }
    var otherShape = KVCache(try AttentionShape(queryHeads: 4, keyValueHeads: 2, keyDimension: 40))
    #expect {
      try otherShape.restore(from: path, model: "one")
    } throws: { error in
      guard case .wrongMetadata(_, "tessera.cache.shape", _)? = error as? WeightFileError else { return false }
      return true
    }
    #expect(rows(cache) == before)
  }

  @Test func refusesWhatIsNoCache() throws {
    var cache = try filled(5)
    #expect(throws: WeightFileError.cannotOpen(file: path, errno: ENOENT)) { try cache.restore(from: self.path) }
    let writer = try SafetensorsWriter(path: path, tensors: [])
    try writer.finish()
    #expect(
      throws: WeightFileError.wrongMetadata(
        file: path, key: "tessera.cache", detail: "absent: this is no file of a cache")
    ) { try cache.restore(from: self.path) }
  }

  /// Cut short anywhere, or with any bit wrong: an error, and the cache as it was.
  @Test func damageIsFound() throws {
    let saved = try filled(70, keys: .int8)
    try saved.save(to: path)
    let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
    var cache = try filled(5, keys: .int8)
    let before = rows(cache)
    var damaged: [[UInt8]] = stride(from: 0, to: bytes.count, by: 331).map { Array(bytes[..<$0]) }
    for _ in 0..<300 {
      // Spaces fill the header up; one that turns into another white space changes nothing.
      var place = Int.random(in: 0..<bytes.count, using: &random)
      if Bool.random(using: &random) { place %= 600 }
      var copy = bytes
      copy[place] ^= 1 << UInt8.random(in: 0...7, using: &random)
      if bytes[place] != UInt8(ascii: " ") { damaged.append(copy) }
    }
    for bytes in damaged {
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      #expect(throws: WeightFileError.self) { try cache.restore(from: self.path) }
    }
    #expect(rows(cache) == before)
  }
}
