internal import ArgumentParser
internal import Tessera
internal import TesseraModels

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Says what is in a model or a weight file.",
    discussion: """
      Every tensor with its format, its shape and, in a packed file, its bytes; for a model, its configuration first. The \
      checksums of a packed file are compared while it is opened.
      """)

  @Argument(help: "A packed file, a safetensors file or its index, a GGUF file, or a folder.")
  var path: String

  func run() throws { try execute() }

  private func execute() throws(ProgramError) {
    if let packed = try packedFile() { return describe(packed) }
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

  /// nil for a file of another kind; a packed file that is damaged is an error.
  private func packedFile() throws(ProgramError) -> PackedFile? {
    let metadata = (try? SafetensorsFile.open(path))?.metadata ?? [:]
    guard metadata.keys.contains(where: { $0.hasPrefix("tessera.") }) else { return nil }
    return try attempt { () throws(WeightFileError) in try PackedFile.open(path) }
  }

  private func describe(_ file: PackedFile) {
    for (key, value) in file.metadata.sorted(by: { $0.key < $1.key }) { Terminal.line("\(key): \(value)") }
    for tensor in file.tensors {
      Terminal.line("\(tensor.name)  \(tensor.format.rawValue)  \(tensor.rows) x \(tensor.columns)  \(tensor.byteCount) bytes")
    }
    let bytes = file.tensors.reduce(0) { $0 + $1.byteCount }
    Terminal.line("\(file.tensors.count) tensors, \(bytes) bytes, checksums match")
  }

  private func describe(_ configuration: LlamaConfiguration) {
    let heads = configuration.attention
    Terminal.line(
      "\(configuration.layerCount) layers of \(configuration.hiddenSize), \(heads.queryHeads) heads of "
        + "\(heads.keyDimension) over \(heads.keyValueHeads)")
    Terminal.line("vocabulary \(configuration.vocabularySize), context \(configuration.contextLength)")
  }

  private func type(of name: String, in source: any WeightSource) -> String {
    switch source {
    case let file as GGUFFile: (try? file.tensor(named: name)).map { "\($0.type)" } ?? "?"
    case let file as SafetensorsFile: (try? file.type(of: name)).map { $0.rawValue } ?? "?"
    default: "?"
    }
  }

  private func sizes(_ shape: [Int]) -> String { shape.map(String.init).joined(separator: " x ") }
}
