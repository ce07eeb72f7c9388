internal import CCompression
public import Tessera
public import TesseraCompression

extension Code4Quantizer {
  /// In which order inputs are quantised when later ones make up for the errors of earlier ones.
  public enum InputOrder: Sendable, Hashable, CaseIterable {
    case natural
    /// Those with the largest second moment first, while there are many left to make up for their errors. Groups stay as they
    /// are: the scale of a group is chosen when its first input is reached.
    case descendingMoment
  }

  /// Quantises a row-major matrix so that its products with inputs like the given ones change little: after GPTQ (Frantar et al.,
  /// arXiv 2210.17323). An input's error is made up for by the inputs that come after it; the scale of a group is chosen when it
  /// is reached, on the weights as they are by then.
  ///
  /// Takes about outputs * inputs^2 / 2 multiplications and memory for inputs^2 numbers of 12 bytes.
  /// - Parameters:
  ///   - moments: of the layer's inputs.
  ///   - damping: times the mean of their diagonal is added to it; more than 0.
  /// - Throws: as `quantize`, and `notPositiveDefinite`, `sizeMismatch` naming the second moments.
  public func quantize(
    _ weights: Span<Float>, outputs: Int, inputs: Int, correctingErrorsBy moments: SecondMoments, damping: Double = 0.01,
    order: InputOrder = .natural, on pool: ThreadPool? = nil, progress: Progress? = nil
  ) throws(CompressionError) -> Code4Matrix {
    try weights.withUnsafeBufferPointer { weights throws(CompressionError) in
      let job = try QuantizationJob(self, weights, outputs: outputs, inputs: inputs)
      guard moments.inputs == inputs else {
        throw .sizeMismatch(what: "second moments", expected: inputs * inputs, got: moments.elements.count)
      }
      guard damping > 0, damping < .infinity else { throw .invalidOption(name: "the damping", value: damping) }
      let factor = try InverseFactor(moments, damping: damping, descending: order == .descendingMoment)
      return job.matrix(try job.run(correctingBy: factor, on: pool, progress: progress))
    }
  }
}

extension QuantizationJob {
  /// Parts are tiles of CC_FEEDBACK_ROWS rows: these share each pass over the factor.
  fileprivate func run(
    correctingBy factor: InverseFactor, on pool: ThreadPool?, progress: Code4Quantizer.Progress?
  ) throws(CompressionError) -> QuantizedRows {
    let rows = QuantizedRows(outputs: outputs, inputs: inputs, groups: groups)
    let tile = Int(CC_FEEDBACK_ROWS)
    let tiles = (outputs + tile - 1) / tile
    let failures = Failures(parts: tiles)
    let scratchBytes = cc_feedback_scratch_bytes(inputs, code4.group)
    let scratch = (0..<(pool?.threadCount ?? 1)).map { _ in
      UnsafeMutableRawPointer.allocate(byteCount: scratchBytes, alignment: 64)
    }
    defer { for memory in scratch { memory.deallocate() } }
    try withFeedback(factor) { feedback throws(CompressionError) in
      try runParts(tiles, on: pool, progress: progress) { part, worker in
        let first = part * tile
        var (row, group) = (0, 0)
        let result = cc_quantize_rows_with_feedback(
          feedback, weights + first * inputs, self.factor, min(tile, outputs - first), scratch[worker],
          rows.codes + first * inputs, rows.scales + first * groups, &row, &group)
        if result != .CC_OK { failures[part] = (first + row, group) }
      }
    }
    try failures.check(format)
    return rows
  }

  private func withFeedback(
    _ factor: InverseFactor, _ body: (UnsafePointer<cc_feedback>) throws(CompressionError) -> Void
  ) throws(CompressionError) {
    try withSearch { search throws(CompressionError) in
      try inputWeights.withUnsafeBufferPointer { weights throws(CompressionError) in
        try factor.elements.withUnsafeBufferPointer { elements throws(CompressionError) in
          try factor.order.withUnsafeBufferPointer { order throws(CompressionError) in
            try factor.places.withUnsafeBufferPointer { places throws(CompressionError) in
              guard let weights = weights.baseAddress, let elements = elements.baseAddress, let order = order.baseAddress,
                let places = places.baseAddress
              else { return }
              var feedback = cc_feedback(
                search: search, weights: weights, factor: elements, order: order, places: places, inputs: inputs)
              try body(&feedback)
            }
          }
        }
      }
    }
  }
}
