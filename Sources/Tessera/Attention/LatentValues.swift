internal import CKernels

/// Values of low rank (Palu, arXiv 2407.21118): groups of key-value heads share a latent, and
///
///     sum over tokens of p v[head] = B[head] (sum over tokens of p latent[group]) + bias[head]
///
/// because the p of a query sum to 1. So latents are summed, and B is applied once for each query, or not at all: where the
/// output projection has taken it in.
public struct LatentValues: Sendable {
  /// Consecutive key-value heads that share a latent.
  public let headsPerGroup: Int
  /// Elements of each group's latent.
  public let ranks: [Int]
  /// For each key-value head B, which lifts sums of latents; nil where the output projection does it.
  package let lifts: [DenseWeights]?

  /// - Parameters:
  ///   - b: for each group the matrix that lifts its latents, `headsPerGroup * shape.valueDimension` rows of the group's rank,
  ///     row after row; rounded to bfloat16.
  ///   - ranks: of each group, in order of heads.
  ///   - bias: `shape.valueWidth` numbers or nil.
  /// - Throws: `TesseraError.invalidShape`, `sizeMismatch`, `outOfMemory`, as for `LatentKeys`.
  public init(_ b: [[Float]], ranks: [Int], bias: [Float]? = nil, shape: AttentionShape) throws(TesseraError) {
    headsPerGroup = try checkedHeadsPerGroup(b, ranks: ranks, dimension: shape.valueDimension, shape: shape)
    if let bias, bias.count != shape.valueWidth {
      throw .sizeMismatch(what: "bias of the values", expected: shape.valueWidth, got: bias.count)
    }
    self.ranks = ranks
    let dimension = shape.valueDimension
    var lifts: [DenseWeights] = []
    for head in 0..<shape.keyValueHeads {
      let (group, index) = head.quotientAndRemainder(dividingBy: headsPerGroup)
      let count = dimension * ranks[group]
      let rows = b[group][index * count..<(index + 1) * count].map { BFloat16($0) }
      let own = bias.map { Array($0[head * dimension..<(head + 1) * dimension]) }
      lifts.append(try DenseWeights(packing: rows.span, outputs: dimension, inputs: ranks[group], bias: own))
    }
    self.lifts = lifts
  }

  /// Latents whose lift is part of the output projection: attention gives the sums of latents, for each query head its group's.
  /// - Throws: `TesseraError.invalidShape`.
  public init(fusedRanks ranks: [Int], shape: AttentionShape) throws(TesseraError) {
    guard !ranks.isEmpty, shape.keyValueHeads % ranks.count == 0 else {
      throw .invalidShape(what: "key-value heads by groups", rows: shape.keyValueHeads, columns: ranks.count)
    }
    for rank in ranks where !(1...AttentionShape.mostDimension).contains(rank) {
      throw .invalidShape(what: "a group's latent", rows: 1, columns: rank)
    }
    headsPerGroup = shape.keyValueHeads / ranks.count
    self.ranks = ranks
    lifts = nil
  }

  /// Bytes of the matrices, read once a step.
  public var byteCount: Int { lifts?.reduce(0) { $0 + $1.byteCount } ?? 0 }
}
