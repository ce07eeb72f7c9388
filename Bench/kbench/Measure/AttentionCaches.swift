internal import Tessera

/// How a cache is stored, as `--format` names it.
///
/// Palu's keep half of the rank: keys in groups of one head (`palu-`) or of four (`palu-g4-`), values of four, lifted. Those of
/// values alone (`palu-v-`) hold whole keys in bf16.
enum AttentionFormat: String, CaseIterable {
  case bf16
  case int8
  case razerG16 = "razer-g16"
  case sparse50 = "sparse-50"
  case sparse70 = "sparse-70"
  case paluBF16 = "palu-bf16"
  case paluInt8 = "palu-int8"
  case paluInt4 = "palu-int4"
  case paluInt3 = "palu-int3"
  case paluInt2 = "palu-int2"
  case paluGroupsBF16 = "palu-g4-bf16"
  case paluGroupsInt4 = "palu-g4-int4"
  case paluValuesBF16 = "palu-v-bf16"
  case paluValuesInt4 = "palu-v-int4"

  /// Those that are measured unless others are asked for.
  static let usual: [AttentionFormat] = [.bf16, .int8, .razerG16, .sparse50, .paluBF16, .paluInt4]

  /// Of keys, or of their latents.
  var keys: KVFormat { self == .paluValuesInt4 ? .bf16 : values }

  /// Of values, or of their latents.
  var values: KVFormat {
    switch self {
    case .bf16, .paluBF16, .paluGroupsBF16, .paluValuesBF16: .bf16
    case .int8: .int8
    case .razerG16: .razerG16
    case .sparse50: .sparse50
    case .sparse70: .sparse70
    case .paluInt8: .affine8
    case .paluInt4, .paluGroupsInt4, .paluValuesInt4: .affine4
    case .paluInt3: .affine3
    case .paluInt2: .affine2
    }
  }

  /// Heads that share a latent of keys; nil where keys are whole.
  private var headsOfKeys: Int? {
    switch self {
    case .bf16, .int8, .razerG16, .sparse50, .sparse70, .paluValuesBF16, .paluValuesInt4: nil
    case .paluBF16, .paluInt8, .paluInt4, .paluInt3, .paluInt2: 1
    case .paluGroupsBF16, .paluGroupsInt4: 4
    }
  }

  /// Whether caches hold latents of values, and maybe of keys.
  var isLatent: Bool { headsOfKeys != nil || self == .paluValuesBF16 || self == .paluValuesInt4 }

  func emptyCache(_ shape: AttentionShape, seed: UInt64) throws(TesseraError) -> KVCache {
    guard isLatent else { return KVCache(shape, keys: keys, values: values) }
    let lifts = LatentGroups(4, of: shape, dimension: shape.valueDimension, seed: seed &+ 1)
    return try KVCache(
      shape, keys: keys, latentKeys: latentKeys(shape, seed: seed), values: values,
      latentValues: LatentValues(lifts.matrices, ranks: lifts.ranks, shape: shape))
  }

  private func latentKeys(_ shape: AttentionShape, seed: UInt64) throws(TesseraError) -> LatentKeys? {
    guard let headsOfKeys else { return nil }
    let groups = LatentGroups(headsOfKeys, of: shape, dimension: shape.keyDimension, seed: seed)
    let rotary = try RotaryEmbedding(
      rotated: shape.keyDimension, theta: 500_000,
      scaling: .llama3(factor: 8, lowFactor: 1, highFactor: 4, originalContext: 8192))
    return try LatentKeys(groups.matrices, ranks: groups.ranks, rotary: rotary, shape: shape)
  }

  /// The kernels for keys and values that a selection chooses.
  func kernels(of selection: KernelSelection, rows: Int) -> [AttentionKernel] {
    [
      selection.attention(headsOfKeys == nil ? .keys : .latentKeys, keys, rows: rows),
      selection.attention(.values, values, rows: rows),
    ]
  }
}

/// Random matrices that lift latents of half the rank to numbers of variance 1.
private struct LatentGroups {
  let ranks: [Int]
  let matrices: [[Float]]

  /// Groups of `heads` heads, or of fewer where that does not divide them.
  init(_ heads: Int, of shape: AttentionShape, dimension: Int, seed: UInt64) {
    let width = ((1...heads).last { shape.keyValueHeads % $0 == 0 } ?? 1) * dimension
    let rank = (width / 2 + 31) / 32 * 32
    ranks = Array(repeating: rank, count: shape.keyValueHeads * dimension / width)
    matrices = ranks.indices.map { group in
      var generator = SplitMix64(seed: seed, stream: group)
      return (0..<width * rank).map { _ in generator.normal() / Float(rank).squareRoot() }
    }
  }
}

/// Caches of one sequence in memory of their own, taken in turn so that each is cold when its turn comes.
final class AttentionCaches {
  let format: AttentionFormat
  private let caches: [KVCache]
  private var turn = 0

  /// As many copies as `byteCount` bytes hold, at least one.
  init(_ format: AttentionFormat, _ rows: AttentionRows, byteCount: Int, on executor: Executor) throws(TesseraError) {
    self.format = format
    var first = try format.emptyCache(rows.shape, seed: rows.seed)
    try rows.fill(&first, on: executor)
    var caches = [first]
    while caches.count < byteCount / first.byteCount { caches.append(try first.copied()) }
    self.caches = caches
  }

  var byteCount: Int { caches.count * caches[0].byteCount }
  /// Bytes that one step reads.
  var bytesRead: Int { caches[0].count * caches[0].bytesPerToken }

  func next() -> AttentionContents {
    turn = (turn + 1) % caches.count
    return caches[turn].contents
  }

  /// The first tokens of the cache, few enough for the scalar reference.
  func beginning(tokens: Int) throws(TesseraError) -> AttentionContents {
    var fork = caches[0]
    try fork.truncate(to: min(tokens, fork.count))
    return fork.contents
  }
}

/// Normal random keys, values and queries of a sequence.
struct AttentionRows {
  let shape: AttentionShape
  let context: Int
  let seed: UInt64

  /// Tokens that are made at once.
  private static let blockTokens = 512

  init(_ shape: AttentionShape, context: Int, seed: UInt64) {
    self.shape = shape
    self.context = context
    self.seed = seed
  }

  func fill(_ cache: inout KVCache, on executor: Executor) throws(TesseraError) {
    for first in stride(from: 0, to: context, by: AttentionRows.blockTokens) {
      let tokens = min(AttentionRows.blockTokens, context - first)
      let keys = numbers(tokens * cache.keyWidth, stream: first), values = numbers(tokens * cache.valueWidth, stream: first + 1)
      try cache.append(keys: keys.span, values: values.span, on: executor)
    }
  }

  func queries(tokens: Int) -> [Float] { numbers(tokens * shape.queryWidth, stream: -1) }

  private func numbers(_ count: Int, stream: Int) -> [Float] {
    var generator = SplitMix64(seed: seed, stream: stream)
    return (0..<count).map { _ in generator.normal() }
  }
}
