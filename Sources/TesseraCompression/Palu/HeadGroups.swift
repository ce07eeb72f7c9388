/// How the heads of a key or value projection share latents: each `headsPerGroup` consecutive ones have a latent in common.
///
/// After Palu (Chang et al., arXiv 2407.21118), whose names for the three ways to group stand at `Granularity`.
public struct HeadGroups: Sendable, Hashable {
  /// Key-value heads of the layer.
  public let heads: Int
  /// Elements of a head.
  public let headDimension: Int
  /// Divides `heads`.
  public let headsPerGroup: Int

  public enum Granularity: Sendable, Hashable {
    /// Each head has a latent of its own: M-LRD.
    case perHead
    /// So many heads share one: G-LRD.
    case perGroup(heads: Int)
    /// All heads of the layer share one: J-LRD.
    case joint
  }

  /// - Throws: `invalidShape` for sizes that are not positive, `invalidGrouping` for groups that do not divide the heads.
  public init(heads: Int, headDimension: Int, _ granularity: Granularity) throws(CompressionError) {
    _ = try checkedCount("heads by their dimension", rows: heads, columns: headDimension)
    let headsPerGroup =
      switch granularity {
      case .perHead: 1
      case .perGroup(let heads): heads
      case .joint: heads
      }
    guard headsPerGroup > 0, heads % headsPerGroup == 0 else {
      throw .invalidGrouping(heads: heads, headsPerGroup: headsPerGroup)
    }
    self.heads = heads
    self.headDimension = headDimension
    self.headsPerGroup = headsPerGroup
  }

  public var groupCount: Int { heads / headsPerGroup }
  /// Outputs of the projection that one latent gives: the most that its rank can be.
  public var groupOutputs: Int { headsPerGroup * headDimension }
  /// Outputs of the whole projection.
  public var outputs: Int { heads * headDimension }
}
