/// What can go wrong when Tessera is handed shapes, memory sizes or names from outside.
///
/// Files have their own errors (`WeightFileError`); mistakes that a caller could have checked are preconditions.
public enum TesseraError: Error, Sendable, Equatable {
  /// A size is zero, negative or above a limit that `what` names, or a product of sizes does not fit an Int.
  case invalidShape(what: String, rows: Int, columns: Int)
  /// Two things that must have the same size do not.
  case sizeMismatch(what: String, expected: Int, got: Int)
  /// Memory that must not be shared is.
  case overlappingMemory(what: String)
  /// A weight is NaN or infinite.
  case nonFiniteWeight(row: Int, column: Int)
  /// A fraction of zeros outside 0...1.
  case invalidSparsity(Double)
  /// The norm of an input's activations is negative, NaN or infinite.
  case invalidActivationNorm(column: Int, value: Float)
  /// The system refused memory or, for a pool, a thread.
  case outOfMemory(bytes: Int)
  /// A thread count of zero or above the CPUs that this process may use.
  case invalidThreadCount(requested: Int, allowed: Int)
  /// No such instruction set.
  case unknownISA(name: String, known: [String])
  /// The machine lacks what the named variant or instruction set needs.
  case unsupportedISA(name: String, missing: [String])
  /// The counts or offsets of packed weights contradict each other.
  case corruptWeights(format: String, panel: Int)
  /// Values that cannot take the place of a 4-bit format's special values.
  case invalidSpecialValues([Float])
  /// A prefix of a matrix's blocks that is empty, does not fit, or cannot be a view; or blocks that do not divide the matrix.
  case invalidPrefix(what: String, kept: Int, blocks: Int, packed: Int)
  /// Rows of x of a type that no kernel multiplies by weights of the format.
  case unsupportedActivations(ActivationType, format: WeightFormat)
  /// A factor that must be positive and finite.
  case invalidScale(Float)
  /// A position of a sequence outside what `what` allows.
  case invalidPosition(what: String, position: Int, count: Int)
  /// A list of positions that does not rise.
  case repeatedPosition(Int)
  /// A query of a tree that sees a token after it, or not itself.
  case invalidMask(row: Int, token: Int)
  /// Attention to no token at all.
  case emptyCache
  /// Latents of keys in a format from which no kernel rebuilds keys.
  case unsupportedLatents(KVFormat)
  /// A rotary embedding that no model can have.
  case invalidRotation(what: String, value: Double)
}

extension TesseraError: CustomStringConvertible {
  /// One sentence with what is wrong and the numbers.
  public var description: String {
    switch self {
    case .invalidShape(let what, let rows, let columns):
      "\(what): \(rows) x \(columns) is no shape Tessera can hold; sizes must be positive and their product must fit"
    case .sizeMismatch(let what, let expected, let got):
      "\(what): expected \(expected) elements, got \(got)"
    case .overlappingMemory(let what):
      "\(what) must not overlap the inputs"
    case .nonFiniteWeight(let row, let column):
      "weight [\(row), \(column)] is NaN or infinite; packed weights must be finite"
    case .invalidSparsity(let value):
      "sparsity \(value) is outside 0...1"
    case .invalidActivationNorm(let column, let value):
      "the activation norm of column \(column) is \(value); norms must be finite and not negative"
    case .outOfMemory(let bytes):
      "the system refused \(bytes) bytes"
    case .invalidThreadCount(let requested, let allowed):
      "\(requested) threads asked for; this process may use 1...\(allowed)"
    case .unknownISA(let name, let known):
      "no instruction set is called '\(name)'; known: \(known.joined(separator: ", "))"
    case .unsupportedISA(let name, let missing):
      "'\(name)' needs \(missing.joined(separator: ", ")), which this machine lacks or does not allow"
    case .corruptWeights(let format, let panel):
      "\(format) weights contradict their own counts at panel \(panel)"
    case .invalidSpecialValues(let values):
      "\(values) cannot be special values: one to four multiples of 0.5 in -8...8, of a format that has them"
    case .invalidPrefix(let what, let kept, let blocks, let packed):
      "a prefix of \(kept) in each of \(blocks) blocks of \(packed) \(what): \(what) must divide into blocks, several blocks of "
        + "outputs into 16s (kept ones too), several blocks of inputs into 64s, and a prefix holds 1 to all of a block"
    case .unsupportedActivations(let type, let format):
      "no kernel multiplies \(type) activations by \(format) weights"
    case .invalidScale(let scale):
      "a scale of \(scale); scales must be positive and finite"
    case .invalidPosition(let what, let position, let count):
      "position \(position) \(what), of \(count)"
    case .repeatedPosition(let position):
      "position \(position) does not follow a smaller one; positions must rise"
    case .invalidMask(let row, let token):
      row == token
        ? "token \(row) of a tree does not see itself" : "token \(row) of a tree sees token \(token), which comes after it"
    case .emptyCache:
      "attention needs at least one token to look at"
    case .unsupportedLatents(let format):
      "no kernel rebuilds keys from \(format) latents"
    case .invalidRotation(let what, let value):
      "a rotary embedding's \(what) cannot be \(value)"
    }
  }
}
