internal import Tessera

extension LlamaConfiguration {
  private static let largestFile = 1 << 20

  /// Reads the `config.json` among a model's files, as `init(configFile:)` does.
  public init(_ files: ModelFiles) throws(ModelError) {
    let json = try readingModelFile { () throws(WeightFileError) in
      _ = try files.required(.configuration)
      return try files.json(.configuration, limit: LlamaConfiguration.largestFile) ?? .null
    }
    try self.init(huggingFace: json, file: files.path(of: .configuration))
  }

  /// Reads a `config.json`.
  ///
  /// What Hugging Face's own classes assume where a key is absent is assumed here, but for sizes, which must be there.
  /// - Throws: `ModelError` naming the key and its value, for what is missing, wrong, contradictory or not supported.
  public init(configFile path: String) throws(ModelError) {
    let json = try readingModelFile { () throws(WeightFileError) in
      try JSONValue(path: path, limit: LlamaConfiguration.largestFile)
    }
    try self.init(huggingFace: json, file: path)
  }

  init(huggingFace json: JSONValue, file: String) throws(ModelError) {
    let keys = ConfigurationKeys(file: file) { json.configurationValue($0) }
    let architecture = try LlamaConfiguration.architecture(json, keys)
    try LlamaConfiguration.refuseUnsupported(json, keys)
    let hiddenSize = try keys.size("hidden_size")
    let heads = try keys.size("num_attention_heads")
    let dimension = try LlamaConfiguration.headDimension(
      keys, given: keys.optionalSize("head_dim"), key: "head_dim", hidden: ("hidden_size", hiddenSize),
      heads: ("num_attention_heads", heads))
    self.architecture = architecture
    self.hiddenSize = hiddenSize
    layerCount = try keys.size("num_hidden_layers")
    feedForwardSize = try keys.size("intermediate_size")
    attention = try LlamaConfiguration.attention(
      keys, queryHeads: ("num_attention_heads", heads),
      keyValueHeads: ("num_key_value_heads", keys.optionalSize("num_key_value_heads") ?? heads), dimension: dimension)
    vocabularySize = try keys.size("vocab_size")
    contextLength = try LlamaConfiguration.contextLength(architecture, keys)
    normEpsilon = Float(try keys.positive("rms_norm_eps"))
    let rotation = try LlamaConfiguration.rotation(json, keys, dimension: dimension.value)
    rotary = try rotation.embedding()
    (rotaryBase, rotaryScaling) = (rotation.base, rotation.scaling)
    tiesHead = try keys.optionalBool("tie_word_embeddings") ?? false
    biases = try LlamaConfiguration.biases(architecture, keys)
  }

  private static func architecture(_ json: JSONValue, _ keys: ConfigurationKeys) throws(ModelError) -> Architecture {
    let name = try keys.string("model_type")
    guard let architecture = Architecture(rawValue: name) else {
      throw keys.unsupported("model_type", "'\(name)'", supported: Architecture.allCases.map(\.rawValue).joined(separator: ", "))
    }
    guard let classes = json["architectures"] else { return architecture }
    let expected = architecture.className
    guard classes.array?.contains(where: { $0.string == expected }) == true else {
      throw keys.unsupported("architectures", classes.summary, supported: "'\(expected)' for model_type '\(name)'")
    }
    return architecture
  }

  private static func refuseUnsupported(_ json: JSONValue, _ keys: ConfigurationKeys) throws(ModelError) {
    if let activation = try keys.optionalString("hidden_act"), activation != "silu", activation != "swish" {
      throw keys.unsupported("hidden_act", "'\(activation)'", supported: "silu")
    }
    if let quantization = json["quantization_config"] {
      let method = quantization["quant_method"]?.string ?? quantization.summary
      throw keys.unsupported("quantization_config", "'\(method)'", supported: "checkpoints of BF16, F16 or F32")
    }
  }

  /// A window hides nothing from sequences that are no longer than it.
  private static func contextLength(_ architecture: Architecture, _ keys: ConfigurationKeys) throws(ModelError) -> Int {
    let context = try keys.size("max_position_embeddings")
    let asksForWindow = try keys.optionalBool("use_sliding_window") ?? false
    guard architecture == .mistral || asksForWindow, let window = try keys.optionalSize("sliding_window") else { return context }
    return min(context, window)
  }

