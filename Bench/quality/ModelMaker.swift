internal import ProgramSupport
internal import Tessera
internal import TesseraCalibration
internal import TesseraCompression
internal import TesseraLayers
internal import TesseraModels

/// Makes a checkpoint's model in any form.
struct ModelMaker {
  let checkpoint: LlamaCheckpoint
  let calibration: Calibration
  let executor: Executor

  private var configuration: LlamaConfiguration { checkpoint.configuration }

  /// A model, and what it costs.
  struct Made {
    let model: LlamaModel
    /// Bits of all linear layers but the head over the weights that they stand for.
    let bitsPerWeight: Double
    /// What the caches of all layers take for a token.
    let cacheBytesPerToken: Int
    /// What compressed matrices lose, in the mean over all of them; nil where none is compressed.
    let errors: MatrixErrors?
  }

  func make(_ form: Form) throws(ProgramError) -> Made {
    let plan = try form.cache.latent.map { latent throws(ProgramError) in try ranks(of: latent) }
    let errors = form.weights.format == .bf16 ? nil : ErrorCollector()
    var layers: [LlamaLayer] = []
    for layer in 0..<configuration.layerCount { layers.append(try self.layer(layer, form, plan, errors)) }
    let head = try dense(.head)
    let model = try attempt { () throws(ModelError) in
      try LlamaModel(
        configuration: configuration, embedding: embedding(sharedWith: head), layers: layers,
        outputNorm: checkpoint.outputNorm(), head: head)
    }
    let weights = configuration.places.filter { $0 != .head }.reduce(0) { sum, place in
      let (outputs, inputs) = configuration.shape(of: place)
      return sum + outputs * inputs
    }
    return Made(
      model: model, bitsPerWeight: Double(8 * (model.byteCountPerToken - head.byteCount)) / Double(weights),
      cacheBytesPerToken: try cacheBytes(of: form, plan, model), errors: errors?.mean)
  }

  private func layer(
    _ layer: Int, _ form: Form, _ plan: RankPlan?, _ errors: ErrorCollector?
  ) throws(ProgramError) -> LlamaLayer {
    let feedForward = GatedFeedForward(
      gate: try linear(.layer(layer, .gate), form.weights, errors), up: try linear(.layer(layer, .up), form.weights, errors),
      down: try linear(.layer(layer, .down), form.weights, errors))
    let attention: any AttentionLayer =
      switch form.cache {
      case .whole(let format): try wholeAttention(layer, form.weights, format, errors)
      case .latent(let latent): try latentAttention(layer, form.weights, latent, plan, errors)
      }
    return try attempt { () throws(ModelError) in
      LlamaLayer(
        attentionNorm: try checkpoint.attentionNorm(ofLayer: layer), attention: attention,
        feedForwardNorm: try checkpoint.feedForwardNorm(ofLayer: layer), feedForward: feedForward)
    }
  }

  /// A tied model's head holds the embedding, too.
  private func embedding(sharedWith head: DenseLinear) throws(ModelError) -> TokenEmbedding {
    if configuration.tiesHead { return TokenEmbedding(head.weights) }
    let rows = try checkpoint.embedding()
    do throws(TesseraError) {
      return try TokenEmbedding(rows.span, vocabularySize: configuration.vocabularySize, width: configuration.hiddenSize)
    } catch {
      throw .operation(error)
    }
  }
}

// MARK: Linear layers

extension ModelMaker {
  private func matrix(_ place: LlamaPlace) throws(ProgramError) -> LlamaMatrix {
    try attempt { () throws(ModelError) in try checkpoint.matrix(at: place) }
  }

  private func dense(_ place: LlamaPlace) throws(ProgramError) -> DenseLinear {
    let matrix = try matrix(place)
    return try attempt { () throws(ModelError) in try matrix.dense(on: executor) }
  }

  private func linear(
    _ place: LlamaPlace, _ form: WeightChoice, _ errors: ErrorCollector?
  ) throws(ProgramError) -> any LinearLayer {
    guard case .layer(let layer, let projection) = place, form.format != .bf16 else { return try dense(place) }
    let matrix = try matrix(place)
    let moments = calibration.moments(ofInputsTo: projection, layer: layer)
    let packed = try form.format.code4 != nil ? quantized(matrix, form, moments) : sparse(matrix, form, moments)
    try attempt { () throws(CompressionError) in try errors?.add(packed.elements(), matrix, moments, on: executor.pool) }
    return packed
  }

