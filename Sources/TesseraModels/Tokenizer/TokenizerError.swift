public import Tessera

/// What can be wrong with a tokenizer, or with ids that are given to it.
///
/// Every case of loading names the file, the culprit and the numbers that contradict each other. Cases are added as formats are;
/// switch with a `default`.
public enum TokenizerError: Error, Sendable, Equatable {
  // The file.
  /// The file could not be read, or is no GGUF or JSON.
  case file(WeightFileError)
  /// The file asks for something that Tessera does not have: a tokenizer model, a pre-tokenizer, a normalizer, a chat template.
  case unsupported(file: String, what: String, found: String, supported: String)
  /// `value` of `what` is above the cap that Tessera sets.
  case tooLarge(file: String, what: String, value: Int, limit: Int)
  /// Two lists that should be equally long, or a list and its id range.
  case countMismatch(file: String, what: String, expected: Int, got: Int)

  // The vocabulary.
  /// Two ids have one token.
  case duplicateToken(file: String, token: String, first: Int, second: Int)
  /// Two tokens have one id.
  case duplicateID(file: String, id: Int, first: String, second: String)
  /// A token's id, or that of a special token, is not in `0 ..< limit`.
  case idOutOfRange(file: String, what: String, id: Int, limit: Int)
  /// A printable ASCII character, space or line feed has no token: no English or code could be encoded.
  case missingByte(file: String, byte: UInt8)

  // The merges. `index` counts from 0, which is the rank.
  /// A merge that is not two tokens with a space between them.
  case malformedMerge(file: String, index: Int, merge: String)
  /// A merge whose left or right side, or whose result, is no token.
  case unknownToken(file: String, index: Int, merge: String, token: String)
  /// The same two tokens are merged twice: implementations differ in which of the two ranks holds.
  case duplicateMerge(file: String, first: Int, second: Int, merge: String)

  // Use.
  /// An id to decode that no token has.
  case unknownID(id: Int, count: Int)
}

extension TokenizerError: CustomStringConvertible {
  /// One sentence with the file, the culprit and the numbers.
  public var description: String {
    switch self {
    case .file(let error):
      "\(error)"
    case .unsupported(let file, let what, let found, let supported):
      "\(file): \(what) '\(found)' is not supported; supported: \(supported)"
    case .tooLarge(let file, let what, let value, let limit):
      "\(file): \(what) is \(value), above the limit of \(limit)"
    case .countMismatch(let file, let what, let expected, let got):
      "\(file): \(what): expected \(expected), got \(got)"
    case .duplicateToken(let file, let token, let first, let second):
      "\(file): ids \(first) and \(second) have the same token '\(token)'"
    case .duplicateID(let file, let id, let first, let second):
      "\(file): tokens '\(first)' and '\(second)' have the same id \(id)"
    case .idOutOfRange(let file, let what, let id, let limit):
      "\(file): the id of \(what) is \(id), expected one of 0 ..< \(limit)"
    case .missingByte(let file, let byte):
      "\(file): no token stands for byte \(byte) alone"
    case .malformedMerge(let file, let index, let merge):
      "\(file): merge \(index), '\(merge)', is not two tokens with one space between them"
    case .unknownToken(let file, let index, let merge, let token):
      "\(file): merge \(index), '\(merge)', names '\(token)', which is no token"
    case .duplicateMerge(let file, let first, let second, let merge):
      "\(file): merges \(first) and \(second) are the same, '\(merge)'"
    case .unknownID(let id, let count):
      "no token has id \(id); the vocabulary ends at \(count)"
    }
  }
}
