/// What can be wrong with sampling: an option, or the logits.
public enum SamplingError: Error, Sendable, Equatable {
  /// An option outside the values it may have. `value` is how it prints: a NaN would not equal itself.
  case invalidOption(name: String, value: String, allowed: String)
  /// A logit that is NaN or +infinity: the model has failed, and no choice would mean anything.
  case invalidLogit(id: Int, value: String)
  /// No logit at all, or all are -infinity.
  case noCandidate(count: Int)
  /// An id of the history that no logit has.
  case unknownID(id: Int, count: Int)
}

extension SamplingError: CustomStringConvertible {
  /// One sentence with the culprit and the numbers.
  public var description: String {
    switch self {
    case .invalidOption(let name, let value, let allowed): "\(name) is \(value), expected \(allowed)"
    case .invalidLogit(let id, let value): "the logit of id \(id) is \(value)"
    case .noCandidate(let count): "none of \(count) logits is above -infinity"
    case .unknownID(let id, let count): "the history has id \(id), there are \(count) logits"
    }
  }
}
