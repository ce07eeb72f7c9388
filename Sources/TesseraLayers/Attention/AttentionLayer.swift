public import Tessera

/// Attention as a model sees it: rows in, rows out, and a cache that remembers the tokens. It has its own projections, so any
/// form of them and of the cache can take the place of any other of the same width.
public protocol AttentionLayer: Sendable {
  /// Elements of a row of x and of y.
  var width: Int { get }
  /// The bytes of weights that one application reads.
  var byteCount: Int { get }
  /// Shape, formats and bytes in one line, for people.
  var summary: String { get }

  /// The empty cache of a new sequence.
  func makeCache() -> any AttentionCache

  /// Adds the step's tokens to the caches and attends to them.
  /// - Parameters:
  ///   - x: `step.rows * width` elements, row after row.
  ///   - step: what the rows are.
  ///   - states: of the step's sequences.
  ///   - layer: which of the states' caches is this layer's.
  ///   - scratch: memory that the layer may use meanwhile.
  ///   - y: as many elements as x, all overwritten.
  ///   - executor: whose threads and kernels do it.
  /// - Throws: `TesseraError`; the caches of some sequences may then have the tokens, and those of others not.
  func callAsFunction(
    _ x: Span<Float>, _ step: AttentionStep, states: inout [SequenceState], layer: Int, scratch: inout LayerScratch,
    into y: inout MutableSpan<Float>, on executor: Executor
  ) throws(TesseraError)
}