  private static func biases(
    _ architecture: Architecture, _ keys: ConfigurationKeys
  ) throws(ModelError) -> Set<LlamaProjection> {
    let attention = try keys.optionalBool("attention_bias") ?? false
    let feedForward = try keys.optionalBool("mlp_bias") ?? false
    var biases: Set<LlamaProjection> = []
    if architecture == .qwen2 { biases.formUnion([.query, .key, .value]) }
    if attention { biases.formUnion([.query, .key, .value, .output]) }
    if feedForward { biases.formUnion([.gate, .up, .down]) }
    return biases
  }
}

// MARK: Rotation

extension LlamaConfiguration {
  /// Older files have `rope_theta` and `rope_scaling`, newer ones both in `rope_parameters`.
  private static func rotation(
    _ json: JSONValue, _ keys: ConfigurationKeys, dimension: Int
  ) throws(ModelError) -> Rotation {
    let group = json["rope_parameters"] == nil ? "rope_scaling" : "rope_parameters"
    let nested = json[group]
    let inner = ConfigurationKeys(file: keys.file) { key in
      nested?.configurationValue(String(key.dropFirst(group.count + 1)))
    }
    if let nested, nested.object == nil { throw keys.invalid(group, .other(nested.summary), expected: "an object") }
    let innerTheta = try inner.optionalPositive("\(group).rope_theta")
    let theta = try keys.optionalPositive("rope_theta") ?? innerTheta ?? 10000
    let innerShare = try inner.optionalPositive("\(group).partial_rotary_factor")
    let share = try keys.optionalPositive("partial_rotary_factor") ?? innerShare ?? 1
    let rotated = Int(min(Double(dimension) * share, Double(dimension)))
    guard share <= 1, rotated > 0, rotated % 2 == 0 else {
      throw keys.invalid("partial_rotary_factor", .number(share), expected: "at most 1, of \(dimension) elements an even number")
    }
    return Rotation(rotated: rotated, base: theta, scaling: nested == nil ? nil : try scaling(inner, group: group))
  }

  private static func scaling(_ keys: ConfigurationKeys, group: String) throws(ModelError) -> RotaryEmbedding.Scaling? {
    let key = keys.has("\(group).rope_type") ? "\(group).rope_type" : "\(group).type"
    switch group == "rope_parameters" ? try keys.optionalString(key) ?? "default" : try keys.string(key) {
    case "default":
      return nil
    case "linear":
      return .linear(factor: try keys.positive("\(group).factor"))
    case "llama3":
      let low = try keys.positive("\(group).low_freq_factor")
      let high = try keys.positive("\(group).high_freq_factor")
      guard low < high else {
        throw keys.contradiction("\(group).high_freq_factor", high, "'\(group).low_freq_factor' is \(low)")
      }
      return .llama3(
        factor: try keys.positive("\(group).factor"), lowFactor: low, highFactor: high,
        originalContext: try keys.positive("\(group).original_max_position_embeddings"))
    case let type:
      throw keys.unsupported(key, "'\(type)'", supported: "default, linear, llama3")
    }
  }
}

extension LlamaConfiguration.Architecture {
  /// What Hugging Face calls the class with the head.
  var className: String {
    switch self {
    case .llama: "LlamaForCausalLM"
    case .mistral: "MistralForCausalLM"
    case .qwen2: "Qwen2ForCausalLM"
    }
  }
}

extension JSONValue {
  fileprivate var object: [(name: String, value: JSONValue)]? { if case .object(let members) = self { members } else { nil } }

  /// For messages: what it is, or what it says where that is short.
  fileprivate var summary: String {
    switch self {
    case .null: "null"
    case .bool(let value): "\(value)"
    case .number(let text): text
    case .string(let text): "'\(String(text.unicodeScalars.prefix(64)))'"
    case .array(let elements): "[\(elements.prefix(4).map(\.summary).joined(separator: ", "))]"
    case .object: "an object"
    }
  }

  /// A member as configurations have it.
  fileprivate func configurationValue(_ key: String) -> ConfigurationValue? {
    guard let value = self[key] else { return nil }
    switch value {
    case .bool(let bool): return .bool(bool)
    case .string(let string): return .string(string)
    case .number(let text):
      if let integer = value.integer { return .integer(integer) }
      return value.double.map { .number($0) } ?? .other(text)
    default: return .other(value.summary)
    }
  }
}