  private func sparse(
    _ matrix: LlamaMatrix, _ form: WeightChoice, _ moments: SecondMoments
  ) throws(ProgramError) -> any PackedLinearLayer {
    let weights = try pruned(matrix, form, moments)
    return try attempt { () throws(TesseraError) in
      try SparAMXLinear(weights.span, outputs: matrix.outputs, inputs: matrix.inputs, bias: matrix.bias, on: executor)
    }
  }

  /// nil where every weight stays.
  private func pruning(_ form: WeightChoice, _ moments: SecondMoments) -> Pruning? {
    form.sparsity.map { sparsity in
      Pruning(
        sparsity: sparsity,
        criterion: form.criterion == .magnitude ? .magnitude : .wanda(activationNorms: moments.diagonal.map { $0.squareRoot() }))
    }
  }

  private func pruned(
    _ matrix: LlamaMatrix, _ form: WeightChoice, _ moments: SecondMoments
  ) throws(ProgramError) -> [BFloat16] {
    guard let pruning = pruning(form, moments) else { return matrix.weights }
    guard form.search.usesFeedback else {
      return try attempt { () throws(TesseraError) in
        try pruning.pruned(matrix.weights.span, outputs: matrix.outputs, inputs: matrix.inputs, on: executor)
      }
    }
    let floats = matrix.weights.map { Float($0) }
    return try attempt { () throws(CompressionError) in
      try pruning.pruned(
        floats.span, outputs: matrix.outputs, inputs: matrix.inputs, correctingErrorsBy: moments, order: .descendingMoment,
        on: executor)
    }.map { BFloat16($0) }
  }

  private func quantized(
    _ matrix: LlamaMatrix, _ form: WeightChoice, _ moments: SecondMoments
  ) throws(ProgramError) -> any PackedLinearLayer {
    let quantizer = Code4Quantizer(
      form.format, refits: form.search.usesRefit ? 1 : 0, clips: form.search.usesClips ? Code4Quantizer.usualClips : [1],
      inputWeights: form.search == .weighted ? moments.diagonal : nil)
    let (outputs, inputs) = (matrix.outputs, matrix.inputs)
    let codes: Code4Matrix
    if form.search.usesFeedback {
      let floats = matrix.weights.map { Float($0) }
      codes = try attempt { () throws(CompressionError) in
        let kept = try pruning(form, moments).map { pruning throws(CompressionError) in
          try pruning.kept(floats.span, outputs: outputs, inputs: inputs, on: executor)
        }
        return try quantizer.quantize(
          floats.span, outputs: outputs, inputs: inputs, keeping: kept, correctingErrorsBy: moments, order: .descendingMoment,
          on: executor.pool)
      }
    } else {
      let weights = try pruned(matrix, form, moments)
      codes = try attempt { () throws(CompressionError) in
        try quantizer.quantize(weights.span, outputs: outputs, inputs: inputs, on: executor.pool)
      }
    }
    return try attempt { () throws(TesseraError) in
      RaZeRLinear(weights: try codes.packed(bias: matrix.bias, on: executor.pool))
    }
  }
}

// MARK: Attention

extension CacheChoice {
  fileprivate var latent: LatentChoice? { if case .latent(let form) = self { form } else { nil } }
}

extension ModelMaker {
  private func wholeAttention(
    _ layer: Int, _ weights: WeightChoice, _ format: KVFormat, _ errors: ErrorCollector?
  ) throws(ProgramError) -> any AttentionLayer {
    DenseAttention(
      query: try linear(.layer(layer, .query), weights, errors), key: try linear(.layer(layer, .key), weights, errors),
      value: try linear(.layer(layer, .value), weights, errors), output: try linear(.layer(layer, .output), weights, errors),
      shape: configuration.attention, keyFormat: format, valueFormat: format)
  }

  /// A and B stay bf16, whatever the other projections are.
  private func latentAttention(
    _ layer: Int, _ weights: WeightChoice, _ form: LatentChoice, _ plan: RankPlan?, _ errors: ErrorCollector?
  ) throws(ProgramError) -> any AttentionLayer {
    let query = try linear(.layer(layer, .query), weights, errors)
    let output = try linear(.layer(layer, .output), weights, errors)
    let keys = try factors(.key, layer, form, plan)
    let values = try factors(.value, layer, form, plan)
    let shape = configuration.attention
    if let bits = form.bits {
      // Rebuilt keys are cached: to the model that is the same, and any number of bits has kernels.
      let quantizer = try attempt { () throws(CompressionError) in try LatentQuantizer(bits: bits) }
      return DenseAttention(
        query: query, key: try attempt { () throws(TesseraError) in try LatentLinear(keys, quantizer) },
        value: try attempt { () throws(TesseraError) in try LatentLinear(values, quantizer) }, output: output, shape: shape)
    }
    return try attempt { () throws(TesseraError) in
      try PaluAttention(
        query: query, key: latentProjection(of: keys), value: latentProjection(of: values), output: output, shape: shape,
        latentKeys: LatentKeys(
          keys.liftMatrices(), ranks: keys.ranks, bias: keys.bias, rotary: configuration.rotary, shape: shape),
        latentValues: LatentValues(values.liftMatrices(), ranks: values.ranks, bias: values.bias, shape: shape))
    }
  }

