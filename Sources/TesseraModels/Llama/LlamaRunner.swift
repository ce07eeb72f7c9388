public import Tessera
public import TesseraLayers

/// Runs a model: prefill, decoding, batches, several guesses at once. It holds the memory of a step, which grows to what the
/// largest one needed and stays; several runners of one model may work at the same time.
///
/// ```swift
/// var runner = LlamaRunner(model, on: executor)
/// var state = model.makeState()
/// let logits = try runner.forward([504, 3575, 282], continuing: &state)
/// ```
public struct LlamaRunner: Sendable {
  public let model: LlamaModel
  public let executor: Executor
  private var scratch = LayerScratch()

  /// Rows that go through all layers together: enough to reuse each weight often, few enough for the cache.
  static let rowsOfBlock = 512
  /// Rows of logits that are in memory at a time.
  static let rowsOfHead = 64

  /// Which rows of a step become logits.
  public enum LogitRows: Sendable {
    /// The last token of each sequence.
    case last
    /// Every token.
    case all
  }

  public init(_ model: LlamaModel, on executor: Executor) {
    self.model = model
    self.executor = executor
  }

  /// Adds tokens to a sequence.
  /// - Parameters:
  ///   - tokens: what comes next, at least one.
  ///   - state: the sequence, which has the tokens afterwards.
  ///   - mask: what each token sees. A tree's tokens must come in one call, and at most `rowsOfBlock` of them.
  ///   - rows: which logits are wanted.
  /// - Returns: logits, one row of `vocabularySize` for the last token, or for each.
  /// - Throws: `ModelError.invalidToken`, `contextExceeded`, `operation`; the state is then as before.
  public mutating func forward(
    _ tokens: [Int], continuing state: inout SequenceState, mask: AttentionMask = .causal, logits rows: LogitRows = .last
  ) throws(ModelError) -> [Float] {
    var states = [SequenceState(caches: [])]
    swap(&states[0], &state)
    defer { swap(&states[0], &state) }
    return try forward([tokens], continuing: &states, mask: mask, logits: rows)
  }

  /// Adds tokens to each of several sequences.
  /// - Returns: logits, sequence after sequence.
  public mutating func forward(
    _ tokens: [[Int]], continuing states: inout [SequenceState], mask: AttentionMask = .causal, logits rows: LogitRows = .last
  ) throws(ModelError) -> [Float] {
    let count = rows == .last ? tokens.count : tokens.reduce(0) { $0 + $1.count }
    let width = model.configuration.vocabularySize
    var logits = try operating { () throws(TesseraError) in
      try [Float](allocating: count * width) { $0.initialize(repeating: 0) }
    }
    try forward(tokens, continuing: &states, mask: mask, logits: rows) { row, values throws(ModelError) in
      logits.withUnsafeMutableBufferPointer { target in
        values.withUnsafeBufferPointer { source in
          guard let from = source.baseAddress else { return }
          target.baseAddress.map { $0 + row * width }?.update(from: from, count: width)
        }
      }
    }
    return logits
  }

  /// The same, handing over one row of logits after the other: for many rows of a large vocabulary.
  /// - Parameter consume: gets the number of the wanted row, counted over all sequences, and its logits.
  public mutating func forward(
    _ tokens: [[Int]], continuing states: inout [SequenceState], mask: AttentionMask = .causal, logits rows: LogitRows = .last,
    consume: (_ row: Int, _ logits: Span<Float>) throws(ModelError) -> Void
  ) throws(ModelError) {
    let width = model.configuration.vocabularySize
    try forward(tokens, continuing: &states, mask: mask, logits: rows) { rows, logits throws(ModelError) in
      for (index, row) in rows.enumerated() {
        try consume(row, logits.extracting(index * width..<(index + 1) * width))
      }
    }
  }

  /// The same, handing over as many rows at a time as are made together.
  mutating func forward(
    _ tokens: [[Int]], continuing states: inout [SequenceState], mask: AttentionMask, logits rows: LogitRows,
    consumeRows: (_ rows: Range<Int>, _ logits: Span<Float>) throws(ModelError) -> Void
  ) throws(ModelError) {
    try check(tokens, states)
    let counts = states.map(\.count)
    do throws(ModelError) {
      var consumed = 0
      for block in LlamaBlock.blocks(of: tokens, rows: rows) {
        try run(block, tokens: tokens, states: &states, mask: mask, consumed: &consumed, consume: consumeRows)
      }
    } catch {
      for (sequence, count) in counts.enumerated() {
        try operating { () throws(TesseraError) in try states[sequence].truncate(to: min(count, states[sequence].count)) }
      }
      throw error
    }
  }

