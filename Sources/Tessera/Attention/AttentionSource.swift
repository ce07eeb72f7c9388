internal import CKernels

/// Where the threads of a call find a sequence: plain memory in the workspace.
///
/// Caches' own values count references, and threads that count the same ones wait for each other's cache lines. What every unit
/// of work reads is therefore laid out once a call.
struct AttentionSource: @unchecked Sendable {
  // Sendable: the pointers are read while the call that laid them out runs.
  let shape: AttentionShape
  /// Tokens that can be looked at.
  let count: Int
  /// Query tokens, the last ones of the cache.
  let queries: Int
  let q: UnsafePointer<Float>
  let keys: Side
  let values: Side
  /// The blocks of tokens in order.
  let blocks: UnsafePointer<UnsafeRawPointer>
  /// For each cell's heads the positions that they look at; nil means all.
  let selected: UnsafePointer<UnsafePointer<UInt32>>?
  /// For each token of a tree what it sees of the tree; nil where there is no tree.
  let ancestors: UnsafePointer<UInt64>?
  let isCausal: Bool
  /// For keys that are rebuilt: each group's operands, the common angles, and those at the first position of every chunk, which
  /// lie `originCount` floats apart.
  let latents: UnsafePointer<ck_latent_group>?
  let angles: ck_latent_angles
  let originCount: Int

  /// The keys or the values.
  struct Side {
    let type: ck_kv_type
    let headsPerPart: Int
    let mostDimension: Int
    let parts: UnsafePointer<KVRows.Part>
  }

  /// How many tokens a query sees, those excepted that a tree hides.
  func visible(to query: Int) -> Int { isCausal ? count - queries + query + 1 : count }

  /// Where a block's tokens of a part lie.
  func address(_ side: Side, _ part: Int, block: Int) -> UnsafeRawPointer { blocks[block] + side.parts[part].offset }
}

/// Lays out sources one after the other: first counted, without memory, then written.
struct AttentionSourceWriter {
  private let base: UnsafeMutableRawPointer?
  private(set) var byteCount = 0

  init(at base: UnsafeMutableRawPointer?) { self.base = base }

  /// nil while only counting.
  mutating func source(of sequence: AttentionSequence) -> AttentionSource? {
    let contents = sequence.contents
    let (latents, isTree) = (contents.latents, sequence.mask.ancestors != nil)
    let keyParts = copy(contents.keys.parts), valueParts = copy(contents.values.parts)
    let blocks = room(for: UnsafeRawPointer.self, contents.blocks.count)
    contents.blocks.withUnsafeBufferPointer { source in
      guard let blocks else { return }
      for (index, block) in source.enumerated() { blocks[index] = UnsafeRawPointer(block.base) }
    }
    let lists = contents.selected.map { lists in lists.map { copy($0) } }
    let selected = lists.map { lists in copy(lists.compactMap(\.self), room: lists.count) }
    let ancestors = copy(sequence.mask.ancestors ?? [])
    let groups = latents.keys.map { keys in copy(keys.groups.indices.map(keys.operands)) }
    let origins = copy(latents.origins)
    guard let keyParts, let valueParts, let blocks, let ancestors, let origins else { return nil }
    return AttentionSource(
      shape: contents.shape, count: contents.count, queries: sequence.queries, q: sequence.q,
      keys: contents.keys.side(keyParts), values: contents.values.side(valueParts), blocks: UnsafePointer(blocks),
      selected: selected ?? nil, ancestors: isTree ? ancestors : nil, isCausal: sequence.mask != .all, latents: groups ?? nil,
      angles: latents.keys.map { $0.angles(origin: origins) } ?? ck_latent_angles(table: origins, origin: origins, gathered: nil),
      originCount: latents.keys?.originCount ?? 0)
  }

  private mutating func copy<Element>(_ elements: [Element], room count: Int? = nil) -> UnsafePointer<Element>? {
    guard let target = room(for: Element.self, count ?? elements.count) else { return nil }
    target.initialize(from: elements, count: elements.count)
    return UnsafePointer(target)
  }

  /// Every array begins on a cache line.
  private mutating func room<Element>(for type: Element.Type, _ count: Int) -> UnsafeMutablePointer<Element>? {
    defer { byteCount += (count * MemoryLayout<Element>.stride + 63) / 64 * 64 }
    return base.map { ($0 + byteCount).bindMemory(to: type, capacity: count) }
  }
}

extension KVRows {
  fileprivate func side(_ parts: UnsafePointer<Part>) -> AttentionSource.Side {
    AttentionSource.Side(type: type, headsPerPart: headsPerPart, mostDimension: mostDimension, parts: parts)
  }
}
