internal import Tessera

extension TokenizerDraft {
  init(_ json: TokenizerJSON, file: String) throws(TokenizerError) {
    try TokenizerDraft.check(json, file: file)
    self.init(file: file, preTokenizer: try PreTokenizer(json.preTokenizer, file: file))
    takesWholePieces = json.settings["ignore_merges"]?.bool ?? false
    try readTokens(of: json)
    guard json.merges.count <= TokenizerDraft.mergeLimit else {
      throw TokenizerError.tooLarge(
        file: file, what: "the number of merges", value: json.merges.count, limit: TokenizerDraft.mergeLimit)
    }
    merges = json.merges
    try readPostProcessor(json.postProcessor)
  }

  /// Refuses what would change the ids and is not done here.
  private static func check(_ json: TokenizerJSON, file: String) throws(TokenizerError) {
    let settings = json.settings
    func refuse(_ what: String, _ found: String?, _ supported: String) throws(TokenizerError) {
      guard let found else { return }
      throw TokenizerError.unsupported(file: file, what: what, found: found, supported: supported)
    }
    let type = settings["type"]?.string ?? (settings.isNull ? "none" : "BPE")
    try refuse("the tokenizer model", type == "BPE" ? nil : type, "BPE")
    try refuse("the normalizer", json.normalizer["type"]?.string, "none")
    try refuse("dropout", settings["dropout"].map { $0.double.map { "\($0)" } ?? "?" }, "none")
    try refuse("byte_fallback", settings["byte_fallback"]?.bool == true ? "true" : nil, "false")
    for affix in ["continuing_subword_prefix", "end_of_word_suffix"] {
      try refuse(affix, settings[affix]?.string.flatMap { $0.isEmpty ? nil : $0 }, "none")
    }
  }

  private mutating func readTokens(of json: TokenizerJSON) throws(TokenizerError) {
    for (position, id) in json.ids.enumerated() {
      try add(json.vocabulary[position], id: Int(clamping: id), kind: .vocabulary)
    }
    for token in json.addedTokens.array ?? [] {
      let content = token["content"]?.string ?? ""
      if let flag = ["lstrip", "rstrip", "single_word"].first(where: { token[$0]?.bool == true }) {
        throw TokenizerError.unsupported(
          file: file, what: "the flag of token '\(content)'", found: flag,
          supported: "tokens that leave the text around them alone")
      }
      try add(content.utf8, id: token["id"]?.integer ?? -1, kind: token["special"]?.bool == true ? .control : .added)
    }
  }

  /// `TemplateProcessing` may put one token before a text.
  private mutating func readPostProcessor(_ json: JSONValue) throws(TokenizerError) {
    switch json["type"]?.string {
    case nil, "ByteLevel": return
    case "Sequence": for step in json["processors"]?.array ?? [] { try readPostProcessor(step) }
    case "TemplateProcessing":
      let template = json["single"]?.array ?? []
      if template.count == 1, template[0]["Sequence"] != nil { return }
      guard template.count == 2, template[1]["Sequence"] != nil, let token = template[0]["SpecialToken"]?["id"]?.string,
        let id = id(of: token)
      else {
        throw TokenizerError.unsupported(
          file: file, what: "the post-processor", found: "TemplateProcessing", supported: "one token before the text")
      }
      (beginOfText, addsBeginOfText) = (id, true)
    case let type?:
      throw TokenizerError.unsupported(
        file: file, what: "the post-processor", found: type, supported: "ByteLevel, TemplateProcessing")
    }
  }

  /// The id of a control or added token.
  func id(of text: String) -> Int? {
    positions.firstIndex { $0 >= 0 && kinds[Int($0)] != .vocabulary && texts[Int($0)].elementsEqual(text.utf8) }
  }

  /// What the files beside `tokenizer.json` say, each of which may be absent.
  mutating func readSettings(_ files: ModelFiles) throws(WeightFileError) {
    let limit = 16_000_000
    for name in [ModelFiles.Name.configuration, .generation] {
      guard let json = try files.json(name, limit: limit) else { continue }
      beginOfText = beginOfText ?? json["bos_token_id"]?.integer
      stopIDs.formUnion((json["eos_token_id"]?.array ?? [json["eos_token_id"] ?? .null]).compactMap(\.integer))
    }
    if let json = try files.json(.tokenizerConfiguration, limit: limit) { readTokenizerConfiguration(json) }
    if let template = files[.chatTemplate] {
      chatTemplate = String(decoding: template.bytes, as: UTF8.self)
      withExtendedLifetime(template) {}
    }
  }

  private mutating func readTokenizerConfiguration(_ json: JSONValue) {
    func id(_ name: String) -> Int? { (json[name]?.string ?? json[name]?["content"]?.string).flatMap(self.id(of:)) }
    beginOfText = id("bos_token") ?? beginOfText
    if let stop = id("eos_token") { stopIDs.insert(stop) }
    addsBeginOfText = addsBeginOfText || json["add_bos_token"]?.bool == true
    let templates = json["chat_template"]?.array ?? []
    chatTemplate =
      json["chat_template"]?.string ?? templates.first { $0["name"]?.string == "default" }?["template"]?.string
  }
}
