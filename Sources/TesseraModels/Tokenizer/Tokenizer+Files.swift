internal import Tessera

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

extension Tokenizer {
  /// Opens the tokenizer of a model: of a GGUF file or a packed model, of a `tokenizer.json`, or of a folder in Hugging Face's
  /// form.
  ///
  /// In a folder `config.json`, `generation_config.json` and `tokenizer_config.json` say, where they are there, which tokens
  /// begin and end a text, and `tokenizer_config.json` or `chat_template.jinja` what the chat template is.
  /// - Throws: what is wrong with the files, as a ``TokenizerError``.
  public init(path: String) throws(TokenizerError) {
    if beginsLikeGGUF(path) {
      try self.init(gguf: readingFile { () throws(WeightFileError) in try GGUFFile(path: path) })
    } else if PackedFile.isPacked(path) {
      try self.init(
        readingFile { () throws(WeightFileError) in try ModelFiles(PackedFile.open(path, verifying: .structure)) })
    } else {
      try self.init(huggingFace: path)
    }
  }

  private init(huggingFace path: String) throws(TokenizerError) {
    var json: TokenizerJSON?
    do throws(WeightFileError) {
      json = try TokenizerJSON(path: path)
    } catch .notRegularFile {
      json = nil
    } catch {
      throw .file(error)
    }
    if let json {
      try self.init(TokenizerDraft(json, file: path))
    } else {
      try self.init(readingFile { () throws(WeightFileError) in try ModelFiles(folder: path) })
    }
  }

  /// The tokenizer of `tokenizer.json`, with what the files beside it say.
  /// - Throws: what is wrong with the files, as a ``TokenizerError``.
  public init(_ files: ModelFiles) throws(TokenizerError) {
    let path = files.path(of: .tokenizer)
    let json = try readingFile { () throws(WeightFileError) in
      let contents = try files.required(.tokenizer)
      defer { withExtendedLifetime(contents) {} }
      return try TokenizerJSON(parsing: contents.bytes, file: path)
    }
    var draft = try TokenizerDraft(json, file: path)
    try readingFile { () throws(WeightFileError) in try draft.readSettings(files) }
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
