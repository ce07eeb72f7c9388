internal import Tessera

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

extension Tokenizer {
  /// Opens the tokenizer of a model: of a GGUF file, recognised by its first bytes, of a `tokenizer.json`, or of a folder in
  /// Hugging Face's form.
  ///
  /// In a folder `config.json`, `generation_config.json` and `tokenizer_config.json` say, where they are there, which tokens
  /// begin and end a text, and `tokenizer_config.json` or `chat_template.jinja` what the chat template is.
  /// - Throws: what is wrong with the files, as a ``TokenizerError``.
  public init(path: String) throws(TokenizerError) {
    if beginsLikeGGUF(path) {
      try self.init(gguf: readingFile { () throws(WeightFileError) in try GGUFFile(path: path) })
    } else {
      try self.init(huggingFace: path)
    }
  }

  private init(huggingFace path: String) throws(TokenizerError) {
    let folder = path.hasSuffix("/") ? String(path.dropLast()) : path
    let (json, isFolder) = try readingFile { () throws(WeightFileError) in
      do throws(WeightFileError) {
        return (try TokenizerJSON(path: path), false)
      } catch .notRegularFile {
        return (try TokenizerJSON(path: "\(folder)/tokenizer.json"), true)
      }
    }
    var draft = try TokenizerDraft(json, file: isFolder ? "\(folder)/tokenizer.json" : path)
    if isFolder {
      try readingFile { () throws(WeightFileError) in try draft.readSettings(ofFolder: folder) }
    }
    try self.init(draft)
  }
}

/// Runs `body`; what is wrong with a file is wrong with the tokenizer.
func readingFile<Value>(_ body: () throws(WeightFileError) -> Value) throws(TokenizerError) -> Value {
  do { return try body() } catch { throw TokenizerError.file(error) }
}

/// The file of `open`, or nil if there is none.
func ifPresent<Value>(_ open: () throws(WeightFileError) -> Value) throws(WeightFileError) -> Value? {
  do { return try open() } catch .cannotOpen(_, ENOENT) { return nil }
}
