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
  ///   - kept: `outputs * inputs` bytes, 0 for each weight that is to be dropped; nil keeps all. All of a dropped weight is its
  ///     error, which later inputs make up for together with those of rounding: after SparseGPT (Frantar and Alistarh, arXiv
  ///     2301.00774), whatever chose the weights.
  ///   - moments: of the layer's inputs.
  ///   - damping: times the mean of their diagonal is added to it; more than 0.
  /// - Throws: as `quantize`, and `notPositiveDefinite`, `sizeMismatch` naming the second moments or the marks of kept weights.
  public func quantize(
    _ weights: Span<Float>, outputs: Int, inputs: Int, keeping kept: [UInt8]? = nil,
    correctingErrorsBy moments: SecondMoments, damping: Double = 0.01, order: InputOrder = .natural,
    on pool: ThreadPool? = nil, progress: Progress? = nil
  ) throws(CompressionError) -> Code4Matrix {
    try weights.withUnsafeBufferPointer { weights throws(CompressionError) in
      let job = try QuantizationJob(self, weights, outputs: outputs, inputs: inputs)
      if let kept { try check(kept, outputs: outputs, inputs: inputs) }
      let factor = try InverseFactor(moments, ofInputs: inputs, damping: damping, order)
      return job.matrix(try job.run(keeping: kept, correctingBy: factor, on: pool, progress: progress))
    }
  }
}

/// Whether there is a mark for each weight.
func check(_ kept: [UInt8], outputs: Int, inputs: Int) throws(CompressionError) {
  guard kept.count == outputs * inputs else {
    throw .sizeMismatch(what: "marks of kept weights", expected: outputs * inputs, got: kept.count)
  }
}

extension QuantizationJob {
  /// Parts are tiles of CC_FEEDBACK_ROWS rows: these share each pass over the factor.
  fileprivate func run(
    keeping kept: [UInt8]?, correctingBy factor: InverseFactor, on pool: ThreadPool?, progress: Code4Quantizer.Progress?
  ) throws(CompressionError) -> QuantizedRows {
    let rows = QuantizedRows(outputs: outputs, inputs: inputs, groups: groups)
    let tile = Int(CC_FEEDBACK_ROWS)
    let tiles = (outputs + tile - 1) / tile
    let failures = Failures(parts: tiles)
    let scratch = FeedbackScratch(inputs: inputs, group: code4.group, threads: pool?.threadCount ?? 1)
    try withFeedback(factor) { feedback throws(CompressionError) in
      try withMarks(kept) { kept throws(CompressionError) in
        try runParts(tiles, on: pool, progress: progress) { part, worker in
          let first = part * tile
          var (row, group) = (0, 0)
          let result = cc_quantize_rows_with_feedback(
            feedback, weights + first * inputs, kept.map { $0 + first * inputs }, self.factor, min(tile, outputs - first),
            scratch[worker], rows.codes + first * inputs, rows.scales + first * groups, &row, &group)
          if result != .CC_OK { failures[part] = (first + row, group) }
        }
      }
    }
    try failures.check(format)
    return rows
  }

  private func withMarks(
    _ kept: [UInt8]?, _ body: (UnsafePointer<UInt8>?) throws(CompressionError) -> Void
  ) throws(CompressionError) {
    guard let kept else { return try body(nil) }
    try kept.withUnsafeBufferPointer { kept throws(CompressionError) in try body(kept.baseAddress) }
  }

  private func withFeedback(
    _ factor: InverseFactor, _ body: (UnsafePointer<cc_feedback>) throws(CompressionError) -> Void
  ) throws(CompressionError) {
    try withSearch { search throws(CompressionError) in
      try inputWeights.withUnsafeBufferPointer { weights throws(CompressionError) in
        try factor.withFeedback(search, weights.baseAddress, body)
      }
    }
  }
}

extension InverseFactor {
  func withFeedback(
    _ search: UnsafePointer<cc_search>?, _ weights: UnsafePointer<Float>?,
    _ body: (UnsafePointer<cc_feedback>) throws(CompressionError) -> Void
  ) throws(CompressionError) {
    try elements.withUnsafeBufferPointer { elements throws(CompressionError) in
      try order.withUnsafeBufferPointer { order throws(CompressionError) in
        try places.withUnsafeBufferPointer { places throws(CompressionError) in
          guard let elements = elements.baseAddress, let order = order.baseAddress, let places = places.baseAddress
          else { return }
          var feedback = cc_feedback(
            search: search, weights: weights, factor: elements, order: order, places: places, inputs: self.order.count)
          try body(&feedback)
        }
      }
    }
  }
}

/// What each thread needs beside the rows.
final class FeedbackScratch {
  private let memory: [UnsafeMutableRawPointer]

  init(inputs: Int, group: Int, threads: Int) {
    let bytes = cc_feedback_scratch_bytes(inputs, group)
    memory = (0..<threads).map { _ in UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64) }
  }

  deinit { for part in memory { part.deallocate() } }

  subscript(worker: Int) -> UnsafeMutableRawPointer { memory[worker] }
}
