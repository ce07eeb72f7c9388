internal import Tessera
internal import TesseraLayers
internal import TesseraModels

/// A whole model of random weights, through the graph that runs real ones: what a token costs, and what of it each step takes.
extension Bench {
  func runModels() throws(BenchError) {
    for preset in settings.models {
      for context in settings.contexts { try runModel(preset, context: context) }
    }
  }

  private func runModel(_ preset: ModelPreset, context: Int) throws(BenchError) {
    let configuration = try attempt { () throws(ModelError) in
      try LlamaConfiguration(preset, context: context + settings.mostRows)
    }
    try checkActivations(of: preset.name, (preset.block + [preset.head]).map(\.shape))
    let chain = try chain(of: preset)
    if let head = settings.headFormat { note("\(preset.name): the head is \(head) wherever the layers are not bf16") }
    let cache = AttentionRows(configuration.attention, context: context, seed: settings.seed)
    for rows in settings.rows {
      let title = "\(preset.name), \(context) tokens before, M = \(rows)"
      var results: [ResultRow] = []
      var clocks: [StepClock] = []
      var cases: [TimedCase<ModelError>] = []
      for (index, packing) in chain.packings.enumerated() {
        for variant in try variants(for: packing, rows: rows) {
          console.progress("\(title): checking \(variant)")
          let layers = chain.layers.map { $0[index] }
          guard let accuracy = try check(layers, variant, ChainBuffers(layers, rows: rows, seed: settings.seed), rows: rows)
          else { continue }
          let clock = StepClock()
          let model = try self.model(configuration, preset, chain, index, variant, clock)
          var row = row(
            chain, layers, packing, variant, rows: rows, accuracy: accuracy, head: chain.heads[index].original)
          (row.op, row.context) = ("model", context)
          row.bytes += model.makeState().caches.reduce(0) { $0 + $1.bytesPerToken } * context
          results.append(row)
          clocks.append(clock)
          cases.append(try step(model, cache, rows: rows, clock))
        }
      }
      guard !cases.isEmpty else { continue }
      let (best, foreign) = try time(cases, title: title)
      for index in results.indices {
        results[index].samples = cases[index].samples
        results[index].rooflineBandwidth = best
        results[index].foreignCPUs = foreign
        results[index].steps = clocks[index].medians
      }
      results.fillSpeedups()
      add(results)
      console.line(StepTable.text(results))
      try checkpoint(report)
    }
  }

  /// Layer after layer with the packed matrices of their turn; the rows of the dense head are the embedding.
  private func model(
    _ configuration: LlamaConfiguration, _ preset: ModelPreset, _ chain: Chain, _ packing: Int, _ variant: KernelVariant,
    _ clock: StepClock
  ) throws(BenchError) -> LlamaModel {
    let norm = [Float](repeating: 1, count: configuration.hiddenSize)
    var layers: [LlamaLayer] = []
    for layer in 0..<preset.blockCount {
      let linear = zip(preset.block, chain.layers).map { description, copies in
        let all = copies[packing].copies
        return TimedLinear(
          weights: all[layer % all.count], step: ModelStep(projection: description.name), variant: variant, clock: clock)
      }
      let attention = DenseAttention(
        query: linear[0], key: linear[1], value: linear[2], output: linear[3], shape: configuration.attention)
      layers.append(
        LlamaLayer(
          attentionNorm: norm, attention: TimedAttention(attention: attention, clock: clock), feedForwardNorm: norm,
          feedForward: GatedFeedForward(gate: linear[4], up: linear[5], down: linear[6])))
    }
    guard let dense = chain.head?.original as? DenseWeights else { preconditionFailure("\(preset.name) without a dense head") }
    return try attempt { () throws(ModelError) in
      try LlamaModel(
        configuration: configuration, embedding: TokenEmbedding(dense), layers: layers, outputNorm: norm,
        head: TimedLinear(weights: chain.heads[packing].original, step: .head, variant: nil, clock: clock))
    }
  }

  /// A step of `rows` tokens after those in the caches; afterwards the caches are as before. Decoding and verifying guesses want
  /// the logits of all rows, prefill of the last.
  private func step(
    _ model: LlamaModel, _ cache: AttentionRows, rows: Int, _ clock: StepClock
  ) throws(BenchError) -> TimedCase<ModelError> {
    var state = model.makeState()
    for layer in 0..<model.configuration.layerCount {
      try attempt { () throws(TesseraError) in
        try state.withCache(ofLayer: layer) { (empty: inout KVCache) throws(TesseraError) in try cache.fill(&empty, on: executor)
        }
      }
    }
    let tokens = (0..<rows).map { $0 * 31 % model.configuration.vocabularySize }
    let context = state.count
    var runner = LlamaRunner(model, on: executor)
    return TimedCase { () throws(ModelError) in
      try clock.run { () throws(ModelError) in
        _ = try runner.forward(tokens, continuing: &state, logits: rows <= 64 ? .all : .last)
      }
      do throws(TesseraError) { try state.truncate(to: context) } catch { throw .operation(error) }
    }
  }
}

extension LlamaConfiguration {
  fileprivate init(_ preset: ModelPreset, context: Int) throws(ModelError) {
    try self.init(
      hiddenSize: preset.head.inputs, layerCount: preset.blockCount, feedForwardSize: preset.block[4].outputs,
      queryHeads: preset.queryHeads, keyValueHeads: preset.keyValueHeads, headDimension: preset.headDimension,
      vocabularySize: preset.head.outputs, contextLength: context)
  }
}
