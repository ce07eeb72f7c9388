internal import ArgumentParser
internal import Tessera
internal import TesseraCompression
internal import TesseraLayers
internal import TesseraModels

/// Which model, in which form, on how many threads.
struct ModelOptions: ParsableArguments {
  @Argument(help: "A folder with config.json and safetensors, or a GGUF file.")
  var model: String

  @Option(
    help:
      "How linear layers are stored: bf16, bitmap-bf16, bitmap-int8, or a 4-bit format such as razer-g128. The head stays bf16.")
  var weights: String = WeightFormat.bf16.rawValue

  @Option(help: "The fraction of weights that bitmap formats set to zero, the smallest of each row.")
  var sparsity: Double = 0.5

  @Option(help: "Rows of x for 4-bit layers: bf16, int16, int8. Default: what the format's kernels read first.")
  var activations: String?

  @Option(help: "How caches store keys and values: \(KVFormat.allCases.map(\.rawValue).joined(separator: ", ")).")
  var cache: String = KVFormat.bf16.rawValue

  @Option(parsing: .unconditional, help: "Threads; 0 means one for each core that this process may use.")
  var threads = 0

  func makeExecutor() throws(ProgramError) -> Executor {
    guard threads >= 0 else { throw .usage("--threads \(threads): 0 means all allowed cores, 1 and more that many") }
    return try attempt { () throws(TesseraError) in try Executor(threads: threads == 0 ? nil : threads) }
  }

  func loadModel(on executor: Executor) throws(ProgramError) -> LlamaModel {
    let form = try layerForm()
    guard let cache = KVFormat(rawValue: cache) else {
      throw .usage("--cache \(cache): known are \(KVFormat.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    defer { Terminal.clearProgress() }
    return try attempt { () throws(ModelError) in
      let checkpoint = try LlamaCheckpoint(path: model)
      return try LlamaModel(checkpoint, keys: cache, values: cache, on: executor) { matrix throws(ModelError) in
        Terminal.progress("loading \(matrix.place)")
        return try form.layer(of: matrix, on: executor)
      }
    }
  }

  func loadTokenizer() throws(ProgramError) -> Tokenizer {
    try attempt { () throws(TokenizerError) in try Tokenizer(path: model) }
  }

  private func layerForm() throws(ProgramError) -> LayerForm {
    guard let format = WeightFormat(rawValue: weights) else {
      throw .usage("--weights \(weights): known are \(WeightFormat.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    guard (0...1).contains(sparsity) else { throw .usage("--sparsity \(sparsity): a fraction from 0 to 1") }
    var type: ActivationType?
    if let activations {
      guard let known = ActivationType(rawValue: activations), format.activations.contains(known) else {
        let known = format.activations.map(\.rawValue).joined(separator: ", ")
        throw .usage("--activations \(activations): kernels for \(format) read \(known)")
      }
      type = known
    }
    return LayerForm(format: format, sparsity: sparsity, activations: type)
  }
}

/// What becomes of a linear layer while a model is loaded.
struct LayerForm {
  let format: WeightFormat
  let sparsity: Double
  /// Of 4-bit layers; nil means what the format's kernels read first.
  let activations: ActivationType?

  func layer(of matrix: LlamaMatrix, on executor: Executor) throws(ModelError) -> any LinearLayer {
    if matrix.place == .head { return try matrix.dense(on: executor) }
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
