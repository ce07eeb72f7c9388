internal import Tessera

extension ModelFiles {
  /// The files that say what a GGUF file's metadata says of a model of the Llama family and its tokenizer.
  /// - Throws: what is wrong with the metadata; `ModelError.unsupported` for what the files have no words for.
  public init(_ file: GGUFFile) throws(ModelError) {
    let draft: TokenizerDraft
    do throws(TokenizerError) { draft = try TokenizerDraft(file) } catch { throw ModelError.tokenizer(error) }
    var contents: [Name: [UInt8]] = [
      .configuration: ModelFiles.line(try LlamaConfiguration(file).json(for: file.path)),
      .tokenizer: ModelFiles.line(try draft.json()),
    ]
    var generation: [(name: String, value: JSONValue)] = []
    if let begin = draft.beginOfText { generation.append(("bos_token_id", .integer(begin))) }
    generation.append(("eos_token_id", .array(draft.stopIDs.sorted().map { .integer($0) })))
    contents[.generation] = ModelFiles.line(.object(generation))
    contents[.tokenizerConfiguration] = ModelFiles.line(.object([("add_bos_token", .bool(draft.addsBeginOfText))]))
    if let template = draft.chatTemplate, !template.isEmpty { contents[.chatTemplate] = Array(template.utf8) }
    self = try operating { () throws(TesseraError) in try ModelFiles(contents, file: file.path) }
  }

  /// The files that belong to a checkpoint: of its folder, or as its GGUF file's metadata says.
  /// - Throws: what reading them gives.
  public init(of checkpoint: LlamaCheckpoint) throws(ModelError) {
    if let file = checkpoint.source as? GGUFFile {
      try self.init(file)
    } else {
      let folder = LlamaCheckpoint.folder(of: checkpoint.source.path)
      self = try readingModelFile { () throws(WeightFileError) in try ModelFiles(folder: folder) }
    }
  }

  private static func line(_ json: JSONValue) -> [UInt8] { Array(json.text().utf8) + [UInt8(ascii: "\n")] }
}

extension TokenizerDraft {
  /// The draft as a `tokenizer.json`: the tokens of the vocabulary by id, then the added ones.
  fileprivate func json() throws(ModelError) -> JSONValue {
    var vocabulary: [(name: String, value: JSONValue)] = []
    var added: [JSONValue] = []
    for (id, position) in positions.enumerated() where position >= 0 {
      let token = try text(texts[Int(position)], what: "token \(id)")
      switch kinds[Int(position)] {
      case .vocabulary: vocabulary.append((token, .integer(id)))
      case .control, .added:
        added.append(
          .object([
            ("id", .integer(id)), ("content", .string(token)), ("special", .bool(kinds[Int(position)] == .control)),
          ]))
      }
    }
    var pairs: [JSONValue] = []
    for index in 0..<merges.count { pairs.append(.string(try text(merges[index], what: "merge \(index)"))) }
    return .object([
      ("version", .string("1.0")), ("added_tokens", .array(added)), ("normalizer", .null),
      ("pre_tokenizer", preTokenizer.json), ("post_processor", .null),
      ("decoder", .object([("type", .string("ByteLevel"))])),
      (
        "model",
        .object([
          ("type", .string("BPE")), ("ignore_merges", .bool(takesWholePieces)), ("vocab", .object(vocabulary)),
          ("merges", .array(pairs)),
        ])
      ),
    ])
  }

  private func text(_ bytes: ArraySlice<UInt8>, what: String) throws(ModelError) -> String {
    guard let text = String(validating: bytes, as: UTF8.self), text.utf8.count <= JSONReader.maximumNameBytes else {
      throw ModelError.unsupported(
        file: file, key: what, value: "\(bytes.count) bytes",
        supported: "UTF-8 of at most \(JSONReader.maximumNameBytes) bytes")
    }
    return text
  }
}
