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
    let projections = AttentionProjections(query: query, key: key, value: value, output: output, rotatesKeys: true)
    try projections.attend(x, step, shape, states: &states, layer: layer, scratch: &scratch, into: &y, on: executor)
  }
}
