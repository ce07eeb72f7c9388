internal import Tessera

extension Tokenizer {
  /// The tokenizer in the metadata of a GGUF file.
  /// - Throws: what is wrong with it, as a ``TokenizerError``.
  public init(gguf file: GGUFFile) throws(TokenizerError) { try self.init(TokenizerDraft(file)) }
}

extension TokenizerDraft {
  init(_ file: GGUFFile) throws(TokenizerError) {
    let model = try readingFile { () throws(WeightFileError) in try file.string("tokenizer.ggml.model") }
    guard model == "gpt2" else {
      throw TokenizerError.unsupported(
        file: file.path, what: "the tokenizer model", found: model, supported: "gpt2 (byte-level BPE)")
    }
    let name = try readingFile { () throws(WeightFileError) in try file.string("tokenizer.ggml.pre") }
    self.init(file: file.path, preTokenizer: try PreTokenizer(ggufName: name, file: file.path))
    takesWholePieces = preTokenizer == .llama3
    try readTokens(of: file)
    merges = try file.byteStrings("tokenizer.ggml.merges", limit: TokenizerDraft.mergeLimit)
    beginOfText = file.metadata["tokenizer.ggml.bos_token_id"]?.integer
    addsBeginOfText = file.metadata["tokenizer.ggml.add_bos_token"]?.bool ?? (preTokenizer == .llama3)
    let stops = ["eos", "eot", "eom"].compactMap { file.metadata["tokenizer.ggml.\($0)_token_id"]?.integer }
    stopIDs = Set(stops)
    chatTemplate = file.metadata["tokenizer.chat_template"]?.string
  }

  private mutating func readTokens(of file: GGUFFile) throws(TokenizerError) {
    let tokens = try file.byteStrings("tokenizer.ggml.tokens", limit: TokenizerDraft.tokenLimit)
    let typesKey = "tokenizer.ggml.token_type"
    let types =
      file.metadata[typesKey] == nil
      ? Array(repeating: 1, count: tokens.count)
      : try readingFile { () throws(WeightFileError) in try file.integers(typesKey) }
    guard types.count == tokens.count else {
      throw TokenizerError.countMismatch(
        file: file.path, what: "the token types", expected: tokens.count, got: types.count)
    }
    for id in 0..<tokens.count { try add(tokens[id], id: id, kind: try kind(types[id], of: id)) }
  }

  private func kind(_ type: Int, of id: Int) throws(TokenizerError) -> Kind {
    switch type {
    case 1, 5, 6: return .vocabulary
    case 2, 3: return .control
    case 4: return .added
    default:
      throw TokenizerError.unsupported(file: file, what: "the type of token \(id)", found: "\(type)", supported: "1 to 6")
    }
  }
}

extension PreTokenizer {
  fileprivate init(ggufName name: String, file: String) throws(TokenizerError) {
    switch name {
    case "gpt-2": self = .gpt2
    case "smollm": self = .smollm
    case "llama-bpe", "llama3", "llama-v3": self = .llama3
    case "qwen2", "deepseek-r1-qwen": self = .qwen2
    default:
      throw TokenizerError.unsupported(
        file: file, what: "the pre-tokenizer", found: name, supported: "gpt-2, smollm, llama-bpe, qwen2")
    }
  }
}

extension GGUFFile {
  /// The strings under `key`, copied without being made Strings.
  fileprivate func byteStrings(_ key: String, limit: Int) throws(TokenizerError) -> ByteStrings {
    guard let array = metadata[key]?.array, array.elementType == .string else {
      throw TokenizerError.file(.wrongMetadata(file: path, key: key, detail: "is absent or is not an array of strings"))
    }
    guard array.count <= limit else {
      throw TokenizerError.tooLarge(file: path, what: "the length of \(key)", value: array.count, limit: limit)
    }
    return try readingFile { () throws(WeightFileError) in try array.byteStrings(key, file: path) }
  }
}

extension GGUFArray {
  fileprivate func byteStrings(_ key: String, file: String) throws(WeightFileError) -> ByteStrings {
    var strings = ByteStrings()
    strings.reserve(count: count, byteCount: region.byteCount - 8 * count)
    var reader = GGUFReader(file: file, region: region)
    for _ in 0..<count {
      let start = try reader.skipString(key)
      strings.append(region.bytes[start..<reader.position])
    }
    return strings
  }
}
