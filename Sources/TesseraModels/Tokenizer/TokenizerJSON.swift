internal import Tessera

/// The contents of a `tokenizer.json`, as the library `tokenizers` of Hugging Face writes it:
///
///     {"added_tokens": [{"id": 0, "content": "<|endoftext|>", "special": true, ...}, ...],
///      "normalizer": null, "pre_tokenizer": {...}, "post_processor": {...},
///      "model": {"type": "BPE", "vocab": {"!": 1, ...}, "merges": ["Ġ t", ...] or [["Ġ", "t"], ...], ...}}
struct TokenizerJSON {
  private(set) var addedTokens = JSONValue.null
  private(set) var normalizer = JSONValue.null
  private(set) var preTokenizer = JSONValue.null
  private(set) var postProcessor = JSONValue.null
  /// The members of `model` but for the two long ones.
  private(set) var settings = JSONValue.null
  private(set) var vocabulary = ByteStrings()
  /// Of the tokens in `vocabulary`.
  private(set) var ids: [UInt64] = []
  private(set) var merges = ByteStrings()

  private static let maximumByteCount = 100_000_000

  init(path: String) throws(WeightFileError) {
    let file = try MappedFile(path: path)
    self = try file.withBytes { (bytes) throws(WeightFileError) in try TokenizerJSON(parsing: bytes, file: path) }
  }

  init(parsing bytes: UnsafeRawBufferPointer, file: String) throws(WeightFileError) {
    guard bytes.count <= TokenizerJSON.maximumByteCount else {
      throw WeightFileError.tooLarge(
        file: file, what: "the file", value: UInt64(bytes.count), limit: UInt64(TokenizerJSON.maximumByteCount))
    }
    var reader = JSONReader(bytes, file: file)
    try reader.object { (reader, name) throws(WeightFileError) in
      switch name {
      case "added_tokens": addedTokens = try reader.value()
      case "normalizer": normalizer = try reader.value()
      case "pre_tokenizer": preTokenizer = try reader.value()
      case "post_processor": postProcessor = try reader.value()
      case "model": try readModel(&reader)
      default: try reader.skipValue()
      }
    }
    try reader.end(allowing: .whiteSpace)
  }

  private mutating func readModel(_ reader: inout JSONReader) throws(WeightFileError) {
    var members: [(name: String, value: JSONValue)] = []
    try reader.object { (reader, name) throws(WeightFileError) in
      switch name {
      case "vocab":
        try reader.object { (reader, token) throws(WeightFileError) in
          vocabulary.append(token.utf8)
          ids.append(try reader.unsigned())
        }
      case "merges": try reader.array { (reader) throws(WeightFileError) in try readMerge(&reader) }
      default: members.append((name, try reader.value()))
      }
    }
    settings = .object(members)
  }

  /// One string with a space in it or, in newer files, an array of two.
  private mutating func readMerge(_ reader: inout JSONReader) throws(WeightFileError) {
    if reader.isAtString() { return merges.append(try reader.string().utf8) }
    var sides: [String] = []
    try reader.array { (reader) throws(WeightFileError) in sides.append(try reader.string()) }
    merges.append(sides.joined(separator: " ").utf8)
  }
}
