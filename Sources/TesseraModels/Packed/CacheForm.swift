public import Tessera

/// How the cache of one layer holds keys and values.
public struct CacheForm: Sendable, Hashable {
  /// The keys, or the values.
  public struct Side: Sendable, Hashable {
    /// How its rows are stored.
    public var format: KVFormat
    /// The elements of each group's latent (Palu, arXiv 2407.21118); nil where rows are whole.
    public var ranks: [Int]?

    public init(_ format: KVFormat, ranks: [Int]? = nil) {
      self.format = format
      self.ranks = ranks
    }
  }

  public var keys: Side
  public var values: Side
  /// Whether the output projection takes sums of value latents, and nothing lifts them before (`ValueForm.fused`).
  public var fusesValues: Bool

  public init(keys: Side = Side(.bf16), values: Side = Side(.bf16), fusesValues: Bool = false) {
    self.keys = keys
    self.values = values
    self.fusesValues = fusesValues
  }

  /// Whether anything is of low rank.
  public var hasLatents: Bool { keys.ranks != nil || values.ranks != nil }
}

extension CacheForm {
  /// The name of the file, or tensor, that has the forms of all layers.
  static let fileName = "cache.json"
  private static let largestFile = 1 << 24

  /// {"layers": [{"keys": {"format": "bf16"}, "values": {"format": "int8", "ranks": [32, 32], "fused": true}}, ...]}
  static func json(_ layers: [CacheForm]) -> JSONValue {
    func side(_ side: Side, fused: Bool) -> JSONValue {
      var members: [(name: String, value: JSONValue)] = [("format", .string(side.format.rawValue))]
      if let ranks = side.ranks { members.append(("ranks", .array(ranks.map { .integer($0) }))) }
      if fused { members.append(("fused", .bool(true))) }
      return .object(members)
    }
    return .object([
      (
        "layers",
        .array(
          layers.map { layer in
            .object([
              ("keys", side(layer.keys, fused: false)), ("values", side(layer.values, fused: layer.fusesValues)),
            ])
          })
      )
    ])
  }

  /// The forms of a model's layers, checked against its heads.
  static func layers(
    parsing bytes: UnsafeRawBufferPointer, file: String, of configuration: LlamaConfiguration
  ) throws(WeightFileError) -> [CacheForm] {
    let json = try JSONValue(parsing: bytes, file: file, limit: largestFile)
    let reader = CacheFormReader(file: file, shape: configuration.attention)
    guard let layers = try reader.members(json, "the file", known: ["layers"])["layers"]?.array else {
      throw reader.wrong("layers", "absent, or no array")
    }
    guard layers.count == configuration.layerCount else {
      throw reader.wrong("layers", "\(layers.count) of them, the model has \(configuration.layerCount)")
    }
    var forms: [CacheForm] = []
    for (index, layer) in layers.enumerated() { forms.append(try reader.form(layer, "layers[\(index)]")) }
    return forms
  }
}

private struct CacheFormReader {
  let file: String
  let shape: AttentionShape

  func wrong(_ key: String, _ detail: String) -> WeightFileError { .wrongMetadata(file: file, key: key, detail: detail) }

  /// The members of an object, all of them known.
  func members(_ json: JSONValue, _ key: String, known: Set<String>) throws(WeightFileError) -> [String: JSONValue] {
    guard case .object(let members) = json else { throw wrong(key, "no object") }
    if let stranger = members.first(where: { !known.contains($0.name) }) {
      throw wrong(key, "unknown member '\(stranger.name)'")
    }
    return Dictionary(uniqueKeysWithValues: members.map { ($0.name, $0.value) })
  }

  func form(_ json: JSONValue, _ key: String) throws(WeightFileError) -> CacheForm {
    let sides = try members(json, key, known: ["keys", "values"])
    guard let keys = sides["keys"], let values = sides["values"] else { throw wrong(key, "'keys' or 'values' is missing") }
    let (keySide, _) = try side(keys, "\(key).keys", dimension: shape.keyDimension, isValues: false)
    let (valueSide, isFused) = try side(values, "\(key).values", dimension: shape.valueDimension, isValues: true)
    if let keys = keySide.ranks?.count, let values = valueSide.ranks?.count, max(keys, values) % min(keys, values) != 0 {
      throw wrong(key, "\(keys) groups of keys and \(values) of values; one must divide the other")
    }
    return CacheForm(keys: keySide, values: valueSide, fusesValues: isFused)
  }

  private func side(
    _ json: JSONValue, _ key: String, dimension: Int, isValues: Bool
  ) throws(WeightFileError) -> (CacheForm.Side, isFused: Bool) {
    let members = try members(json, key, known: isValues ? ["format", "ranks", "fused"] : ["format", "ranks"])
    guard let name = members["format"]?.string, let format = KVFormat(rawValue: name) else {
      throw wrong("\(key).format", "known are \(KVFormat.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    let isFused = members["fused"]?.bool ?? false
    guard let ranks = members["ranks"] else {
      guard !isFused else { throw wrong("\(key).fused", "there are no ranks") }
      guard isValues || KVFormat.ofWholeKeys.contains(format) else {
        throw wrong("\(key).format", "\(format) holds latents, and there are no ranks")
      }
      return (CacheForm.Side(format), false)
    }
    let numbers = (ranks.array ?? []).map { $0.integer ?? 0 }
    guard !numbers.isEmpty, shape.keyValueHeads % numbers.count == 0 else {
      throw wrong("\(key).ranks", "\(numbers.count) groups, which do not divide \(shape.keyValueHeads) heads")
    }
    let limit = min(shape.keyValueHeads / numbers.count * dimension, AttentionShape.mostDimension)
    guard numbers.allSatisfy((1...limit).contains) else {
      throw wrong("\(key).ranks", "\(numbers), expected integers of 1...\(limit)")
    }
    return (CacheForm.Side(format, ranks: numbers), isFused)
  }
}
