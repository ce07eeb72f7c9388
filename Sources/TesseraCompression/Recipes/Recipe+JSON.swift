internal import Tessera
internal import TesseraLayers

extension Recipe {
  private static let largestFile = 1 << 20

  /// Reads a recipe. Whatever the reader does not know is an error that names it.
  /// - Throws: `RecipeError` with the way to the culprit.
  public init(path: String) throws(RecipeError) {
    let json: JSONValue
    do { json = try JSONValue(path: path, limit: Recipe.largestFile) } catch { throw .file(error) }
    try self.init(json, file: path)
  }

  /// Reads a recipe from its text.
  /// - Parameter file: what errors call it.
  public init(parsing text: String, file: String) throws(RecipeError) {
    let json: JSONValue
    do throws(WeightFileError) {
      json = try Array(text.utf8).withUnsafeBufferPointer { (bytes) throws(WeightFileError) in
        try JSONValue(parsing: UnsafeRawBufferPointer(bytes), file: file, limit: Recipe.largestFile)
      }
    } catch {
      throw .file(error)
    }
    try self.init(json, file: file)
  }

  private init(_ json: JSONValue, file: String) throws(RecipeError) {
    let members = try RecipeMembers(
      json, key: "", file: file, known: ["name", "description", "weights", "cache", "low_rank", "calibration"])
    if members["description"] != nil { _ = try members.string("description") }
    var rules: [Rule] = []
    if let value = members["weights"] {
      guard let list = value.array else { throw members.invalid("weights", value, expected: "an array") }
      for (index, rule) in list.enumerated() { rules.append(try Rule(rule, key: "weights[\(index)]", file: file)) }
    }
    self.init(name: try members.string("name"), rules: rules)
    if let cache = members["cache"] {
      let sides = try RecipeMembers(cache, key: "cache", file: file, known: ["keys", "values"])
      keyFormat = try sides.word("keys", default: .bf16)
      valueFormat = try sides.word("values", default: .bf16)
    }
    if let lowRank = members["low_rank"] {
      let sides = try RecipeMembers(lowRank, key: "low_rank", file: file, known: ["keys", "values", "shared"])
      keys = try sides["keys"].map { json throws(RecipeError) in
        try LowRank(json, key: "low_rank.keys", file: file, isOfValues: false)
      }
      values = try sides["values"].map { json throws(RecipeError) in
        try LowRank(json, key: "low_rank.values", file: file, isOfValues: true)
      }
      sharesRanks = try sides.bool("shared")
      guard !sharesRanks || (keys != nil && values != nil && keys?.ratio == values?.ratio && keys?.rule == values?.rule) else {
        throw sides.contradiction("shared", "it wants 'keys' and 'values' with the same 'ratio' and 'ranks'")
      }
    }
    if let calibration = members["calibration"] {
      let sizes = try RecipeMembers(calibration, key: "calibration", file: file, known: ["tokens", "window"])
      self.calibration = Calibration(
        tokens: try sizes.integer("tokens", in: 1...1 << 30, default: self.calibration.tokens),
        window: try sizes.integer("window", in: 1...1 << 20, default: self.calibration.window))
    }
  }

  /// The recipe as JSON that reads back as the same; of two recipes that are equal, the same text.
  public var json: String { value.text(indented: true) + "\n" }

  private var value: JSONValue {
    var members: [(name: String, value: JSONValue)] = [
      ("name", .string(name)), ("weights", .array(rules.map(\.value))),
      ("cache", .object([("keys", .string(keyFormat.rawValue)), ("values", .string(valueFormat.rawValue))])),
    ]
    let sides = [("keys", keys?.value(isOfValues: false)), ("values", values?.value(isOfValues: true))]
    var lowRank = sides.compactMap { name, value in value.map { (name: name, value: $0) } }
    if sharesRanks { lowRank.append(("shared", .bool(true))) }
    if !lowRank.isEmpty { members.append(("low_rank", .object(lowRank))) }
    members.append(
      ("calibration", .object([("tokens", .integer(calibration.tokens)), ("window", .integer(calibration.window))])))
    return .object(members)
  }
}

// MARK: Rules

extension Recipe.Rule {
  fileprivate init(_ json: JSONValue, key: String, file: String) throws(RecipeError) {
    let members = try RecipeMembers(
      json, key: key, file: file,
      known: [
        "layers", "format", "sparsity", "criterion", "scope", "refits", "clips", "special_values", "weighted", "error_feedback",
      ])
    let patterns = try members.required("layers")
    layers = (patterns.array ?? [patterns]).compactMap(\.string)
    guard !layers.isEmpty, layers.count == (patterns.array?.count ?? 1), !layers.contains("") else {
      throw members.invalid("layers", patterns, expected: "a pattern, or an array of them")
    }
    format = try members.word("format", default: nil)
    sparsity = try Recipe.Sparsity(members)
    quantization = try Recipe.Quantization(members, format: format, isSparse: sparsity != nil)
    if format == .bitmapRazerG128 || format == .bitmapBF16, sparsity == nil {
      throw members.contradiction("format", "\(format) leaves zeros out: it wants a 'sparsity'")
    }
  }

