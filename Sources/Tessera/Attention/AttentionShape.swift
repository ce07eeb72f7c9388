/// The heads of an attention layer.
///
/// Every `queryHeads / keyValueHeads` consecutive query heads share one key-value head (grouped-query attention); the cache holds
/// each key-value head once.
public struct AttentionShape: Sendable, Hashable {
  /// Heads of the queries, a multiple of `keyValueHeads`.
  public let queryHeads: Int
  /// Heads of the cache.
  public let keyValueHeads: Int
  /// Elements of one head's query and key.
  public let keyDimension: Int
  /// Elements of one head's value.
  public let valueDimension: Int
  /// What q . k is multiplied by before the softmax.
  public let scale: Float

  /// The most elements of a head that scratch memory and error bounds are made for.
  public static let mostDimension = 4096

  /// - Parameters:
  ///   - valueDimension: nil means `keyDimension`.
  ///   - scale: nil means 1 / sqrt(`keyDimension`).
  /// - Throws: `TesseraError.invalidShape` for a count that is not positive, heads that do not divide, a dimension above
  ///   `mostDimension`, a scale that is not positive and finite.
  public init(
    queryHeads: Int, keyValueHeads: Int, keyDimension: Int, valueDimension: Int? = nil, scale: Float? = nil
  ) throws(TesseraError) {
    guard queryHeads > 0, keyValueHeads > 0, queryHeads % keyValueHeads == 0, queryHeads <= 1 << 16 else {
      throw .invalidShape(what: "query heads by key-value heads", rows: queryHeads, columns: keyValueHeads)
    }
    let valueDimension = valueDimension ?? keyDimension
    let dimensions = 1...AttentionShape.mostDimension
    guard dimensions.contains(keyDimension), dimensions.contains(valueDimension) else {
      throw .invalidShape(what: "dimensions of a head's key and value", rows: keyDimension, columns: valueDimension)
    }
    let scale = scale ?? 1 / Float(keyDimension).squareRoot()
    guard scale > 0, scale.isFinite else { throw .invalidScale(scale) }
    self.queryHeads = queryHeads
    self.keyValueHeads = keyValueHeads
    self.keyDimension = keyDimension
    self.valueDimension = valueDimension
    self.scale = scale
  }

  /// Query heads that share a key-value head.
  public var queriesPerHead: Int { queryHeads / keyValueHeads }
  /// Elements of a token's queries.
  public var queryWidth: Int { queryHeads * keyDimension }
  /// Elements of a token's keys.
  public var keyWidth: Int { keyValueHeads * keyDimension }
  /// Elements of a token's values.
  public var valueWidth: Int { keyValueHeads * valueDimension }
  /// Elements of a token's result.
  public var outputWidth: Int { queryHeads * valueDimension }
}