  private func check(_ tokens: [[Int]], _ states: [SequenceState]) throws(ModelError) {
    precondition(tokens.count == states.count, "tokens for \(tokens.count) of \(states.count) sequences")
    let configuration = model.configuration
    for (tokens, state) in zip(tokens, states) {
      precondition(!tokens.isEmpty, "a sequence without tokens")
      guard state.caches.count == configuration.layerCount else {
        throw ModelError.layerMismatch(what: "state, layers", expected: configuration.layerCount, got: state.caches.count)
      }
      guard state.count + tokens.count <= configuration.contextLength else {
        throw ModelError.contextExceeded(tokens: state.count + tokens.count, contextLength: configuration.contextLength)
      }
      for token in tokens where !(0..<configuration.vocabularySize).contains(token) {
        throw ModelError.invalidToken(token: token, vocabularySize: configuration.vocabularySize)
      }
    }
  }
}

// MARK: One block of rows

extension LlamaRunner {
  private mutating func run(
    _ block: LlamaBlock, tokens: [[Int]], states: inout [SequenceState], mask: AttentionMask, consumed: inout Int,
    consume: (Range<Int>, Span<Float>) throws(ModelError) -> Void
  ) throws(ModelError) {
    var active: [SequenceState] = []
    for piece in block.pieces {
      active.append(SequenceState(caches: []))
      swap(&active[active.count - 1], &states[piece.sequence])
    }
    defer { for (index, piece) in block.pieces.enumerated() { swap(&active[index], &states[piece.sequence]) } }
    var x = try take(block.rowCount * model.configuration.hiddenSize)
    defer { scratch.give(x) }
    embed(block, tokens, into: &x)
    let step = AttentionStep(
      tokens: block.pieces.map(\.tokens.count), after: active.map(\.count), rotary: model.configuration.rotary, mask: mask)
    do throws(TesseraError) { try runLayers(&x, step, states: &active) } catch { throw ModelError.operation(error) }
    try project(x, rows: block.wantedRows, consumed: &consumed, consume: consume)
  }

  private mutating func take(_ count: Int) throws(ModelError) -> [Float] {
    do throws(TesseraError) { return try scratch.take(count) } catch { throw ModelError.operation(error) }
  }

  private func embed(_ block: LlamaBlock, _ tokens: [[Int]], into x: inout [Float]) {
    let width = model.configuration.hiddenSize
    var target = x.mutableSpan
    var row = 0
    for piece in block.pieces {
      for token in tokens[piece.sequence][piece.tokens] {
        model.embedding.copyVector(of: token, into: &target, at: row * width)
        row += 1
      }
    }
  }

  private mutating func runLayers(
    _ x: inout [Float], _ step: AttentionStep, states: inout [SequenceState]
  ) throws(TesseraError) {
    for (index, layer) in model.layers.enumerated() {
      try layer(
        &x, step, epsilon: model.configuration.normEpsilon, states: &states, index: index, scratch: &scratch, on: executor)
    }
  }

  /// Logits of some rows, a few at a time.
  private mutating func project(
    _ x: [Float], rows: [Int], consumed: inout Int, consume: (Range<Int>, Span<Float>) throws(ModelError) -> Void
  ) throws(ModelError) {
    let vocabulary = model.configuration.vocabularySize
    for first in stride(from: 0, to: rows.count, by: LlamaRunner.rowsOfHead) {
      let part = rows[first..<min(first + LlamaRunner.rowsOfHead, rows.count)]
      var logits = try take(part.count * vocabulary)
      defer { scratch.give(logits) }
      do throws(TesseraError) { try project(x, rows: part, into: &logits) } catch { throw ModelError.operation(error) }
      try consume(consumed..<consumed + part.count, logits.span)
      consumed += part.count
    }
  }

  private mutating func project(_ x: [Float], rows: ArraySlice<Int>, into logits: inout [Float]) throws(TesseraError) {
    let width = model.configuration.hiddenSize
    var wanted = try scratch.take(rows.count * width)
    defer { scratch.give(wanted) }
    for (index, row) in rows.enumerated() {
      wanted.replaceSubrange(index * width..<(index + 1) * width, with: x[row * width..<(row + 1) * width])
    }
    var normed = try scratch.take(rows.count * width)
    defer { scratch.give(normed) }
    try executor.normalize(wanted, model.outputNorm, model.configuration.normEpsilon, into: &normed)
    var target = logits.mutableSpan
    try model.head(normed.span, rows: rows.count, into: &target, on: executor)
  }
}