  fileprivate var value: JSONValue {
    var members: [(name: String, value: JSONValue)] = [
      ("layers", .array(layers.map { .string($0) })), ("format", .string(format.rawValue)),
    ]
    if let sparsity {
      members += [
        ("sparsity", .double(sparsity.fraction)), ("criterion", .string(sparsity.criterion.rawValue)),
        ("scope", .string(sparsity.scope.word)),
      ]
    }
    let quantization = quantization
    if quantization.refits != 0 { members.append(("refits", .integer(quantization.refits))) }
    if quantization.clips != [1] { members.append(("clips", .array(quantization.clips.map(JSONValue.float)))) }
    if let values = quantization.specialValues { members.append(("special_values", .array(values.map(JSONValue.float)))) }
    if quantization.weightsInputs { members.append(("weighted", .bool(true))) }
    if let feedback = quantization.errorFeedback {
      members.append(
        (
          "error_feedback",
          .object([("damping", .double(feedback.damping)), ("order", .string(feedback.order.rawValue))])
        ))
    }
    return .object(members)
  }
}

extension Recipe.Sparsity {
  /// nil where there is none.
  fileprivate init?(_ members: RecipeMembers) throws(RecipeError) {
    guard members["sparsity"] != nil else {
      if let name = ["criterion", "scope"].first(where: { members[$0] != nil }) {
        throw members.contradiction(name, "there is no 'sparsity'")
      }
      return nil
    }
    let scope: Scope = try members.word("scope", default: .row)
    self.init(
      try members.number("sparsity", in: 0...1, default: nil), by: try members.word("criterion", default: .magnitude),
      scope: scope == .row ? .row : .matrix)
  }

  private enum Scope: String, CaseIterable { case row, matrix }
}

extension Pruning.Scope {
  fileprivate var word: String { self == .row ? "row" : "matrix" }
}

extension Recipe.Quantization {
  fileprivate init(_ members: RecipeMembers, format: WeightFormat, isSparse: Bool) throws(RecipeError) {
    let names = ["refits", "clips", "special_values", "weighted"] + (isSparse ? [] : ["error_feedback"])
    if format.code4 == nil, let name = names.first(where: { members[$0] != nil }) {
      throw members.contradiction(name, "\(format) is no 4-bit format")
    }
    self.init(
      refits: try members.integer("refits", in: 0...16, default: 0), specialValues: try members.numbers("special_values"),
      weightsInputs: try members.bool("weighted"))
    if let value = members["clips"] {
      clips = value.bool == true ? Code4Quantizer.usualClips : try members.numbers("clips") ?? [1]
      guard clips.allSatisfy({ (0.1...2).contains($0) }) else {
        throw members.invalid("clips", value, expected: "true, or numbers in 0.1...2")
      }
    }
    if let values = specialValues {
      do { _ = try Code4Quantizer(format).with(specialValues: values) } catch {
        throw members.contradiction("special_values", "\(error)")
      }
    }
    errorFeedback = try Recipe.ErrorFeedback(members)
  }
}

extension Recipe.ErrorFeedback {
  /// nil where there is none. `true` takes everything as usual.
  fileprivate init?(_ members: RecipeMembers) throws(RecipeError) {
    guard let value = members["error_feedback"] else { return nil }
    self.init()
    if let isWanted = value.bool {
      if !isWanted { return nil }
      return
    }
    let options = try RecipeMembers(
      value, key: members.key("error_feedback"), file: members.file, known: ["damping", "order"])
    damping = try options.number("damping", in: 1e-9...1e9, default: damping)
    order = try options.word("order", default: order)
  }
}

// MARK: Low rank

extension Recipe.LowRank {
  fileprivate init(_ json: JSONValue, key: String, file: String, isOfValues: Bool) throws(RecipeError) {
    let known = ["ratio", "heads_per_group", "objective", "ranks", "rotated"] + (isOfValues ? ["fused"] : [])
    let members = try RecipeMembers(json, key: key, file: file, known: known)
    self.init(
      ratio: try members.number("ratio", in: 1e-6...1, default: nil),
      headsPerGroup: try members.integer("heads_per_group", in: 1...1 << 16, default: 1),
      objective: try members.word("objective", default: .outputs), rule: try members.word("ranks", default: .uniform),
      isRotated: try members.bool("rotated"), isFused: isOfValues ? try members.bool("fused") : false)
    if isOfValues, objective == .scores {
      throw members.contradiction("objective", "scores are made of keys; values have weights or outputs")
    }
  }

  fileprivate func value(isOfValues: Bool) -> JSONValue {
    .object(
      [
        ("ratio", .double(ratio)), ("heads_per_group", .integer(headsPerGroup)), ("objective", .string(objective.rawValue)),
        ("ranks", .string(rule.rawValue)), ("rotated", .bool(isRotated)),
      ] + (isOfValues ? [("fused", .bool(isFused))] : []))
  }
}

extension JSONValue {
  /// As a Float is written, which is shorter.
  fileprivate static func float(_ value: Float) -> JSONValue { value.isFinite ? .number("\(value)") : .null }
}
