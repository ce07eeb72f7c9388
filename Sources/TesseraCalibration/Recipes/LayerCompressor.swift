internal import Tessera
internal import TesseraCompression
internal import TesseraLayers
internal import TesseraModels

/// Compresses one decoder layer as the plan says.
struct LayerCompressor {
  let plan: CompressionPlan
  let executor: Executor
  /// Called with the part of the layer's work that is done, and what comes now.
  let progress: (_ fraction: Double, _ what: String) -> Void

  /// A layer's tensors in the order of the file.
  struct Result {
    var tensors: [PackedTensor] = []
    var matrices: [CompressionReport.Matrix] = []
  }

  // MARK: What layers see

  /// Runs the layer as it is on the calibration rows.
  /// - Returns: the moments that its compression asks for, and the rows after it.
  func observe(
    _ source: LayerSource, _ states: CalibrationStates
  ) throws(ModelCompressionError) -> (moments: LayerMoments, outputs: [[Float]]) {
    let name = "layer \(source.index)"
    let collectors = try compressing(name) { () throws(CompressionError) in try makeCollectors(source.index) }
    let queries = try compressing(name) { () throws(CompressionError) in try makeQueryCollectors() }
    let outputs = try modelling { () throws(ModelError) in
      let observed = try source.layer(on: executor) { projection, layer in
        var layer = layer
        if projection == .query, !queries.isEmpty { layer = ObservedQueries(layer: layer, collectors: queries) }
        return collectors[projection].map { ObservedInputs(layer: layer, collector: $0) } ?? layer
      }
      return try states.outputs(of: observed, on: executor) { progress(0.25 * $0, "\(name): calibration") }
    }
    let moments = try compressing(name) { () throws(CompressionError) in
      var moments = LayerMoments(
        attention: try collectors[.query]?.result(), output: try collectors[.output]?.result(),
        feedForward: try collectors[.gate]?.result(), down: try collectors[.down]?.result())
      for collector in queries { moments.queries.append(try collector.result()) }
      return moments
    }
    return (moments, outputs)
  }

  /// One for each kind of input that is asked for, at the first projection that has it.
  private func makeCollectors(_ layer: Int) throws(CompressionError) -> [LlamaProjection: MomentCollector] {
    let sites: [(LlamaProjection, Bool)] = [
      (.query, plan.needsMoments(ofLayer: layer, .query, .key, .value)), (.output, plan.needsMoments(ofLayer: layer, .output)),
      (.gate, plan.needsMoments(ofLayer: layer, .gate, .up)), (.down, plan.needsMoments(ofLayer: layer, .down)),
    ]
    var collectors: [LlamaProjection: MomentCollector] = [:]
    for (projection, isNeeded) in sites where isNeeded {
      collectors[projection] = try MomentCollector(inputs: plan.configuration.shape(of: projection).inputs)
    }
    return collectors
  }

  private func makeQueryCollectors() throws(CompressionError) -> [MomentCollector] {
    guard plan.recipe.keys?.objective == .scores else { return [] }
    let shape = plan.configuration.attention
    var collectors: [MomentCollector] = []
    for _ in 0..<shape.keyValueHeads { collectors.append(try MomentCollector(inputs: shape.keyDimension)) }
    return collectors
  }

  // MARK: Matrices

  func compress(_ source: LayerSource, _ moments: LayerMoments) throws(ModelCompressionError) -> Result {
    var result = Result()
    result.tensors.append(
      try modelling { () throws(ModelError) in
        try source.attentionNorm.packedTensor(named: PackedModelNames.attentionNorm(source.index))
      })
    var fused: LowRankFactors.FusedOutput?
    for projection in [LlamaProjection.query, .key, .value, .output] {
      try compressing(PackedModelNames.stem(.layer(source.index, projection))) { () throws(CompressionError) in
        switch projection {
        case .key where plan.keys != nil: try appendLowRank(source, .key, moments, to: &result)
        case .value where plan.values != nil: fused = try appendLowRank(source, .value, moments, to: &result)
        case .output: try appendOutput(source, fused, moments, to: &result)
        default: try append(source, projection, moments, to: &result)
        }
      }
    }
    result.tensors.append(
      try modelling { () throws(ModelError) in
        try source.feedForwardNorm.packedTensor(named: PackedModelNames.feedForwardNorm(source.index))
      })
    for projection in [LlamaProjection.gate, .up, .down] {
      try compressing(PackedModelNames.stem(.layer(source.index, projection))) { () throws(CompressionError) in
        try append(source, projection, moments, to: &result)
      }
    }
    return result
  }

  private func append(
    _ source: LayerSource, _ projection: LlamaProjection, _ moments: LayerMoments, to result: inout Result
  ) throws(CompressionError) {
    let (outputs, inputs) = plan.configuration.shape(of: projection)
    try append(
      source.weights[projection] ?? [], outputs: outputs, inputs: inputs, bias: source.biases[projection],
      .layer(source.index, projection), moments.ofInputs(of: projection), to: &result)
  }

  /// The output projection, with the lift of the values and what their bias adds where these are fused.
  private func appendOutput(
    _ source: LayerSource, _ fused: LowRankFactors.FusedOutput?, _ moments: LayerMoments, to result: inout Result
  ) throws(CompressionError) {
    guard let fused else { return try append(source, .output, moments, to: &result) }
    var bias = source.biases[.output]
    if let added = fused.bias { bias = zip(bias ?? added.map { _ in 0 }, added).map { $0 + $1 } }
    try append(
      fused.weights, outputs: fused.hidden, inputs: fused.inputs, bias: bias, .layer(source.index, .output), nil, to: &result)
  }

