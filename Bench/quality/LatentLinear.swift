internal import Tessera
internal import TesseraCompression
internal import TesseraLayers

/// y = (round(x A) B) + bias, latents rounded to few bits as `LatentQuantizer` says: a key or value projection that loses what a
/// cache of such latents loses.
struct LatentLinear: LinearLayer {
  private let down: DenseLinear
  private let up: DenseLinear
  private let ranks: [Int]
  private let quantizer: LatentQuantizer

  init(_ factors: LowRankFactors, _ quantizer: LatentQuantizer) throws(TesseraError) {
    let width = factors.ranks.reduce(0, +)
    let rows = factors.latentProjection().map { BFloat16($0) }
    down = try DenseLinear(rows.span, outputs: width, inputs: factors.inputs)
    let lift = LatentLinear.blocks(factors, width: width)
    up = try DenseLinear(lift.span, outputs: factors.heads.outputs, inputs: width, bias: factors.bias)
    ranks = factors.ranks
    self.quantizer = quantizer
  }

  /// The matrices B^T of all groups along a diagonal.
  private static func blocks(_ factors: LowRankFactors, width: Int) -> [BFloat16] {
    var lift = [BFloat16](repeating: .zero, count: factors.heads.outputs * width)
    var first = 0
    for (group, (rank, rows)) in zip(factors.ranks, factors.liftMatrices()).enumerated() {
      for output in 0..<factors.heads.groupOutputs {
        let place = (group * factors.heads.groupOutputs + output) * width + first
        for channel in 0..<rank { lift[place + channel] = BFloat16(rows[output * rank + channel]) }
      }
      first += rank
    }
    return lift
  }

  var outputs: Int { up.outputs }
  var inputs: Int { down.inputs }
  var format: WeightFormat { .bf16 }
  var byteCount: Int { down.byteCount + up.byteCount }
  var bestSpeedup: Double { Double(2 * outputs * inputs) / Double(byteCount) }

  func callAsFunction(
    _ x: Span<Float>, rows: Int, into y: inout MutableSpan<Float>, on executor: Executor
  ) throws(TesseraError) {
    let latents = try down(x, rows: rows, on: executor)
    var rounded: [Float] = []
    rounded.reserveCapacity(latents.count)
    let all = latents.span
    for _ in 0..<rows {
      for rank in ranks {
        rounded += quantizer.quantize(all.extracting(rounded.count..<rounded.count + rank)).dequantized
      }
    }
    try up(rounded.span, rows: rows, into: &y, on: executor)
  }
}
