internal import Tessera

extension LlamaConfiguration {
  /// Reads the metadata of a GGUF file. Mistral models call themselves `llama` there.
  /// - Throws: `ModelError` naming the key and its value, for what is missing, wrong, contradictory or not supported.
  public init(_ file: GGUFFile) throws(ModelError) {
    let keys = ConfigurationKeys(file: file.path) { file.metadata[$0].map(ConfigurationValue.init) }
    let name = try keys.string("general.architecture")
    guard let architecture = Architecture(rawValue: name), architecture != .mistral else {
      throw keys.unsupported("general.architecture", "'\(name)'", supported: "llama, qwen2")
    }
    try LlamaConfiguration.refuseUnsupported(file, keys, prefix: name)
    let hiddenSize = try keys.size("\(name).embedding_length")
    let heads = try keys.size("\(name).attention.head_count")
    let dimension = try LlamaConfiguration.headDimension(
      keys, given: keys.optionalSize("\(name).attention.key_length"), key: "\(name).attention.key_length",
      hidden: ("\(name).embedding_length", hiddenSize), heads: ("\(name).attention.head_count", heads))
    self.architecture = architecture
    self.hiddenSize = hiddenSize
    layerCount = try keys.size("\(name).block_count")
    feedForwardSize = try keys.size("\(name).feed_forward_length")
    let sharedHeads = "\(name).attention.head_count_kv"
    attention = try LlamaConfiguration.attention(
      keys, queryHeads: ("\(name).attention.head_count", heads),
      keyValueHeads: (sharedHeads, keys.optionalSize(sharedHeads) ?? heads), dimension: dimension)
    let context = try keys.size("\(name).context_length")
    contextLength = min(context, try keys.optionalSize("\(name).attention.sliding_window") ?? context)
    normEpsilon = Float(try keys.positive("\(name).attention.layer_norm_rms_epsilon"))
    let rotation = try LlamaConfiguration.rotation(keys, prefix: name, dimension: dimension.value)
    rotary = try rotation.embedding()
    (rotaryBase, rotaryScaling) = (rotation.base, rotation.scaling)
    vocabularySize = try LlamaConfiguration.vocabularySize(file, keys, prefix: name)
    tiesHead = !file.names.contains("output.weight")
    let present = Set(file.names)
    biases = Set(LlamaProjection.allCases.filter { present.contains("blk.0.\($0.nameInGGUF).bias") })
  }

  private static func refuseUnsupported(_ file: GGUFFile, _ keys: ConfigurationKeys, prefix: String) throws(ModelError) {
    if let experts = try keys.optionalCount("\(prefix).expert_count"), experts > 0 {
      throw keys.unsupported("\(prefix).expert_count", "\(experts)", supported: "0")
    }
    let (keyLength, valueLength) = ("\(prefix).attention.key_length", "\(prefix).attention.value_length")
    if let length = try keys.optionalSize(valueLength), length != (try keys.optionalSize(keyLength) ?? length) {
      throw keys.contradiction(valueLength, length, "'\(keyLength)' differs, and heads of two sizes are not supported")
    }
    if file.names.contains("rope_freqs.weight") {
      throw keys.unsupported("rope_freqs.weight", "there", supported: "none, linear; llama3 scaling from a Hugging Face folder")
    }
  }

  private static func vocabularySize(
    _ file: GGUFFile, _ keys: ConfigurationKeys, prefix: String
  ) throws(ModelError) -> Int {
    if let size = try keys.optionalSize("\(prefix).vocab_size") { return size }
    guard let tokens = file.metadata["tokenizer.ggml.tokens"]?.array?.count, tokens > 0 else {
      throw ModelError.missingKey(file: file.path, key: "\(prefix).vocab_size")
    }
    return tokens
  }

  private static func rotation(_ keys: ConfigurationKeys, prefix: String, dimension: Int) throws(ModelError) -> Rotation {
    let rotatedKey = "\(prefix).rope.dimension_count"
    let rotated = try keys.optionalSize(rotatedKey) ?? dimension
    // The rows of whole heads were permuted for a rotation of all of them.
    guard rotated == dimension || (prefix != Architecture.llama.rawValue && rotated % 2 == 0 && rotated < dimension) else {
      throw keys.unsupported(rotatedKey, "\(rotated)", supported: "\(dimension), the size of a head")
    }
    let theta = try keys.optionalPositive("\(prefix).rope.freq_base") ?? 10000
    let typeKey = "\(prefix).rope.scaling.type"
    let scaling: RotaryEmbedding.Scaling?
    switch try keys.optionalString(typeKey) ?? "none" {
    case "none": scaling = nil
    case "linear": scaling = .linear(factor: try keys.positive("\(prefix).rope.scaling.factor"))
    case let type: throw keys.unsupported(typeKey, "'\(type)'", supported: "none, linear")
    }
    return Rotation(rotated: rotated, base: theta, scaling: scaling)
  }
}

extension ConfigurationKeys {
  /// An integer from 0 on, or nil where the key is absent.
  fileprivate func optionalCount(_ key: String) throws(ModelError) -> Int? {
    guard let value = value(key) else { return nil }
    if case .integer(0) = value { return 0 }
    return try size(key)
  }
}

extension ConfigurationValue {
  fileprivate init(_ value: GGUFValue) {
    self =
      if let integer = value.integer {
        .integer(integer)
      } else if let number = value.number {
        .number(number)
      } else if let bool = value.bool {
        .bool(bool)
      } else if let string = value.string {
        .string(string)
      } else {
        .other("an array")
      }
  }
}