  private func latentProjection(of factors: LowRankFactors) throws(TesseraError) -> DenseLinear {
    let rows = factors.latentProjection().map { BFloat16($0) }
    return try DenseLinear(rows.span, outputs: factors.ranks.reduce(0, +), inputs: factors.inputs)
  }

  private func heads() throws(CompressionError) -> HeadGroups {
    try HeadGroups(heads: configuration.attention.keyValueHeads, headDimension: configuration.attention.keyDimension, .joint)
  }

  private func ranks(of form: LatentChoice) throws(ProgramError) -> RankPlan {
    try attempt { () throws(CompressionError) in
      let heads = try heads()
      func plan(_ projection: LlamaProjection, keeping kept: Double) throws(CompressionError) -> [RankPlan.Projection] {
        let candidates = (0..<configuration.layerCount).map { layer in
          RankSearch.Candidate(name: "model.\(LlamaPlace.layer(layer, projection))", heads: heads)
        }
        return try RankSearch(keeping: kept, by: .uniform).ranks(of: candidates).projections
      }
      return RankPlan(try plan(.key, keeping: form.keptOfKeys ?? form.kept) + plan(.value, keeping: form.keptOfValues))
    }
  }

  private func factors(
    _ projection: LlamaProjection, _ layer: Int, _ form: LatentChoice, _ plan: RankPlan?
  ) throws(ProgramError) -> LowRankFactors {
    let place = LlamaPlace.layer(layer, projection)
    guard let ranks = plan?["model.\(place)"]?.ranks else { preconditionFailure("no ranks for \(place)") }
    let matrix = try matrix(place)
    return try attempt { () throws(CompressionError) in
      let weights = matrix.weights.map { Float($0) }
      let factors = try LowRankFactors.decompose(
        weights.span, inputs: matrix.inputs, heads: heads(), ranks: ranks, bias: matrix.bias,
        minimizing: objective(form.objective, projection, layer), on: executor.pool
      ).factors
      return form.bits != nil && form.isRotated ? factors.rotated() : factors
    }
  }

  private func objective(
    _ objective: LatentChoice.Objective, _ projection: LlamaProjection, _ layer: Int
  ) throws(CompressionError) -> LowRankObjective {
    if objective == .plain { return .weights }
    let inputs = try Whitening(calibration.moments(ofInputsTo: projection, layer: layer))
    guard objective == .queryWeighted, projection == .key else { return .outputs(inputs) }
    return .scores(inputs, queries: try queryWhitenings(layer))
  }

  /// For each key-value head of the turned queries that read it, over all distances of a context.
  private func queryWhitenings(_ layer: Int) throws(CompressionError) -> [Whitening] {
    let shape = configuration.attention
    let moments = calibration.moments(ofQueriesIn: layer)
    var whitenings: [Whitening] = []
    for head in 0..<shape.keyValueHeads {
      var sums = [Double](repeating: 0, count: shape.keyDimension * shape.keyDimension)
      for query in head * shape.queriesPerHead..<(head + 1) * shape.queriesPerHead {
        let turned = try moments[query].averagedOverRotations(by: configuration.rotary, distances: configuration.contextLength)
        for index in sums.indices { sums[index] += turned.elements[index] }
      }
      whitenings.append(try Whitening(SecondMoments(inputs: shape.keyDimension, elements: sums)))
    }
    return whitenings
  }

  private func cacheBytes(of form: Form, _ plan: RankPlan?, _ model: LlamaModel) throws(ProgramError) -> Int {
    guard let bits = form.cache.latent?.bits, let plan else {
      return model.makeState().caches.reduce(0) { $0 + $1.bytesPerToken }
    }
    let storage = try attempt { () throws(CompressionError) in LatentStorage.quantized(try LatentQuantizer(bits: bits)) }
    return plan.projections.reduce(0) { sum, projection in
      projection.ranks.reduce(sum) { $0 + storage.bytes(rank: $1) }
    }
  }
}
