public import Tessera

/// How much each projection matters for a model's loss, as a file says or as was computed (`FisherScores`).
///
///     {"model.layers.0.self_attn.k_proj": [0.31, 0.28], "model.layers.0.self_attn.v_proj": 1.7}
///
/// A score is Fisher information: the mean, over the weights of a group, of the root of the mean squared gradient. Either one for
/// each group, or one for the projection.
public struct RankScores: Sendable, Equatable {
  /// The file, for errors.
  public let path: String
  public let scores: [String: [Double]]

  private static let maximumByteCount = 64 << 20

  /// Scores that were computed: for each name one for each group, or one for the projection.
  public init(_ scores: [String: [Double]]) {
    path = "the scores"
    self.scores = scores
  }

  /// The scores as such a file.
  public var json: String { value.text(indented: true) + "\n" }

  package var value: JSONValue {
    .object(scores.sorted { $0.key < $1.key }.map { ($0.key, .array($0.value.map(JSONValue.double))) })
  }

  /// - Throws: what opening and JSON's grammar give; `tooLarge`; `wrongMetadata` for what is neither a number nor an array of
  ///   numbers. Whether scores are usable is up to `RankSearch`.
  public init(path: String) throws(WeightFileError) {
    try self.init(JSONValue(path: path, limit: RankScores.maximumByteCount), path: path)
  }

  package init(_ json: JSONValue, path: String) throws(WeightFileError) {
    guard case .object(let members) = json else {
      throw .wrongMetadata(file: path, key: "", detail: "the file is no JSON object")
    }
    var scores: [String: [Double]] = [:]
    for (name, value) in members {
      let values = (value.array ?? [value]).map(\.double)
      guard !values.isEmpty, !values.contains(nil) else {
        throw .wrongMetadata(file: path, key: name, detail: "neither a number nor an array of numbers")
      }
      scores[name] = values.compactMap { $0 }
    }
    self.path = path
    self.scores = scores
  }

  /// A candidate for the rank search.
  /// - Throws: `wrongMetadata` where the file has no score of this name.
  public func candidate(_ name: String, heads: HeadGroups) throws(WeightFileError) -> RankSearch.Candidate {
    guard let scores = scores[name] else { throw .wrongMetadata(file: path, key: name, detail: "has no score") }
    return RankSearch.Candidate(name: name, heads: heads, scores: scores)
  }
}
