internal import ArgumentParser
internal import ProgramSupport
internal import Tessera
internal import TesseraCompression
internal import TesseraLayers
internal import TesseraModels

/// Which model, in which form, on how many threads.
struct ModelOptions: ParsableArguments {
  @Argument(help: "A folder with config.json and safetensors, a GGUF file, or a packed model.")
  var model: String

  @Option(
    help: ArgumentHelp(
      "How linear layers are stored: bf16, bitmap-bf16, bitmap-int8, or a 4-bit format such as razer-g128. Default: "
        + "bf16; a packed model's layers are as they are.", valueName: "format"))
  var weights: String?

  @Option(
    help: ArgumentHelp(
      "How the head is stored, in one of the same formats and with all of its weights. Default: bf16.", valueName: "format"))
  var head: String?

  @Option(help: "The fraction of weights that bitmap formats set to zero, the smallest of each row. Default: 0.5.")
  var sparsity: Double?

  @Option(help: "Rows of x for 4-bit layers: bf16, int16, int8. Default: what the format's kernels read first.")
  var activations: String?

  @Option(
    help: ArgumentHelp(
      "How caches store keys and values: \(KVFormat.ofWholeKeys.map(\.rawValue).joined(separator: ", ")). "
        + "Default: bf16, or what a packed model says.", valueName: "format"))
  var cache: String?

  @Option(parsing: .unconditional, help: "Threads; 0 means one for each core that this process may use.")
  var threads = 0

  func makeExecutor() throws(ProgramError) -> Executor {
    guard threads >= 0 else { throw .usage("--threads \(threads): 0 means all allowed cores, 1 and more that many") }
    return try attempt { () throws(TesseraError) in try Executor(threads: threads == 0 ? nil : threads) }
  }

  func loadModel(on executor: Executor) throws(ProgramError) -> LlamaModel {
    let cache = try cacheFormat()
    if isPacked { return try loadPackedModel(cache) }
    let (form, head) = (try layerForm(), try headForm())
    defer { Terminal.clearProgress() }
    return try attempt { () throws(ModelError) in
      let checkpoint = try LlamaCheckpoint(path: model)
      return try LlamaModel(
        checkpoint, keys: cache ?? .bf16, values: cache ?? .bf16, on: executor
      ) { matrix throws(ModelError) in
        Terminal.progress("loading \(matrix.place)")
        return try (matrix.place == .head ? head : form).layer(of: matrix, on: executor)
      }
    }
  }

  private func loadPackedModel(_ cache: KVFormat?) throws(ProgramError) -> LlamaModel {
    for (option, isGiven) in [("weights", weights != nil), ("head", head != nil), ("sparsity", sparsity != nil)] where isGiven {
      throw .usage("--\(option): the layers of a packed model are as they are")
    }
    let activations = try activations.map { name throws(ProgramError) in try activationType(name, ActivationType.allCases) }
    return try attempt { () throws(ModelError) in
      try PackedModel(path: model).model(keys: cache, values: cache, activations: activations)
    }
  }

  private func cacheFormat() throws(ProgramError) -> KVFormat? {
    guard let cache else { return nil }
    guard let format = KVFormat(rawValue: cache), KVFormat.ofWholeKeys.contains(format) else {
      throw .usage("--cache \(cache): known are \(KVFormat.ofWholeKeys.map(\.rawValue).joined(separator: ", "))")
    }
    return format
  }

  private func activationType(_ name: String, _ known: [ActivationType]) throws(ProgramError) -> ActivationType {
    guard let type = ActivationType(rawValue: name), known.contains(type) else {
      throw .usage("--activations \(name): the kernels read \(known.map(\.rawValue).joined(separator: ", "))")
    }
    return type
  }

  /// For reports.
  var weightsName: String { weights ?? (isPacked ? "packed" : WeightFormat.bf16.rawValue) }
  var cacheName: String { cache ?? (isPacked ? "packed" : KVFormat.bf16.rawValue) }
  private var isPacked: Bool { PackedFile.isPacked(model) }

  func loadTokenizer() throws(ProgramError) -> Tokenizer {
    try attempt { () throws(TokenizerError) in try Tokenizer(path: model) }
  }

  private func layerForm() throws(ProgramError) -> LayerForm {
    let format = try weightFormat(weights, option: "weights")
    let sparsity = sparsity ?? 0.5
    guard (0...1).contains(sparsity) else { throw .usage("--sparsity \(sparsity): a fraction from 0 to 1") }
    let type = try activations.map { name throws(ProgramError) in try activationType(name, format.activations) }
    return LayerForm(format: format, sparsity: sparsity, activations: type)
  }

  /// The head reads the rows that the other layers read, where its kernels can.
  private func headForm() throws(ProgramError) -> LayerForm {
    let format = try weightFormat(head, option: "head")
    let type = activations.flatMap { ActivationType(rawValue: $0) }.flatMap { format.activations.contains($0) ? $0 : nil }
    return LayerForm(format: format, sparsity: 0, activations: type)
  }

  private func weightFormat(_ name: String?, option: String) throws(ProgramError) -> WeightFormat {
    let name = name ?? WeightFormat.bf16.rawValue
    guard let format = WeightFormat(rawValue: name) else {
      throw .usage("--\(option) \(name): known are \(WeightFormat.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return format
  }
}

/// What becomes of a linear layer while a model is loaded.
struct LayerForm {
  let format: WeightFormat
  let sparsity: Double
  /// Of 4-bit layers; nil means what the format's kernels read first.
  let activations: ActivationType?

  func layer(of matrix: LlamaMatrix, on executor: Executor) throws(ModelError) -> any LinearLayer {
    switch format {
    case .bf16: return try matrix.dense(on: executor)
    case .bitmapBF16: return try sparse(matrix, .bf16, on: executor)
    case .bitmapInt8: return try sparse(matrix, .int8, on: executor)
    default: return try quantized(matrix, on: executor)
    }
  }

  private func sparse(
    _ matrix: LlamaMatrix, _ values: SparAMXLinear.ValueType, on executor: Executor
  ) throws(ModelError) -> SparAMXLinear {
    do throws(TesseraError) {
      return try SparAMXLinear(
        matrix.weights.span, outputs: matrix.outputs, inputs: matrix.inputs, bias: matrix.bias,
        pruning: Pruning(sparsity: sparsity), values: values, on: executor)
    } catch {
      throw .operation(error)
    }
  }

  private func quantized(_ matrix: LlamaMatrix, on executor: Executor) throws(ModelError) -> any LinearLayer {
    do throws(CompressionError) {
      var weights = matrix.weights
      if !format.storesEveryElement {
        weights = try prunedWeights(of: matrix, on: executor)
      }
      return try RaZeRLinear(
        quantizing: weights.span, outputs: matrix.outputs, inputs: matrix.inputs, bias: matrix.bias,
        with: Code4Quantizer(format), activations: activations, on: executor)
    } catch {
      throw .unsupported(file: "\(matrix.place)", key: "weights", value: "\(error)", supported: "finite weights")
    }
  }

  private func prunedWeights(of matrix: LlamaMatrix, on executor: Executor) throws(CompressionError) -> [BFloat16] {
    do throws(TesseraError) {
      return try Pruning(sparsity: sparsity).pruned(
        matrix.weights.span, outputs: matrix.outputs, inputs: matrix.inputs, on: executor)
    } catch {
      throw .packing(error)
    }
  }
}
