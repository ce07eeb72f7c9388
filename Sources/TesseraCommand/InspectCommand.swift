internal import ArgumentParser
internal import ProgramSupport
internal import Tessera
internal import TesseraModels

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Says what is in a model or a weight file.",
    discussion: """
      Every tensor with its format, its shape and, in a packed file, its bytes; for a model, its configuration first. The \
      checksums of a packed file are compared, which reads all of it; a tensor whose bytes are not those that were written is \
      marked, and the exit code is then 2.
      """)

  @Argument(help: "A packed model or file, a safetensors file or its index, a GGUF file, or a folder.")
  var path: String

  @Flag(help: "Leave the checksums of a packed file aside: read its header only.")
  var quick = false

  func run() throws { try execute() }

  private func execute() throws(ProgramError) {
    if PackedFile.isPacked(path) { return try describePackedFile() }
    if let checkpoint = try? LlamaCheckpoint(path: path) { describe(checkpoint.configuration) }
    let source = try attempt { () throws(WeightFileError) in try openWeights(path) }
    var elements = 0
    for name in source.names {
      let shape = try attempt { () throws(WeightFileError) in try source.shape(of: name) }
      elements += shape.reduce(1, *)
      Terminal.line("\(name)  \(type(of: name, in: source))  \(sizes(shape))")
    }
    Terminal.line("\(source.names.count) tensors, \(elements) elements")
  }

  private func type(of name: String, in source: any WeightSource) -> String {
    switch source {
    case let file as GGUFFile: (try? file.tensor(named: name)).map { "\($0.type)" } ?? "?"
    case let file as SafetensorsFile: (try? file.type(of: name)).map { $0.rawValue } ?? "?"
    default: "?"
    }
  }

  private func sizes(_ shape: [Int]) -> String { shape.map(String.init).joined(separator: " x ") }

  private func describe(_ configuration: LlamaConfiguration) {
    let heads = configuration.attention
    Terminal.line(
      "\(configuration.architecture.rawValue): \(configuration.layerCount) layers of \(configuration.hiddenSize), "
        + "\(heads.queryHeads) heads of \(heads.keyDimension) over \(heads.keyValueHeads), "
        + "\(configuration.parameterCount) parameters")
    Terminal.line("vocabulary \(configuration.vocabularySize), context \(configuration.contextLength)")
  }
}

// MARK: Packed files

extension InspectCommand {
  private func describePackedFile() throws(ProgramError) {
    let file = try attempt { () throws(WeightFileError) in try PackedFile.open(path, verifying: .structure) }
    for (key, value) in file.metadata.sorted(by: { $0.key < $1.key }) { Terminal.line("\(key): \(value)") }
    if let model = try packedModel(file) {
      describe(model.configuration)
      describe(model.caches)
    }
    var damaged = quick ? [] : faults { () throws(WeightFileError) in try file.verifyHeader() }
    for tensor in file.tensors {
      let faults = quick ? [] : faults { () throws(WeightFileError) in try file.verify(tensor.name) }
      damaged += faults
      Terminal.line(
        "\(tensor.name)  \(tensor.format.rawValue)  \(tensor.rows) x \(tensor.columns)  \(density(tensor))"
          + "\(tensor.byteCount) bytes\(faults.isEmpty ? "" : "  DAMAGED")")
    }
    let bytes = file.tensors.reduce(0) { $0 + $1.byteCount }
    let state = quick ? "checksums not compared" : damaged.isEmpty ? "checksums match" : "\(damaged.count) damaged"
    Terminal.line("\(file.tensors.count) tensors, \(bytes) bytes, \(state)")
    if let first = damaged.first { throw .failed(first) }
  }

  /// nil for a packed file that holds no model. One that holds a broken model is still listed, tensor by tensor.
  private func packedModel(_ file: PackedFile) throws(ProgramError) -> PackedModel? {
    guard file["config.json"] != nil else { return nil }
    do throws(ModelError) {
      return try PackedModel(file)
    } catch {
      Terminal.note("\(error)")
      return nil
    }
  }

  private func faults(_ check: () throws(WeightFileError) -> Void) -> [String] {
    do throws(WeightFileError) {
      try check()
      return []
    } catch {
      return ["\(error)"]
    }
  }

  /// Of weights without their zeros.
  private func density(_ tensor: PackedTensor) -> String {
    guard !tensor.format.storesEveryElement, tensor.format.weightFormat?.code4 == nil else { return "" }
    return "density \(fixed(Double(tensor.nonZeroCount) / Double(tensor.rows * tensor.columns), 3))  "
  }

  /// Layers with the same cache in one line.
  private func describe(_ caches: [CacheForm]) {
    var first = 0
    for layer in caches.indices where layer + 1 == caches.count || caches[layer + 1] != caches[first] {
      let range = first == layer ? "layer \(layer)" : "layers \(first) to \(layer)"
      let values = text(caches[first].values) + (caches[first].fusesValues ? ", lifted by the output projection" : "")
      Terminal.line("cache of \(range): keys \(text(caches[first].keys)), values \(values)")
      first = layer + 1
    }
  }

  private func text(_ side: CacheForm.Side) -> String {
    side.format.rawValue + (side.ranks.map { " of rank \($0.map(String.init).joined(separator: " "))" } ?? "")
  }
}
