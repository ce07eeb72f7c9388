internal import Tessera
internal import TesseraModels

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// A decoder layer on one window of tokens, forwards and backwards, in single precision with dense weights:
///
///     h = norm(x)    q, k, v = W h + b, q and k turned    m = x + Wo attention(q, k, v)
///     g = norm(m)    y = m + Wdown (silu(Wgate g) * Wup g)
struct DifferentiableLayer {
  private let configuration: LlamaConfiguration
  private let weights: [LlamaProjection: Rows]
  private let biases: [LlamaProjection: [Float]]
  private let attentionNorm: RMSNorm
  private let feedForwardNorm: RMSNorm
  private let attention: CausalAttention

  init(_ source: LayerSource) {
    configuration = source.configuration
    var weights: [LlamaProjection: Rows] = [:]
    for (projection, values) in source.weights {
      weights[projection] = Rows(values, width: source.configuration.shape(of: projection).inputs)
    }
    self.weights = weights
    biases = source.biases
    attentionNorm = RMSNorm(weight: source.attentionNorm, epsilon: configuration.normEpsilon)
    feedForwardNorm = RMSNorm(weight: source.feedForwardNorm, epsilon: configuration.normEpsilon)
    attention = CausalAttention(shape: configuration.attention)
  }

  /// What the way forward leaves for the way back.
  struct Pass {
    fileprivate let x, h, q, k, v, middle, gate, up: Rows
    let y: Rows
  }

  /// Of the loss, by what goes into the layer and by two of its matrices.
  struct Gradients {
    let x: Rows
    /// `outputs x inputs`, as the weights.
    let key, value: Rows
  }

  func forward(_ x: Rows) throws(TesseraError) -> Pass {
    let h = attentionNorm(x)
    var (q, k, v) = (linear(.query, h), linear(.key, h), linear(.value, h))
    try turn(&q, heads: configuration.attention.queryHeads, by: 1)
    try turn(&k, heads: configuration.attention.keyValueHeads, by: 1)
    var middle = x
    middle.add(linear(.output, attention(q: q, k: k, v: v)))
    let g = feedForwardNorm(middle)
    let (gate, up) = (linear(.gate, g), linear(.up, g))
    var gated = up
    for i in gated.values.indices { gated.values[i] *= silu(gate.values[i]) }
    var y = middle
    y.add(linear(.down, gated))
    return Pass(x: x, h: h, q: q, k: k, v: v, middle: middle, gate: gate, up: up, y: y)
  }

  /// - Parameter dy: the gradient by `pass.y`.
  func backward(_ pass: Pass, _ dy: Rows) throws(TesseraError) -> Gradients {
    var dMiddle = dy
    dMiddle.add(feedForwardNorm.gradient(feedForwardGradient(pass, dy), at: pass.middle))

    var d = attention.gradients(inputGradient(.output, dMiddle), q: pass.q, k: pass.k, v: pass.v)
    try turn(&d.q, heads: configuration.attention.queryHeads, by: -1)
    try turn(&d.k, heads: configuration.attention.keyValueHeads, by: -1)
    var dh = inputGradient(.query, d.q)
    dh.add(inputGradient(.key, d.k))
    dh.add(inputGradient(.value, d.v))
    var dx = dMiddle
    dx.add(attentionNorm.gradient(dh, at: pass.x))
    return Gradients(x: dx, key: d.k.transposedTimes(pass.h), value: d.v.transposedTimes(pass.h))
  }

  /// By the normed rows. silu(z) = z s with s = 1 / (1 + e^-z), and its derivative is s (1 + z (1 - s)).
  private func feedForwardGradient(_ pass: Pass, _ dy: Rows) -> Rows {
    let gated = inputGradient(.down, dy)
    var (dGate, dUp) = (gated, gated)
    for i in gated.values.indices {
      let z = pass.gate.values[i], s = sigmoid(z)
      dUp.values[i] *= z * s
      dGate.values[i] *= pass.up.values[i] * s * (1 + z * (1 - s))
    }
    var dg = inputGradient(.gate, dGate)
    dg.add(inputGradient(.up, dUp))
    return dg
  }

  /// Heads to their positions, or back from them.
  private func turn(_ rows: inout Rows, heads: Int, by direction: Int) throws(TesseraError) {
    let angles = configuration.rotary.angles(at: (0..<rows.count).map { direction * $0 })
    var span = rows.values.mutableSpan
    try angles.rotate(&span, heads: heads, dimension: configuration.attention.keyDimension)
  }

  private func matrix(_ projection: LlamaProjection) -> Rows {
    guard let matrix = weights[projection] else { preconditionFailure("a layer without \(projection)") }
    return matrix
  }

  private func linear(_ projection: LlamaProjection, _ x: Rows) -> Rows {
    var y = x.times(transposed: matrix(projection))
    guard let bias = biases[projection] else { return y }
    for i in y.values.indices { y.values[i] += bias[i % y.width] }
    return y
  }

  private func inputGradient(_ projection: LlamaProjection, _ dy: Rows) -> Rows { dy.times(matrix(projection)) }
}

private func sigmoid(_ z: Float) -> Float { 1 / (1 + exp(-z)) }
private func silu(_ z: Float) -> Float { z * sigmoid(z) }
