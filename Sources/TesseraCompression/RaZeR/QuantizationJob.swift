package import CCompression
package import Tessera

/// One matrix on its way: options and weights are checked, the tensor's scale is chosen.
///
/// Formats whose scales are bytes are searched on weights that are multiplied by a power of two, so that the largest lies in
/// 1..<2: nothing that the search squares can overflow or vanish then, and no code changes.
package struct QuantizationJob {
  package let format: WeightFormat
  package let code4: Code4Format
  package let weights: UnsafePointer<Float>
  package let outputs: Int
  package let inputs: Int
  package let inputWeights: [Float]
  private let tables: SearchTables
  /// What weights are multiplied by for the search, and the tensor's scale for the products.
  package let factor: Float
  private let tensorScale: Float

  /// - Parameter weights: outlives the job.
  package init(
    _ quantizer: Code4Quantizer, _ weights: UnsafeBufferPointer<Float>, outputs: Int, inputs: Int
  ) throws(CompressionError) {
    let count = try checkedCount("weights to quantise", rows: outputs, columns: inputs)
    guard weights.count == count, let base = weights.baseAddress else {
      throw .sizeMismatch(what: "weights to quantise", expected: count, got: weights.count)
    }
    try quantizer.checkOptions()
    var bad = 0
    let largest = cc_largest(base, count, &bad)
    guard bad == count else { throw .nonFiniteWeight(row: bad / inputs, column: bad % inputs) }
    format = quantizer.format
    code4 = quantizer.code4
    self.weights = base
    self.outputs = outputs
    self.inputs = inputs
    inputWeights = try quantizer.checkedInputWeights(inputs)
    tables = SearchTables(quantizer)
    (factor, tensorScale) = QuantizationJob.range(of: largest, code4)
  }

  private static func range(of largest: Float, _ code4: Code4Format) -> (factor: Float, tensorScale: Float) {
    guard code4.scale.byteCount == 1, largest > 0 else { return (1, 1) }
    // Not so small that the tensor's scale of MXFP4, 2^-32 of this, would be denormal.
    let exponent = max(-94, min(126, Int(largest.exponent)))
    let factor = Float(sign: .plus, exponent: -exponent, significand: 1)
    switch code4.scale {
    case .e3m3Selector: return (factor, largest * factor / (code4.largestValue * 28))
    case .e4m3: return (factor, largest * factor / (code4.largestValue * 448))
    // The largest group has the scale 1/4, which is stored as 62; a fit may still double it.
    case .f16, .f16Selector, .powerOfTwo: return (factor, 0x1p-32)
    }
  }

  package var groups: Int { code4.groups(inputs: inputs) }

  package func withSearch(
    _ body: (UnsafePointer<cc_search>) throws(CompressionError) -> Void
  ) throws(CompressionError) {
    try tables.withSearch(tensorScale: tensorScale, body)
  }

  /// Quantises each row by itself.
  func run(on pool: ThreadPool?, progress: Code4Quantizer.Progress?) throws(CompressionError) -> QuantizedRows {
    let rows = QuantizedRows(outputs: outputs, inputs: inputs, groups: groups)
    try withSearch { search throws(CompressionError) in
      try inputWeights.withUnsafeBufferPointer { inputWeights throws(CompressionError) in
        guard let inputWeights = inputWeights.baseAddress else { return }
        let failures = Failures(parts: outputs)
        try runParts(outputs, on: pool, progress: progress) { row, _ in
          var group = 0
          let result = cc_quantize_row(
            search, weights + row * inputs, factor, inputWeights, inputs, rows.codes + row * inputs,
            rows.scales + row * groups, rows.errors + row, &group)
          if result != .CC_OK { failures[row] = (row, group) }
        }
        try failures.check(format)
      }
    }
    return rows
  }

  package func matrix(_ rows: QuantizedRows) -> Code4Matrix {
    Code4Matrix(
      trusted: format, code4, outputs: outputs, inputs: inputs,
      codes: Array(UnsafeBufferPointer(start: rows.codes, count: outputs * inputs)),
      scales: Array(UnsafeBufferPointer(start: rows.scales, count: outputs * groups)), tensorScale: tensorScale / factor)
  }
}

/// Memory that threads fill, each its own rows.
package final class QuantizedRows {
  package let codes: UnsafeMutablePointer<UInt8>
  package let scales: UnsafeMutablePointer<UInt16>
  /// The weighted squared error of each row, of weights times the job's factor.
  let errors: UnsafeMutablePointer<Double>
  let outputs: Int

  package init(outputs: Int, inputs: Int, groups: Int) {
    self.outputs = outputs
    codes = .allocate(capacity: outputs * inputs)
    scales = .allocate(capacity: outputs * groups)
    errors = .allocate(capacity: outputs)
    codes.initialize(repeating: 0, count: outputs * inputs)
    scales.initialize(repeating: 0, count: outputs * groups)
    errors.initialize(repeating: 0, count: outputs)
  }

  deinit {
    codes.deallocate()
    scales.deallocate()
    errors.deallocate()
  }

  /// Added in the order of the rows, whoever computed them.
  var error: Double { (0..<outputs).reduce(0) { $0 + errors[$1] } }
}

/// The groups that had no scale, one place for each part of the work, so that the first is told whatever the threads did.
package final class Failures {
  private let places: UnsafeMutablePointer<(row: Int, group: Int)?>
  private let parts: Int

  package init(parts: Int) {
    self.parts = parts
    places = .allocate(capacity: parts)
    places.initialize(repeating: nil, count: parts)
  }

  deinit { places.deallocate() }

  package subscript(part: Int) -> (row: Int, group: Int)? {
    get { places[part] }
    set { places[part] = newValue }
  }

  package func check(_ format: WeightFormat) throws(CompressionError) {
    for part in 0..<parts {
      if let (row, group) = places[part] { throw .scaleOverflow(format: format.rawValue, row: row, group: group) }
    }
  }
}

/// Runs all parts on the threads of `pool`, in some 50 batches between which the work can be stopped.
package func runParts(
  _ parts: Int, on pool: ThreadPool?, progress: Code4Quantizer.Progress?, _ body: (_ part: Int, _ worker: Int) -> Void
) throws(CompressionError) {
  let threads = pool?.threadCount ?? 1
  let batch = max(threads, (parts / 50 + threads - 1) / threads * threads)
  for begin in stride(from: 0, to: parts, by: batch) {
    let count = min(batch, parts - begin)
    if let pool {
      pool.run(parts: count) { part, worker in body(begin + part, worker) }
    } else {
      for part in begin..<begin + count { body(part, 0) }
    }
    let isWanted = progress?(Double(begin + count) / Double(parts)) ?? true
    if !isWanted || Task.isCancelled { throw .cancelled }
  }
}
