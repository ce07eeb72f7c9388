internal import Tessera

/// Which tensors a packed model of a configuration and some forms of caches consists of, beside its small files (rules M4 to M8
/// of Docs/Formats.md). Writer and reader check it alike.
struct PackedModelLayout {
  /// A tensor that has to be there.
  struct Entry {
    enum Kind {
      /// In a format that kernels multiply by.
      case weights
      case plainF32
      case plainBF16
    }

    let name: String
    let kind: Kind
    let rows: Int
    let columns: Int
    let hasBias: Bool
  }

  private let configuration: LlamaConfiguration
  private let caches: [CacheForm]
  let file: String

  init(_ configuration: LlamaConfiguration, _ caches: [CacheForm], file: String) {
    self.configuration = configuration
    self.caches = caches
    self.file = file
  }

  /// Whether one matrix is embedding and head.
  static func sharesHead(_ configuration: LlamaConfiguration, embedding: PackedTensor) -> Bool {
    configuration.tiesHead && embedding.format == .bf16
  }

  /// - Throws: what is missing, superfluous, or of another shape or format, by its name.
  func check(_ tensors: [PackedTensor]) throws(ModelError) {
    var rest = Dictionary(tensors.map { ($0.name, $0) }) { $1 }
    for name in ModelFiles.Name.allCases { rest[name.rawValue] = nil }
    rest[CacheForm.fileName] = nil
    guard let embedding = rest[PackedModelNames.embedding] else {
      throw ModelError.file(.missingTensor(file: file, tensor: PackedModelNames.embedding))
    }
    let sharesHead = PackedModelLayout.sharesHead(configuration, embedding: embedding)
    for entry in entries(sharesHead: sharesHead) {
      guard let tensor = rest.removeValue(forKey: entry.name) else {
        throw ModelError.file(.missingTensor(file: file, tensor: entry.name))
      }
      try check(tensor, entry)
    }
    if let stranger = rest.keys.min() {
      throw ModelError.file(.corruptTensor(file: file, tensor: stranger, detail: "is none of this model's"))
    }
  }

  private func check(_ tensor: PackedTensor, _ entry: Entry) throws(ModelError) {
    guard tensor.rows == entry.rows, tensor.columns == entry.columns else {
      throw ModelError.wrongShape(
        file: file, tensor: entry.name, expected: [entry.rows, entry.columns], got: [tensor.rows, tensor.columns])
    }
    let (isRight, supported) =
      switch entry.kind {
      case .weights: (tensor.format.weightFormat != nil, "formats of weights")
      case .plainF32: (tensor.format == .plainF32, PackedFormat.plainF32.rawValue)
      case .plainBF16: (tensor.format == .plainBF16, PackedFormat.plainBF16.rawValue)
      }
    guard isRight else {
      throw ModelError.file(
        .unsupportedType(file: file, tensor: entry.name, type: tensor.format.rawValue, supported: supported))
    }
    guard (tensor.parts["bias"] != nil) == entry.hasBias else {
      let detail = entry.hasBias ? "has no bias, which its place wants" : "has a bias, which its place has not"
      throw ModelError.file(.corruptTensor(file: file, tensor: entry.name, detail: detail))
    }
  }

  // MARK: Entries

  private func entries(sharesHead: Bool) -> [Entry] {
    let (vocabulary, hidden) = configuration.shape(of: .head)
    let embedding = Entry(
      name: PackedModelNames.embedding, kind: sharesHead ? .weights : .plainBF16, rows: vocabulary, columns: hidden,
      hasBias: false)
    let head = Entry(
      name: PackedModelNames.weight(.head), kind: .weights, rows: vocabulary, columns: hidden, hasBias: false)
    return [embedding] + (0..<configuration.layerCount).flatMap(entries(ofLayer:)) + [norm(PackedModelNames.outputNorm)]
      + (sharesHead ? [] : [head])
  }

  private func norm(_ name: String) -> Entry {
    Entry(name: name, kind: .plainF32, rows: 1, columns: configuration.hiddenSize, hasBias: false)
  }

  private func entries(ofLayer layer: Int) -> [Entry] {
    let cache = caches[layer]
    return [norm(PackedModelNames.attentionNorm(layer)), norm(PackedModelNames.feedForwardNorm(layer))]
      + LlamaProjection.allCases.flatMap { projection in
        let place = LlamaPlace.layer(layer, projection)
        return switch projection {
        case .key: entries(place, cache.keys, projection, isFused: false)
        case .value: entries(place, cache.values, projection, isFused: cache.fusesValues)
        case .output: [output(place, cache)]
        default: [whole(place, projection)]
        }
      }
  }

  private func whole(_ place: LlamaPlace, _ projection: LlamaProjection) -> Entry {
    let (outputs, inputs) = configuration.shape(of: projection)
    return Entry(
      name: PackedModelNames.weight(place), kind: .weights, rows: outputs, columns: inputs,
      hasBias: configuration.biases.contains(projection))
  }

  private func entries(
    _ place: LlamaPlace, _ side: CacheForm.Side, _ projection: LlamaProjection, isFused: Bool
  ) -> [Entry] {
    guard let ranks = side.ranks else { return [whole(place, projection)] }
    let (outputs, inputs) = configuration.shape(of: projection)
    let down = Entry(
      name: PackedModelNames.down(place), kind: .weights, rows: ranks.reduce(0, +), columns: inputs, hasBias: false)
    guard !isFused else { return [down] }
    return [down]
      + ranks.enumerated().map { group, rank in
        Entry(
          name: PackedModelNames.up(place, group: group), kind: .plainBF16, rows: outputs / ranks.count, columns: rank,
          hasBias: configuration.biases.contains(projection))
      }
  }

  /// A fused one has an input for each query head and element of its group's latent, and adds the bias of the values.
  private func output(_ place: LlamaPlace, _ cache: CacheForm) -> Entry {
    guard cache.fusesValues, let ranks = cache.values.ranks else { return whole(place, .output) }
    return Entry(
      name: PackedModelNames.weight(place), kind: .weights, rows: configuration.hiddenSize,
      columns: ranks.reduce(0, +) * (configuration.attention.queryHeads / ranks.count),
      hasBias: configuration.biases.contains(.output) || configuration.biases.contains(.value))
  }
}
