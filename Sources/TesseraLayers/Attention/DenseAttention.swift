public import Tessera

/// Attention whose cache holds the keys and values of every token: four projections, rotation, and a `KVCache`.
public struct DenseAttention: AttentionLayer {
  public let query: any LinearLayer
  public let key: any LinearLayer
  public let value: any LinearLayer
  public let output: any LinearLayer
  /// The heads.
  public let shape: AttentionShape
  /// How the cache stores keys, which are rotated before.
  public let keyFormat: KVFormat
  /// How the cache stores values.
  public let valueFormat: KVFormat

  /// - Precondition: the projections have the sizes of the shape, and one width.
  public init(
    query: any LinearLayer, key: any LinearLayer, value: any LinearLayer, output: any LinearLayer, shape: AttentionShape,
    keyFormat: KVFormat = .bf16, valueFormat: KVFormat = .bf16
  ) {
    let width = query.inputs
    precondition(
      key.inputs == width && value.inputs == width && output.outputs == width,
      "projections from \(width), \(key.inputs) and \(value.inputs) elements, and back to \(output.outputs)")
    precondition(
      query.outputs == shape.queryWidth && key.outputs == shape.keyWidth && value.outputs == shape.valueWidth
        && output.inputs == shape.outputWidth,
      "projections to \(query.outputs), \(key.outputs) and \(value.outputs) elements and from \(output.inputs) for \(shape)")
    self.query = query
    self.key = key
    self.value = value
    self.output = output
    self.shape = shape
    self.keyFormat = keyFormat
    self.valueFormat = valueFormat
  }

  public var width: Int { query.inputs }
  public var byteCount: Int { query.byteCount + key.byteCount + value.byteCount + output.byteCount }

  public var summary: String {
    "\(shape.queryHeads) heads of \(shape.keyDimension) over \(shape.keyValueHeads), \(query.format) query, \(key.format) key, "
      + "\(value.format) value, \(output.format) output, cache \(keyFormat) and \(valueFormat): \(byteText(byteCount))"
  }

  public func makeCache() -> any AttentionCache { KVCache(shape, keys: keyFormat, values: valueFormat) }

  public func callAsFunction(
    _ x: Span<Float>, _ step: AttentionStep, states: inout [SequenceState], layer: Int, scratch: inout LayerScratch,
    into y: inout MutableSpan<Float>, on executor: Executor
  ) throws(TesseraError) {
    let rows = step.rows
    var queries = try scratch.take(rows * shape.queryWidth)
    defer { scratch.give(queries) }
    try project(x, by: query, rows: rows, into: &queries, on: executor)
    try rotate(&queries, step, heads: shape.queryHeads, on: executor)
    try remember(x, step, states: &states, layer: layer, scratch: &scratch, on: executor)

    var attended = try scratch.take(rows * shape.outputWidth)
    defer { scratch.give(attended) }
    var target = attended.mutableSpan
    try executor.attend(
      queries.span, to: states.map { $0.caches[layer].contents }, tokens: step.tokens, mask: step.mask, into: &target)
    try output(attended.span, rows: rows, into: &y, on: executor)
  }

  /// Puts keys and values of the step's tokens into the caches.
  private func remember(
    _ x: Span<Float>, _ step: AttentionStep, states: inout [SequenceState], layer: Int, scratch: inout LayerScratch,
    on executor: Executor
  ) throws(TesseraError) {
    var keys = try scratch.take(step.rows * shape.keyWidth)
    defer { scratch.give(keys) }
    var values = try scratch.take(step.rows * shape.valueWidth)
    defer { scratch.give(values) }
    try project(x, by: key, rows: step.rows, into: &keys, on: executor)
    try project(x, by: value, rows: step.rows, into: &values, on: executor)
    try rotate(&keys, step, heads: shape.keyValueHeads, on: executor)

    var first = 0
    for (sequence, count) in step.tokens.enumerated() {
      let rows = first..<first + count
      first += count
      let newKeys = keys.span.extracting(rows.lowerBound * shape.keyWidth..<rows.upperBound * shape.keyWidth)
      let newValues = values.span.extracting(rows.lowerBound * shape.valueWidth..<rows.upperBound * shape.valueWidth)
      try states[sequence].withCache(ofLayer: layer) { (cache: inout KVCache) throws(TesseraError) in
        try cache.append(keys: newKeys, values: newValues, on: executor)
      }
    }
  }

  private func project(
    _ x: Span<Float>, by projection: any LinearLayer, rows: Int, into y: inout [Float], on executor: Executor
  ) throws(TesseraError) {
    var target = y.mutableSpan
    try projection(x, rows: rows, into: &target, on: executor)
  }

  private func rotate(_ rows: inout [Float], _ step: AttentionStep, heads: Int, on executor: Executor) throws(TesseraError) {
    var target = rows.mutableSpan
    try step.angles.rotate(&target, heads: heads, dimension: shape.keyDimension, on: executor.pool)
  }
}
