internal import CKernels

/// Keys of low rank (Palu, arXiv 2407.21118): groups of key-value heads share a latent, from which their keys are rebuilt,
///
///     k[token][head] = R(position) (B[head] latent[token][group] + bias[head])
///
/// whenever a query meets them. R is the rotary embedding, so latents are cached before it.
public struct LatentKeys: Sendable {
  /// Consecutive key-value heads that share a latent.
  public let headsPerGroup: Int
  /// Elements of each group's latent.
  public let ranks: [Int]
  /// How rebuilt keys turn.
  public let rotary: RotaryEmbedding
  package let groups: [Group]
  private let table: MemoryRegion

  package struct Group: Sendable {
    let b: MemoryRegion
    let bias: MemoryRegion?
  }

  private let shape: AttentionShape

  /// - Parameters:
  ///   - b: for each group the matrix that rebuilds its keys, `headsPerGroup * shape.keyDimension` rows of the group's rank,
  ///     row after row; rounded to bfloat16.
  ///   - ranks: of each group, in order of heads.
  ///   - bias: `shape.keyWidth` numbers, added before the rotation, or nil.
  ///   - rotary: the model's.
  /// - Throws: `TesseraError.invalidShape` for ranks that are not positive, heads that do not divide into the groups, an odd head
  ///   dimension; `sizeMismatch` for matrices and a bias of other sizes; `invalidRotation`; `outOfMemory`.
  public init(
    _ b: [[Float]], ranks: [Int], bias: [Float]? = nil, rotary: RotaryEmbedding, shape: AttentionShape
  ) throws(TesseraError) {
    headsPerGroup = try checkedHeadsPerGroup(b, ranks: ranks, dimension: shape.keyDimension, shape: shape)
    guard shape.keyDimension % 2 == 0 else {
      throw .invalidShape(what: "a rebuilt key, which needs an even dimension", rows: 1, columns: shape.keyDimension)
    }
    guard rotary.rotated <= shape.keyDimension else {
      throw .invalidRotation(what: "number of elements", value: Double(rotary.rotated))
    }
    if let bias, bias.count != shape.keyWidth {
      throw .sizeMismatch(what: "bias of the keys", expected: shape.keyWidth, got: bias.count)
    }
    self.ranks = ranks
    self.rotary = rotary
    self.shape = shape
    let width = headsPerGroup * shape.keyDimension
    var groups: [Group] = []
    for (index, rank) in ranks.enumerated() {
      var form = ck_latent_group(rank: rank, headsPerGroup, shape, rotary)
      groups.append(
        Group(
          b: try MemoryRegion(byteCount: ck_latent_packed_bytes(&form)) { bytes in
            bytes.baseAddress.map { ck_latent_pack(&form, b[index], rank, $0) }
          },
          bias: try bias.map { bias throws(TesseraError) in
            try MemoryRegion(byteCount: ck_latent_packed_bias_bytes(&form)) { bytes in
              let own = Array(bias[index * width..<(index + 1) * width])
              bytes.baseAddress.map { ck_latent_pack_bias(&form, own, $0.assumingMemoryBound(to: Float.self)) }
            }
          }))
    }
    self.groups = groups
    table = try MemoryRegion(byteCount: ck_latent_table_bytes(shape.keyDimension)) { bytes in
      bytes.baseAddress.map {
        ck_latent_make_table(rotary.frequencies, rotary.rotated, shape.keyDimension, $0.assumingMemoryBound(to: Float.self))
      }
    }
  }

  /// Bytes of the matrices: read once for every chunk of 512 tokens, from the cache.
  public var byteCount: Int { groups.reduce(0) { $0 + $1.b.byteCount } }

  /// Floats of the angles at a chunk's first position.
  var originCount: Int { ck_latent_origin_bytes(shape.keyDimension) / MemoryLayout<Float>.stride }

  /// The angles at a position, `originCount` floats.
  func makeOrigin(at position: Int, into target: UnsafeMutablePointer<Float>) {
    ck_latent_make_origin(rotary.frequencies, rotary.rotated, shape.keyDimension, position, target)
  }

  /// What kernels read of a group.
  func operands(_ group: Int) -> ck_latent_group {
    var form = ck_latent_group(rank: ranks[group], headsPerGroup, shape, rotary)
    form.b = groups[group].b.base
    form.bias = groups[group].bias.map { $0.base.assumingMemoryBound(to: Float.self) }
    return form
  }

  func angles(origin: UnsafePointer<Float>) -> ck_latent_angles {
    ck_latent_angles(table: table.base.assumingMemoryBound(to: Float.self), origin: origin, gathered: nil)
  }
}

extension ck_latent_group {
  fileprivate init(rank: Int, _ headsPerGroup: Int, _ shape: AttentionShape, _ rotary: RotaryEmbedding) {
    self.init(
      rank: rank, dim: shape.keyDimension, heads: headsPerGroup, rotated: rotary.rotated,
      pairing: rotary.pairing == .halves ? .CK_PAIRS_HALVES : .CK_PAIRS_INTERLEAVED, b: nil, bias: nil)
  }
}

/// Checks the groups of one side.
func checkedHeadsPerGroup(
  _ b: [[Float]], ranks: [Int], dimension: Int, shape: AttentionShape
) throws(TesseraError) -> Int {
  guard !ranks.isEmpty, shape.keyValueHeads % ranks.count == 0 else {
    throw .invalidShape(what: "key-value heads by groups", rows: shape.keyValueHeads, columns: ranks.count)
  }
  guard b.count == ranks.count else { throw .sizeMismatch(what: "matrices of groups", expected: ranks.count, got: b.count) }
  let heads = shape.keyValueHeads / ranks.count
  for (rank, matrix) in zip(ranks, b) {
    guard (1...AttentionShape.mostDimension).contains(rank) else {
      throw .invalidShape(what: "a group's latent", rows: heads * dimension, columns: rank)
    }
    guard matrix.count == heads * dimension * rank else {
      throw .sizeMismatch(what: "matrix of a group", expected: heads * dimension * rank, got: matrix.count)
    }
  }
  return heads
}
