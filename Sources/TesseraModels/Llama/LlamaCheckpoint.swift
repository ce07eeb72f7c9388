public import Tessera

/// A model of the Llama family as it lies in files: its configuration and its tensors, under one set of names and in one order
/// of rows, whatever the format.
///
/// Files in GGUF form keep the rows of q and k of Llama models in another order, in which rotation turns neighbours. Here they
/// come back in Hugging Face's: whole rows move, so nothing is rounded, and every layer, cache and packed file knows one order.
public struct LlamaCheckpoint: Sendable {
  public let configuration: LlamaConfiguration
  /// The tensors as they are in the files.
  public let source: any WeightSource
  private let names: LlamaTensorNames
  private let hasPermutedRows: Bool

  /// Opens a folder in Hugging Face's form, with `config.json` and safetensors files, or a GGUF file, and compares the shape of
  /// every tensor with the configuration.
  /// - Throws: what is wrong, naming the key or the tensor.
  public init(path: String) throws(ModelError) {
    let source = try readingModelFile { () throws(WeightFileError) in try openWeights(path) }
    if let file = source as? GGUFFile {
      try self.init(file)
    } else {
      try self.init(
        configuration: LlamaConfiguration(configFile: "\(LlamaCheckpoint.folder(of: path))/config.json"), source: source)
    }
  }

  /// A checkpoint in Hugging Face's names and order, with the configuration from elsewhere.
  public init(configuration: LlamaConfiguration, source: any WeightSource) throws(ModelError) {
    try self.init(configuration, source, .huggingFace, hasPermutedRows: false)
  }

  /// A GGUF file that is open already.
  public init(_ file: GGUFFile) throws(ModelError) {
    let configuration = try LlamaConfiguration(file)
    try self.init(configuration, file, .gguf, hasPermutedRows: configuration.architecture == .llama)
  }

  private init(
    _ configuration: LlamaConfiguration, _ source: any WeightSource, _ names: LlamaTensorNames, hasPermutedRows: Bool
  ) throws(ModelError) {
    self.configuration = configuration
    self.source = source
    self.names = names
    self.hasPermutedRows = hasPermutedRows
    try checkShapes()
  }

  /// The path itself, or the folder of the file that it names.
  static func folder(of path: String) -> String {
    guard path.hasSuffix(".safetensors") || path.hasSuffix(".json") else { return path }
    return path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
  }

  private func checkShapes() throws(ModelError) {
    let hidden = configuration.hiddenSize
    try check(names.embedding, [configuration.vocabularySize, hidden])
    try check(names.outputNorm, [hidden])
    for layer in 0..<configuration.layerCount {
      try check(names.attentionNorm(layer), [hidden])
      try check(names.feedForwardNorm(layer), [hidden])
    }
    for place in configuration.places where !(place == .head && configuration.tiesHead) {
      let (outputs, inputs) = configuration.shape(of: place)
      try check(names.weight(place), [outputs, inputs])
      if hasBias(place) { try check(names.bias(place), [outputs]) }
    }
  }

  private func check(_ name: String, _ expected: [Int]) throws(ModelError) {
    let shape = try readingModelFile { () throws(WeightFileError) in try source.shape(of: name) }
    guard shape == expected else {
      throw ModelError.wrongShape(file: source.path, tensor: name, expected: expected, got: shape)
    }
  }
}

// MARK: Tensors

extension LlamaCheckpoint {
  /// Vocabulary x hidden size, row after row.
  public func embedding() throws(ModelError) -> [BFloat16] { try bfloat16(names.embedding) }

  /// The same in single precision.
  public func float32Embedding() throws(ModelError) -> [Float] { try float32(names.embedding) }

  /// Outputs x inputs, row after row; the head of a model that ties it is the embedding.
  public func weights(of place: LlamaPlace) throws(ModelError) -> [BFloat16] {
    try unpermuted(bfloat16(name(of: place)), of: place)
  }

  /// The same in single precision: what a quantiser should see of a checkpoint that is finer than bfloat16.
  public func float32(of place: LlamaPlace) throws(ModelError) -> [Float] {
    try unpermuted(float32(name(of: place)), of: place)
  }

  /// nil where the model has none.
  public func bias(of place: LlamaPlace) throws(ModelError) -> [Float]? {
    hasBias(place) ? try unpermuted(float32(names.bias(place)), of: place) : nil
  }

  /// The factors of the norm before attention.
  public func attentionNorm(ofLayer layer: Int) throws(ModelError) -> [Float] { try float32(names.attentionNorm(layer)) }

  /// The factors of the norm before the feed-forward part.
  public func feedForwardNorm(ofLayer layer: Int) throws(ModelError) -> [Float] { try float32(names.feedForwardNorm(layer)) }

  /// The factors of the norm before the head.
  public func outputNorm() throws(ModelError) -> [Float] { try float32(names.outputNorm) }

  private func name(of place: LlamaPlace) -> String {
    place == .head && configuration.tiesHead ? names.embedding : names.weight(place)
  }

  private func hasBias(_ place: LlamaPlace) -> Bool {
    if case .layer(_, let projection) = place { configuration.biases.contains(projection) } else { false }
  }

  private func float32(_ name: String) throws(ModelError) -> [Float] {
    try readingModelFile { () throws(WeightFileError) in try source.float32(name) }
  }

  private func bfloat16(_ name: String) throws(ModelError) -> [BFloat16] {
    try readingModelFile { () throws(WeightFileError) in try source.bfloat16(name) }
  }

  /// In every head row 2i + s of a permuted file is row i + n s here, with n half the head's rows.
  private func unpermuted<Element>(_ rows: [Element], of place: LlamaPlace) -> [Element] {
    guard hasPermutedRows, case .layer(_, let projection) = place, projection == .query || projection == .key else { return rows }
    let width = rows.count / configuration.shape(of: projection).outputs
    let dimension = configuration.attention.keyDimension
    var ordered: [Element] = []
    ordered.reserveCapacity(rows.count)
    for head in stride(from: 0, to: rows.count / width, by: dimension) {
      for row in 0..<dimension {
        let source = head + 2 * (row % (dimension / 2)) + row / (dimension / 2)
        ordered += rows[source * width..<(source + 1) * width]
      }
    }
    return ordered
  }
}
