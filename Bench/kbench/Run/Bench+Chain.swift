internal import ProgramSupport
internal import Tessera

/// All linear layers of a model one after the other, each with its own weights: what a token costs before attention.
extension Bench {
  /// - Parameter file: whose layers to use instead of the presets'.
  func runChains(_ file: LayerFile?) throws(BenchError) {
    guard !settings.packings.isEmpty else { return }
    if let file {
      try checkActivations(of: file.name, try (file.blockLayers + [file.head].compactMap(\.self)).map(\.shape))
      try runChain(try chain(of: file))
    } else {
      for preset in settings.presets {
        try checkActivations(of: preset.name, (preset.block + [preset.head]).map(\.shape))
        try runChain(try chain(of: preset))
      }
    }
  }

  /// Refuses an M whose rows memory cannot hold, before anything is packed.
  func checkActivations(of model: String, _ shapes: [Shape]) throws(BenchError) {
    let needed = activationBytes(
      inputs: Set(shapes.map(\.inputs)).reduce(0, +), outputs: shapes.map(\.outputs).max() ?? 0)
    guard let available = availableMemory(), needed > Double(available) * 0.9 else { return }
    throw BenchError.failed(
      "\(model), M = \(settings.mostRows), needs \(binarySize(needed)) for x and y, \(binarySize(available)) are free;"
        + " choose less with --m")
  }

  /// A model's layers in all packings. The head stays dense in all of them, as it does in SparAMX, unless the settings say
  /// otherwise for whole models.
  struct Chain {
    let name: String
    /// Of one block in the order in which they run; for each the copies in each packing.
    let layers: [[WeightCopies]]
    let blockCount: Int
    let head: WeightCopies?
    let packings: [PackingChoice]
    /// Of whole models: the head in each packing.
    var heads: [WeightCopies] = []
  }

  func chain(of preset: ModelPreset) throws(BenchError) -> Chain {
    let packings = settings.packings
    let seed = settings.seed
    func matrix(_ layer: ModelPreset.Layer) -> SourceMatrix {
      SourceMatrix(random: layer.shape, seed: seed, on: pool)
    }
    let blocks = try blocksInMemory(of: preset, packings: packings)
    var layers: [[WeightCopies]] = []
    for layer in preset.block {
      console.progress("\(preset.name): packing \(blocks) x \(layer.name)")
      layers.append(try copies(of: matrix(layer), packings: packings, count: blocks))
    }
    console.progress("\(preset.name): packing \(preset.head.name)")
    let matrix = matrix(preset.head)
    let head = try copies(of: matrix, packings: [.dense], count: 1)
    return Chain(
      name: preset.name, layers: layers, blockCount: preset.blockCount, head: head.first, packings: packings,
      heads: try packings.map { packing throws(BenchError) in
        guard let choice = settings.head(beside: packing) else { return head[0] }
        return try copies(of: matrix, packings: [choice], count: 1)[0]
      })
  }

  private func chain(of file: LayerFile) throws(BenchError) -> Chain {
    let packings = settings.packings
    var layers: [[WeightCopies]] = []
    for layer in try file.blockLayers {
      console.progress("packing \(layer.name)")
      layers.append(try copies(of: try file.matrix(layer), packings: packings, count: 1))
    }
    let head = try file.head.map { layer throws(BenchError) in
      try copies(of: try file.matrix(layer), packings: [.dense], count: 1)
    }
    return Chain(name: file.name, layers: layers, blockCount: 1, head: head?.first, packings: packings)
  }

  private func copies(
    of matrix: SourceMatrix, packings: [PackingChoice], count: Int
  ) throws(BenchError) -> [WeightCopies] {
    var result: [WeightCopies] = []
    for choice in packings {
      let packed = try matrix.packed(choice, seed: settings.seed, on: executor)
      result.append(try attempt { () throws(TesseraError) in try WeightCopies(of: packed, count: count, on: pool) })
    }
    return result
  }

  /// How many blocks have weights of their own: all of them if memory allows, else they take turns.
  private func blocksInMemory(
    of preset: ModelPreset, packings: [PackingChoice]
  ) throws(BenchError) -> Int {
    if settings.isHot { return 1 }
    guard let available = availableMemory() else { return preset.blockCount }
    let dense = preset.block.reduce(0) { $0 + $1.shape.denseBytes }
    let perBlock = packings.reduce(0.0) { $0 + dense * $1.format.relativeBytes(sparsity: $1.sparsity ?? 0) }
    // The head beside the forms that it goes through while it is packed.
    let fitting = Int((Double(available) * 0.9 - 3 * preset.head.shape.denseBytes) / perBlock)
    guard fitting >= 1 else {
      throw BenchError.failed("\(preset.name) does not fit into \(binarySize(available)); choose fewer formats with --format")
    }
    if fitting < preset.blockCount {
      note(
        "\(preset.name): \(fitting) of \(preset.blockCount) blocks have weights of their own, for want of memory; they take turns"
      )
    }
    return min(fitting, preset.blockCount)
  }

