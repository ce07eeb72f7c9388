internal import Tessera
internal import TesseraCompression
internal import TesseraLayers

/// A matrix as it is stored.
struct PackedMatrix {
  let tensor: PackedTensor
  /// The weights that it stands for, row after row.
  let elements: [Float]

  /// Stored weights per weight.
  var density: Double {
    tensor.format.storesEveryElement ? 1 : Double(elements.count { $0 != 0 }) / Double(elements.count)
  }
}

/// Turns one matrix into packed weights as a rule says.
struct MatrixCompressor {
  /// nil keeps it as it is.
  let rule: Recipe.Rule?
  let executor: Executor

  /// - Parameters:
  ///   - weights: `outputs x inputs`, row after row.
  ///   - moments: of the inputs, where the rule asks for them.
  ///   - progress: false stops the work.
  func packed(
    _ weights: [Float], outputs: Int, inputs: Int, bias: [Float]?, moments: SecondMoments?, named name: String,
    progress: Code4Quantizer.Progress?
  ) throws(CompressionError) -> PackedMatrix {
    let layer: any PackedLinearLayer
    if let rule, rule.format.code4 != nil {
      let matrix = try quantized(weights, rule, outputs: outputs, inputs: inputs, moments: moments, progress: progress)
      layer = try packing { () throws(TesseraError) in
        RaZeRLinear(weights: try matrix.packed(bias: bias, on: executor.pool))
      }
    } else {
      let values = try pruned(weights, outputs: outputs, inputs: inputs, moments: moments, progress: progress).map {
        BFloat16($0)
      }
      let format = rule?.format ?? .bf16
      layer = try packing { () throws(TesseraError) -> any PackedLinearLayer in
        if format == .bf16 {
          return try DenseLinear(values.span, outputs: outputs, inputs: inputs, bias: bias, on: executor)
        }
        return try SparAMXLinear(
          values.span, outputs: outputs, inputs: inputs, bias: bias, values: format == .bitmapInt8 ? .int8 : .bf16,
          on: executor)
      }
    }
    return PackedMatrix(tensor: layer.packedTensor(named: name), elements: layer.elements())
  }

  /// nil where the rule drops nothing.
  private func pruning(_ moments: SecondMoments?) -> Pruning? {
    guard let sparsity = rule?.sparsity else { return nil }
    let criterion: Pruning.Criterion =
      switch sparsity.criterion {
      case .magnitude: .magnitude
      case .wanda: .wanda(activationNorms: (moments?.diagonal ?? []).map { $0.squareRoot() })
      }
    return Pruning(sparsity: sparsity.fraction, criterion: criterion, scope: sparsity.scope)
  }

  private func pruned(
    _ weights: [Float], outputs: Int, inputs: Int, moments: SecondMoments?, progress: Code4Quantizer.Progress?
  ) throws(CompressionError) -> [Float] {
    guard let pruning = pruning(moments) else { return weights }
    if let feedback = rule?.quantization.errorFeedback, let moments {
      return try pruning.pruned(
        weights.span, outputs: outputs, inputs: inputs, correctingErrorsBy: moments, damping: feedback.damping,
        order: feedback.inputOrder, on: executor, progress: progress)
    }
    let values = weights.map { BFloat16($0) }
    let kept = try packing { () throws(TesseraError) in
      try pruning.pruned(values.span, outputs: outputs, inputs: inputs, on: executor)
    }
    return kept.map { Float($0) }
  }

  private func quantized(
    _ weights: [Float], _ rule: Recipe.Rule, outputs: Int, inputs: Int, moments: SecondMoments?,
    progress: Code4Quantizer.Progress?
  ) throws(CompressionError) -> Code4Matrix {
    let options = rule.quantization
    var quantizer = Code4Quantizer(rule.format, refits: options.refits, clips: options.clips)
    if let values = options.specialValues { quantizer = try quantizer.with(specialValues: values) }
    if options.weightsInputs { quantizer.inputWeights = moments?.diagonal }
    guard let feedback = options.errorFeedback, let moments else {
      let kept = try pruned(weights, outputs: outputs, inputs: inputs, moments: moments, progress: nil)
      return try quantizer.quantize(kept.span, outputs: outputs, inputs: inputs, on: executor.pool, progress: progress)
    }
    // What is dropped and what is rounded are errors of one pass.
    let kept = try pruning(moments).map { pruning throws(CompressionError) in
      try pruning.kept(weights.span, outputs: outputs, inputs: inputs, on: executor)
    }
    return try quantizer.quantize(
      weights.span, outputs: outputs, inputs: inputs, keeping: kept, correctingErrorsBy: moments, damping: feedback.damping,
      order: feedback.inputOrder, on: executor.pool, progress: progress)
  }
}

extension Recipe.ErrorFeedback {
  fileprivate var inputOrder: Code4Quantizer.InputOrder { order == .natural ? .natural : .descendingMoment }
}

/// What packing refuses, compression refuses.
func packing<Value>(_ body: () throws(TesseraError) -> Value) throws(CompressionError) -> Value {
  do { return try body() } catch { throw .packing(error) }
}

extension PackedLinearLayer {
  /// The weights that the layer stands for, row after row.
  package func elements() -> [Float] {
    switch weights {
    case let weights as DenseWeights: return weights.unpacked().map { Float($0) }
    case let weights as Code4Weights: return weights.dequantized()
    case let weights as BitmapWeights:
      guard let scales = weights.rowScale else { return weights.unpackedBFloat16().map { Float($0) } }
      defer { withExtendedLifetime(scales) {} }
      return weights.unpackedInt8().enumerated().map { index, value in
        Float(value) * scales.bytes.loadUnaligned(fromByteOffset: index / inputs * 4, as: Float.self)
      }
    default: preconditionFailure("weights of the unknown kind \(type(of: weights))")
    }
  }
}