  private func append(
    _ weights: [Float], outputs: Int, inputs: Int, bias: [Float]?, _ place: LlamaPlace, _ moments: SecondMoments?,
    to result: inout Result
  ) throws(CompressionError) {
    let compressor = MatrixCompressor(rule: plan.rule(place), executor: executor)
    let begin = begin(of: place)
    let matrix = try compressor.packed(
      weights, outputs: outputs, inputs: inputs, bias: bias, moments: moments, named: PackedModelNames.weight(place)
    ) { fraction in
      progress(begin + 0.55 * share(of: place) * fraction, "\(place)")
      return true
    }
    result.tensors.append(matrix.tensor)
    result.matrices.append(
      try CompressionReport.Matrix(matrix, named: PackedModelNames.stem(place), of: weights, moments: moments, on: executor.pool))
  }

  /// The part of the layer's work that is done when a matrix' turn comes: calibration is a quarter, the matrices are 0.55 of it.
  private func begin(of place: LlamaPlace) -> Double {
    guard case .layer(let layer, let projection) = place else { return 0 }
    let before = LlamaProjection.allCases.prefix { $0 != projection }
    return 0.25 + 0.55 * before.reduce(0) { $0 + share(of: .layer(layer, $1)) }
  }

  private func share(of place: LlamaPlace) -> Double {
    guard case .layer(_, let projection) = place else { return 1 }
    func size(_ projection: LlamaProjection) -> Double {
      let (outputs, inputs) = plan.configuration.shape(of: projection)
      return Double(outputs) * Double(inputs)
    }
    return size(projection) / LlamaProjection.allCases.reduce(0) { $0 + size($1) }
  }

  // MARK: Low rank

  /// - Returns: the output projection that has taken the values' lift in, where the recipe fuses them.
  @discardableResult
  private func appendLowRank(
    _ source: LayerSource, _ projection: LlamaProjection, _ moments: LayerMoments, to result: inout Result
  ) throws(CompressionError) -> LowRankFactors.FusedOutput? {
    let place = LlamaPlace.layer(source.index, projection)
    let ranks = projection == .key ? plan.keys : plan.values
    guard let lowRank = projection == .key ? plan.recipe.keys : plan.recipe.values, let plan = ranks?[source.index] else {
      return nil
    }
    let weights = source.weights[projection] ?? []
    let hidden = source.configuration.hiddenSize
    var factors = try LowRankFactors.decompose(
      weights.span, inputs: hidden, heads: plan.heads, ranks: plan.ranks, bias: source.biases[projection],
      minimizing: objective(lowRank, moments), on: executor.pool
    ).factors
    if lowRank.isRotated { factors = factors.rotated(on: executor.pool) }

    let down = factors.latentProjection()
    let compressor = MatrixCompressor(rule: self.plan.rule(place), executor: executor)
    let matrix = try compressor.packed(
      down, outputs: plan.rankSum, inputs: hidden, bias: nil, moments: moments.attention, named: PackedModelNames.down(place),
      progress: nil)
    let lifts = factors.liftMatrices().map { $0.map { BFloat16($0) } }
    var tensors = [matrix.tensor]
    if !lowRank.isFused {
      for (group, lift) in lifts.enumerated() {
        let width = plan.heads.groupOutputs
        let bias = factors.bias.map { Array($0[group * width..<(group + 1) * width]) }
        tensors.append(
          try packing { () throws(TesseraError) in
            try PackedTensor(
              plain: lift.span, named: PackedModelNames.up(place, group: group), rows: width, columns: plan.ranks[group],
              bias: bias)
          })
      }
    }
    result.tensors += tensors
    let elements = product(of: matrix.elements, lifts, plan, inputs: hidden)
    result.matrices.append(
      try CompressionReport.Matrix(
        name: PackedModelNames.stem(place), format: matrix.tensor.format.rawValue,
        byteCount: tensors.reduce(0) { $0 + $1.byteCount },
        density: matrix.density, ranks: plan.ranks, outputs: plan.heads.outputs, weights: weights, elements: elements,
        moments: moments.attention, on: executor.pool))
    guard lowRank.isFused else { return nil }
    let output = source.weights[.output] ?? []
    return try factors.fused(
      into: output.span, hidden: hidden, queryHeads: source.configuration.attention.queryHeads, on: executor.pool)
  }

  private func objective(
    _ lowRank: Recipe.LowRank, _ moments: LayerMoments
  ) throws(CompressionError) -> LowRankObjective {
    guard lowRank.objective != .weights, let inputs = moments.attention else { return .weights }
    guard lowRank.objective == .scores else { return .outputs(try Whitening(inputs)) }
    var queries: [Whitening] = []
    for head in moments.queries {
      let turned = try head.averagedOverRotations(
        by: plan.configuration.rotary, distances: plan.configuration.contextLength)
      queries.append(try Whitening(turned))
    }
    return .scores(try Whitening(inputs), queries: queries)
  }

  /// What factors that were rounded stand for.
  private func product(of rows: [Float], _ lifts: [[BFloat16]], _ plan: RankPlan.Projection, inputs: Int) -> [Float] {
    var elements = [Float](repeating: 0, count: plan.heads.outputs * inputs)
    var first = 0
    for (group, rank) in plan.ranks.enumerated() {
      for output in 0..<plan.heads.groupOutputs {
        let row = (group * plan.heads.groupOutputs + output) * inputs
        for channel in 0..<rank {
          let factor = Float(lifts[group][output * rank + channel])
          let source = (first + channel) * inputs
          for input in 0..<inputs { elements[row + input] += factor * rows[source + input] }
        }
      }
      first += rank
    }
    return elements
  }
}

extension LayerMoments {
  func ofInputs(of projection: LlamaProjection) -> SecondMoments? {
    switch projection {
    case .query, .key, .value: attention
    case .output: output
    case .gate, .up: feedForward
    case .down: down
    }
  }
}