  private func runChain(_ chain: Chain) throws(BenchError) {
    let weights = chain.layers.joined().reduce(chain.head?.byteCount ?? 0) { $0 + $1.byteCount }
    if weights < workingSetBytes {
      note(
        "\(chain.name): its weights take \(binarySize(weights)), less than \(binarySize(workingSetBytes)): caches may hold some"
      )
    }
    for rows in settings.rows {
      let title = "\(chain.name) chain, M = \(rows)"
      let io = ChainBuffers(
        chain.layers.flatMap { $0.prefix(1) } + [chain.head].compactMap { $0 }, rows: rows, seed: settings.seed)
      var results: [ResultRow] = []
      var cases: [TimedCase<TesseraError>] = []
      for (index, packing) in chain.packings.enumerated() {
        let layers = chain.layers.map { $0[index] }
        for variant in try variants(for: packing, rows: rows) {
          let headVariant = try variants(for: .dense, rows: rows).first
          console.progress("\(title): checking \(variant)")
          guard let accuracy = try check(layers, variant, io, rows: rows) else { continue }
          results.append(row(chain, layers, packing, variant, rows: rows, accuracy: accuracy))
          let (executor, blockCount, head) = (executor, chain.blockCount, chain.head)
          cases.append(
            TimedCase { () throws(TesseraError) in
              for _ in 0..<blockCount {
                for layer in layers { try io.multiply(layer.next(), rows: rows, variant: variant, on: executor) }
              }
              if let head { try io.multiply(head.next(), rows: rows, variant: headVariant, on: executor) }
            })
        }
      }
      guard !cases.isEmpty else { continue }
      let (best, foreign) = try time(cases, title: title)
      for index in results.indices {
        results[index].samples = cases[index].samples
        results[index].rooflineBandwidth = best
        results[index].foreignCPUs = foreign
      }
      results.fillSpeedups()
      add(results)
      for row in results {
        let unit = rows == 1 ? "ms per token" : "ms for a step of \(rows) tokens"
        console.line("  \(Table.formatName(row)) \(row.isa): \(fixed(row.median * 1e3, 2)) \(unit)")
      }
      try checkpoint(report)
    }
  }

  func variants(for packing: PackingChoice, rows: Int) throws(BenchError) -> [KernelVariant] {
    try attempt { () throws(TesseraError) in
      try settings.isa.variants(for: packing.format, packing.activations, rows: rows, selection: executor.selection)
    }
  }

  /// The worst of a block's layers; nil when one of them is wrong.
  func check(
    _ layers: [WeightCopies], _ variant: KernelVariant, _ io: ChainBuffers, rows: Int
  ) throws(BenchError) -> Accuracy? {
    var worst: Accuracy?
    for layer in layers {
      let accuracy = try attempt { () throws(TesseraError) in
        try KernelVerdict.check(variant, on: layer.next(), x: io.x(for: layer.original), executor: executor, seed: settings.seed)
      }
      guard accuracy.isWithinBound else {
        let shape = Shape(outputs: layer.original.outputs, inputs: layer.original.inputs)
        reportWrongKernel(
          "\(variant) on \(shape), M = \(rows): error \(scientific(accuracy.error)) of sum |w||x| is above its bound"
            + " \(scientific(accuracy.bound)); not timed")
        return nil
      }
      if accuracy.error / accuracy.bound >= (worst.map { $0.error / $0.bound } ?? 0) { worst = accuracy }
    }
    return worst
  }

  /// - Parameter head: what stands in the place of the dense one.
  func row(
    _ chain: Chain, _ layers: [WeightCopies], _ packing: PackingChoice, _ variant: KernelVariant,
    rows: Int, accuracy: Accuracy, head: (any CopyableWeights)? = nil
  ) -> ResultRow {
    let head = head ?? chain.head?.original
    let weights = layers.reduce(0) { $0 + $1.original.outputs * $1.original.inputs } * chain.blockCount
    return ResultRow(
      op: "chain", format: packing.format.rawValue, isa: variant.isaTag, variant: variant.name, shape: chain.name, m: rows,
      threads: pool.threadCount, activations: packing.activations, sparsity: packing.sparsity, samples: Samples(),
      bytes: layers.reduce(0) { $0 + $1.original.byteCount } * chain.blockCount + (head?.byteCount ?? 0),
      flops: 2 * rows * (weights + (head.map { $0.outputs * $0.inputs } ?? 0)), accuracy: accuracy,
      workingSetBytes: layers.reduce(0) { $0 + $1.byteCount } + (head?.byteCount ?? 0), isHot: settings.isHot)
  }
}

/// x for every width of input and y for the widest output. Layers do not feed each other: random weights would blow the numbers
/// up.
struct ChainBuffers {
  private let inputs: [Int: TestActivations]
  private let output: OutputBuffer

  init(_ layers: [WeightCopies], rows: Int, seed: UInt64) {
    let widths = Set(layers.map(\.original.inputs))
    inputs = Dictionary(uniqueKeysWithValues: widths.map { ($0, TestActivations(rows: rows, inputs: $0, seed: seed)) })
    output = OutputBuffer(count: rows * (layers.map(\.original.outputs).max() ?? 0))
  }

  func x(for weights: any PackedWeights) -> TestActivations {
    guard let x = inputs[weights.inputs] else { preconditionFailure("no x of \(weights.inputs) elements was made") }
    return x
  }

  func multiply(
    _ weights: any CopyableWeights, rows: Int, variant: KernelVariant?, on executor: Executor
  ) throws(TesseraError) {
    var target = UnsafeMutableBufferPointer(rebasing: output.elements[..<(rows * weights.outputs)]).mutableSpan
    try executor.multiply(x(for: weights).values.span, rows: rows, by: weights, into: &target, variant: variant)
  }
}

extension WeightFormat {
  /// About how many times the bytes of dense bfloat16 it takes.
  func relativeBytes(sparsity: Double) -> Double {
    switch self {
    case .bf16: 1
    case .bitmapBF16: 1 - sparsity + 1.0 / 16
    case .bitmapInt8: (1 - sparsity) / 2 + 1.0 / 16
    case .bitmapRazerG128: (0.125 + 1 + 4 * (1 - sparsity)) / 16
    default: (code4?.bitsPerWeight ?? 16) / 16
    }
  }
}
