internal import Tessera

/// The four projections of an attention layer and what happens between them, whatever the cache holds.
struct AttentionProjections {
  let query: any LinearLayer
  /// To what the cache holds of a token's keys.
  let key: any LinearLayer
  /// To what the cache holds of its values.
  let value: any LinearLayer
  let output: any LinearLayer
  /// Whether keys turn before they are cached. Latents do not: the keys that are rebuilt from them turn.
  let rotatesKeys: Bool

  func attend(
    _ x: Span<Float>, _ step: AttentionStep, _ shape: AttentionShape, states: inout [SequenceState], layer: Int,
    scratch: inout LayerScratch, into y: inout MutableSpan<Float>, on executor: Executor
  ) throws(TesseraError) {
    var queries = try scratch.take(step.rows * shape.queryWidth)
    defer { scratch.give(queries) }
    try project(x, by: query, rows: step.rows, into: &queries, on: executor)
    try rotate(&queries, step, heads: shape.queryHeads, dimension: shape.keyDimension, on: executor)
    try remember(x, step, shape, states: &states, layer: layer, scratch: &scratch, on: executor)

    var attended = try scratch.take(step.rows * output.inputs)
    defer { scratch.give(attended) }
    var target = attended.mutableSpan
    try executor.attend(
      queries.span, to: states.map { $0.caches[layer].contents }, tokens: step.tokens, mask: step.mask, into: &target)
    try output(attended.span, rows: step.rows, into: &y, on: executor)
  }

  /// Puts keys and values of the step's tokens, or their latents, into the caches.
  private func remember(
    _ x: Span<Float>, _ step: AttentionStep, _ shape: AttentionShape, states: inout [SequenceState], layer: Int,
    scratch: inout LayerScratch, on executor: Executor
  ) throws(TesseraError) {
    let (keyWidth, valueWidth) = (key.outputs, value.outputs)
    var keys = try scratch.take(step.rows * keyWidth)
    defer { scratch.give(keys) }
    var values = try scratch.take(step.rows * valueWidth)
    defer { scratch.give(values) }
    try project(x, by: key, rows: step.rows, into: &keys, on: executor)
    try project(x, by: value, rows: step.rows, into: &values, on: executor)
    if rotatesKeys { try rotate(&keys, step, heads: shape.keyValueHeads, dimension: shape.keyDimension, on: executor) }

    var first = 0
    for (sequence, count) in step.tokens.enumerated() {
      let rows = first..<first + count
      first += count
      let newKeys = keys.span.extracting(rows.lowerBound * keyWidth..<rows.upperBound * keyWidth)
      let newValues = values.span.extracting(rows.lowerBound * valueWidth..<rows.upperBound * valueWidth)
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

  private func rotate(
    _ rows: inout [Float], _ step: AttentionStep, heads: Int, dimension: Int, on executor: Executor
  ) throws(TesseraError) {
    var target = rows.mutableSpan
    try step.angles.rotate(&target, heads: heads, dimension: dimension, on: executor.pool)
  }
}
