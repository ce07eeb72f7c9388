public import Tessera

/// The feed-forward part of a decoder layer: y = down(silu(gate(x)) up(x)), over linear layers of any form.
public struct GatedFeedForward: Sendable {
  public let gate: any LinearLayer
  public let up: any LinearLayer
  public let down: any LinearLayer

  /// - Precondition: gate and up have one shape, down goes from their outputs back to their inputs.
  public init(gate: any LinearLayer, up: any LinearLayer, down: any LinearLayer) {
    precondition(
      up.inputs == gate.inputs && up.outputs == gate.outputs && down.inputs == gate.outputs && down.outputs == gate.inputs,
      "a gate of \(gate.outputs) x \(gate.inputs), up of \(up.outputs) x \(up.inputs), down of \(down.outputs) x \(down.inputs)")
    self.gate = gate
    self.up = up
    self.down = down
  }

  /// Elements of a row of x and of y.
  public var width: Int { gate.inputs }
  /// The bytes of weights that one application reads.
  public var byteCount: Int { gate.byteCount + up.byteCount + down.byteCount }

  /// - Parameters:
  ///   - x: `rows * width` elements.
  ///   - scratch: memory for the time of the call.
  ///   - y: as many elements as x, all overwritten.
  /// - Throws: what the layers throw.
  public func callAsFunction(
    _ x: Span<Float>, rows: Int, scratch: inout LayerScratch, into y: inout MutableSpan<Float>, on executor: Executor
  ) throws(TesseraError) {
    var gated = try scratch.take(rows * gate.outputs)
    defer { scratch.give(gated) }
    var raised = try scratch.take(rows * up.outputs)
    defer { scratch.give(raised) }
    var target = gated.mutableSpan
    try gate(x, rows: rows, into: &target, on: executor)
    var other = raised.mutableSpan
    try up(x, rows: rows, into: &other, on: executor)
    var gating = gated.mutableSpan
    try executor.gate(&gating, with: raised.span)
    try down(gated.span, rows: rows, into: &y, on: executor)
  }
}
