import Tessera
import TesseraModels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The whole model once more, as its definition reads: plain loops in double over the checkpoint's weights, one layer after the
/// other, no cache.
///
///     x = E[token]
///     for each layer:
///       h = rms(x);  q, k, v = Wq h, Wk h, Wv h;  q, k turn with the position
///       x += Wo softmax(q . k / sqrt(d), causal) v
///       h = rms(x);  x += Wdown (silu(Wgate h) * Wup h)
///     logits = E rms(x)
struct ReferenceLlama {
  let checkpoint: LlamaCheckpoint
  let pool: ThreadPool

  init(_ checkpoint: LlamaCheckpoint) throws {
    self.checkpoint = checkpoint
    pool = try ThreadPool(on: .current)
  }

  private var configuration: LlamaConfiguration { checkpoint.configuration }

  /// Logits at every position.
  func logits(of tokens: [Int]) throws -> [[Double]] {
    let embedding = try checkpoint.float32Embedding()
    let width = configuration.hiddenSize
    var x = tokens.map { token in embedding[token * width..<(token + 1) * width].map { Double($0) } }
    for layer in 0..<configuration.layerCount {
      let h = try normalize(x, checkpoint.attentionNorm(ofLayer: layer))
      add(try attention(h, layer: layer), to: &x)
      let g = try normalize(x, checkpoint.feedForwardNorm(ofLayer: layer))
      let gate = try multiply(g, .layer(layer, .gate))
      let up = try multiply(g, .layer(layer, .up))
      let gated = zip(gate, up).map { gate, up in zip(gate, up).map { $0 / (1 + exp(-$0)) * $1 } }
      add(try multiply(gated, .layer(layer, .down)), to: &x)
    }
    return try multiply(normalize(x, checkpoint.outputNorm()), .head)
  }

  private func attention(_ h: [[Double]], layer: Int) throws -> [[Double]] {
    let shape = configuration.attention
    let dimension = shape.keyDimension
    var q = try multiply(h, .layer(layer, .query))
    var k = try multiply(h, .layer(layer, .key))
    let v = try multiply(h, .layer(layer, .value))
    for position in h.indices {
      turn(&q[position], at: position)
      turn(&k[position], at: position)
    }
    let attended = h.indices.map { position in
      (0..<shape.queryHeads).flatMap { head -> [Double] in
        let shared = head / shape.queriesPerHead * dimension
        let scores = (0...position).map { other in
          (0..<dimension).reduce(0.0) { $0 + q[position][head * dimension + $1] * k[other][shared + $1] }
            / Double(dimension).squareRoot()
        }
        let largest = scores.max() ?? 0
        let powers = scores.map { exp($0 - largest) }
        let sum = powers.reduce(0, +)
        return (0..<dimension).map { channel in
          (0...position).reduce(0.0) { $0 + powers[$1] / sum * v[$1][shared + channel] }
        }
      }
    }
    return try multiply(attended, .layer(layer, .output))
  }

  /// Pair i is elements i and i + n of a head of 2n.
  private func turn(_ row: inout [Double], at position: Int) {
    let dimension = configuration.attention.keyDimension
    let half = configuration.rotary.rotated / 2
    for head in stride(from: 0, to: row.count, by: dimension) {
      for pair in 0..<half {
        let angle = Double(position) * configuration.rotary.frequencies[pair]
        let (u, v) = (row[head + pair], row[head + pair + half])
        row[head + pair] = u * cos(angle) - v * sin(angle)
        row[head + pair + half] = v * cos(angle) + u * sin(angle)
      }
    }
  }

  private func normalize(_ x: [[Double]], _ weight: [Float]) -> [[Double]] {
    x.map { row in
      let mean = row.reduce(0) { $0 + $1 * $1 } / Double(row.count)
      return zip(row, weight).map { $0 / (mean + Double(configuration.normEpsilon)).squareRoot() * Double($1) }
    }
  }

  private func add(_ delta: [[Double]], to x: inout [[Double]]) {
    for row in x.indices {
      for column in x[row].indices { x[row][column] += delta[row][column] }
    }
  }

  /// W x + bias for every row of x. Pointers, because debug builds take an age for arrays.
  private func multiply(_ x: [[Double]], _ place: LlamaPlace) throws -> [[Double]] {
    let weights = try checkpoint.float32(of: place)
    let bias = try checkpoint.bias(of: place)
    let (outputs, inputs) = configuration.shape(of: place)
    let flat = x.flatMap(\.self)
    let y = [Double](unsafeUninitializedCapacity: x.count * outputs) { y, count in
      flat.withUnsafeBufferPointer { x in
        weights.withUnsafeBufferPointer { weights in
          guard let x = x.baseAddress, let weights = weights.baseAddress, let y = y.baseAddress else { return }
          pool.run(parts: outputs) { output, _ in
            for row in 0..<flat.count / inputs {
              var sum = Double(bias?[output] ?? 0)
              var (w, element) = (weights + output * inputs, x + row * inputs)
              let end = w + inputs
              while w != end {
                sum += Double(w.pointee) * element.pointee
                w += 1
                element += 1
              }
              y[row * outputs + output] = sum
            }
          }
        }
      }
      count = x.count * outputs
    }
    return (0..<x.count).map { Array(y[$0 * outputs..<($0 + 1) * outputs]) }
  }
}

/// log of the sum of powers of e.
func logSumExp(_ logits: [Double]) -> Double {
  let largest = logits.max() ?? 0
  return largest + log(logits.reduce(0) { $0 + exp($1 - largest) })
}
