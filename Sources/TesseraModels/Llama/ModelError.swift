public import Tessera

/// What can be wrong with a model: its configuration, its tensors, or what it is asked to do.
///
/// Every case names the culprit and what it says. Cases are added as models are; switch with a `default`.
public enum ModelError: Error, Sendable, Equatable {
  /// A file of the model cannot be read.
  case file(WeightFileError)
  /// The tokenizer that belongs to the model cannot be read.
  case tokenizer(TokenizerError)
  /// The configuration lacks a key.
  case missingKey(file: String, key: String)
  /// The value of a key is of the wrong type or out of range.
  case invalidValue(file: String, key: String, value: String, expected: String)
  /// The value of a key cannot stand beside another one.
  case contradiction(file: String, key: String, value: String, detail: String)
  /// The model asks for something that Tessera does not have.
  case unsupported(file: String, key: String, value: String, supported: String)
  /// A tensor's shape is not the one that the configuration gives it.
  case wrongShape(file: String, tensor: String, expected: [Int], got: [Int])
  /// Layers that are put together to a model do not fit: `what` has `got` elements where the model has `expected`.
  case layerMismatch(what: String, expected: Int, got: Int)
  /// A token that the vocabulary does not have.
  case invalidToken(token: Int, vocabularySize: Int)
  /// More tokens than the model's positions.
  case contextExceeded(tokens: Int, contextLength: Int)
  /// No token can be chosen from the logits.
  case sampling(SamplingError)
  /// An operation refused its operands, or the system its memory.
  case operation(TesseraError)
}

extension ModelError: CustomStringConvertible {
  /// One sentence with the culprit and the numbers.
  public var description: String {
    switch self {
    case .file(let error):
      "\(error)"
    case .tokenizer(let error):
      "\(error)"
    case .missingKey(let file, let key):
      "\(file): '\(key)' is missing"
    case .invalidValue(let file, let key, let value, let expected):
      "\(file): '\(key)' is \(value), expected \(expected)"
    case .contradiction(let file, let key, let value, let detail):
      "\(file): '\(key)' is \(value), but \(detail)"
    case .unsupported(let file, let key, let value, let supported):
      "\(file): '\(key)' is \(value), which is not supported; supported: \(supported)"
    case .wrongShape(let file, let tensor, let expected, let got):
      "\(file): tensor '\(tensor)' has the shape \(got), the configuration says \(expected)"
    case .layerMismatch(let what, let expected, let got):
      "\(what): \(got) elements, the model has \(expected)"
    case .invalidToken(let token, let vocabularySize):
      "there is no token \(token); the vocabulary has \(vocabularySize)"
    case .contextExceeded(let tokens, let contextLength):
      "\(tokens) tokens do not fit the model's context of \(contextLength)"
    case .sampling(let error):
      "\(error)"
    case .operation(let error):
      "\(error)"
    }
  }
}

/// Runs `body`; what is wrong with a file is wrong with the model.
func readingModelFile<Value>(_ body: () throws(WeightFileError) -> Value) throws(ModelError) -> Value {
  do { return try body() } catch { throw ModelError.file(error) }
}

/// Runs `body`; what an operation refuses, the model refuses.
func operating<Value>(_ body: () throws(TesseraError) -> Value) throws(ModelError) -> Value {
  do { return try body() } catch { throw ModelError.operation(error) }
}
