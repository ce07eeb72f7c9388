public import Tessera
internal import TesseraLayers

/// A model in one file: matrices in any packed format, norms, configuration, tokenizer and chat template (Docs/Formats.md 6).
///
/// The file is mapped and its matrices are used in place, so opening reads little, and several processes share the memory.
///
/// ```swift
/// let packed = try PackedModel(path: "model.tessera")
/// let model = try packed.model()
/// let tokenizer = try packed.tokenizer()
/// ```
public struct PackedModel: Sendable {
  /// What the model is.
  public let configuration: LlamaConfiguration
  /// Configuration, tokenizer and chat template.
  public let files: ModelFiles
  /// How each layer's cache holds keys and values.
  public let caches: [CacheForm]
  /// The tensors.
  public let file: PackedFile

  /// Opens a model.
  /// - Parameters:
  ///   - path: a file that `PackedModel.write` wrote.
  ///   - verification: `structure` compares the checksums of the header and of everything but the matrices, which
  ///     `file.verify` does on demand; `checksums` compares all of them, which reads the whole file.
  /// - Throws: what is wrong with the file, naming the tensor or the key.
  public init(path: String, verifying verification: PackedFile.Verification = .structure) throws(ModelError) {
    try self.init(readingModelFile { () throws(WeightFileError) in try PackedFile.open(path, verifying: verification) })
  }

  /// A model in a packed file that is open already.
  /// - Throws: what is wrong with the file, naming the tensor or the key.
  public init(_ file: PackedFile) throws(ModelError) {
    let files = try readingModelFile { () throws(WeightFileError) in
      try file.verifyHeader()
      return try ModelFiles(file)
    }
    let configuration = try LlamaConfiguration(files)
    caches = try readingModelFile { () throws(WeightFileError) in
      guard let tensor = file[CacheForm.fileName] else {
        return [CacheForm](repeating: CacheForm(), count: configuration.layerCount)
      }
      try file.verify(tensor.name)
      let contents = try tensor.plainBytes()
      defer { withExtendedLifetime(contents) {} }
      return try CacheForm.layers(
        parsing: contents.bytes, file: "\(file.file): \(CacheForm.fileName)", of: configuration)
    }
    self.file = file
    self.files = files
    self.configuration = configuration
    try PackedModelLayout(configuration, caches, file: file.file).check(file.tensors)
  }

  /// The model's tokenizer.
  /// - Throws: what is wrong with it; `TokenizerError.file` where the file has none.
  public func tokenizer() throws(TokenizerError) -> Tokenizer { try Tokenizer(files) }

  /// The model, its matrices where they are mapped. What kernels trust is checked: shapes, counts of bits, scales.
  /// - Parameters:
  ///   - keys: how caches store keys, or their latents; nil means as the file says.
  ///   - values: likewise.
  ///   - activations: rows of x for 4-bit layers; nil means what the format's kernels read first.
  /// - Throws: what is wrong with a tensor, with its name; `ModelError.operation` for activations that a format's kernels do not
  ///   read, and when memory runs out.
  public func model(
    keys: KVFormat? = nil, values: KVFormat? = nil, activations: ActivationType? = nil
  ) throws(ModelError) -> LlamaModel {
    let caches = caches.map { form in
      var form = form
      form.keys.format = keys ?? form.keys.format
      form.values.format = values ?? form.values.format
      return form
    }
    let loader = PackedModelLoader(configuration, file, caches, activations: activations)
    var layers: [LlamaLayer] = []
    for layer in 0..<configuration.layerCount { layers.append(try loader.layer(layer)) }
    let (embedding, head) = try loader.embeddingAndHead()
    return try LlamaModel(
      configuration: configuration, embedding: embedding, layers: layers,
      outputNorm: loader.norm(PackedModelNames.outputNorm), head: head)
  }
}
