public import Tessera

extension LowRankFactors {
  /// B^T of each group, `groupOutputs x rank`, row after row: what `LatentKeys` and `LatentValues` are made of.
  public func liftMatrices() -> [[Float]] {
    groups.map { group in
      var rows = [Float](repeating: 0, count: group.b.count)
      for channel in 0..<group.rank {
        for output in 0..<heads.groupOutputs {
          rows[output * group.rank + channel] = group.b[channel * heads.groupOutputs + output]
        }
      }
      return rows
    }
  }

  /// An output projection that takes sums of value latents instead of values (`ValueForm.fused`).
  public struct FusedOutput: Sendable, Equatable {
    /// `hidden x inputs`, row after row; an input for each query head and channel of its group's latent.
    public let weights: [Float]
    public let hidden: Int
    public let inputs: Int
    /// What the bias of the values adds to every output, because probabilities sum up to 1; nil without one.
    public let bias: [Float]?
  }

  /// Multiplies these value factors into the output projection Wo: B Wo of each query head, summed in double.
  /// - Parameters:
  ///   - projection: `hidden x (queryHeads * headDimension)` weights, row after row.
  ///   - queryHeads: consecutive ones share a key-value head.
  /// - Throws: `invalidGrouping` for query heads that the key-value heads do not divide; `invalidShape`, `sizeMismatch`.
  public func fused(
    into projection: Span<Float>, hidden: Int, queryHeads: Int, on pool: ThreadPool? = nil
  ) throws(CompressionError) -> FusedOutput {
    guard queryHeads > 0, queryHeads % heads.heads == 0 else {
      throw .invalidGrouping(heads: queryHeads, headsPerGroup: heads.heads)
    }
    let dimension = heads.headDimension
    let width = queryHeads * dimension
    let count = try checkedCount("output projection", rows: hidden, columns: width)
    guard projection.count == count else {
      throw .sizeMismatch(what: "output projection", expected: count, got: projection.count)
    }
    let sources = lifts(queryHeads: queryHeads)
    let inputs = sources.reduce(0) { $0 + $1.rank }
    var weights = [Float](repeating: 0, count: hidden * inputs)
    var biases = [Float](repeating: 0, count: hidden)
    projection.withUnsafeBufferPointer { projection in
      weights.withUnsafeMutableBufferPointer { weights in
        biases.withUnsafeMutableBufferPointer { biases in
          guard let wo = projection.baseAddress, let fused = weights.baseAddress, let sums = biases.baseAddress else { return }
          ThreadPool.run(parts: hidden, on: pool) { row, _ in
            var target = fused + row * inputs
            for (head, source) in sources.enumerated() {
              source.multiply(wo + row * width + head * dimension, count: dimension, into: target)
              target += source.rank
            }
            if let bias { sums[row] = contribution(of: bias, wo + row * width, queryHeads: queryHeads) }
          }
        }
      }
    }
    return FusedOutput(weights: weights, hidden: hidden, inputs: inputs, bias: bias == nil ? nil : biases)
  }

  /// B^T of each query head.
  private func lifts(queryHeads: Int) -> [Lift] {
    let matrices = liftMatrices()
    return (0..<queryHeads).map { query in
      let (group, index) = (query / (queryHeads / heads.heads)).quotientAndRemainder(dividingBy: heads.headsPerGroup)
      let count = heads.headDimension * groups[group].rank
      return Lift(rank: groups[group].rank, rows: matrices[group][index * count..<(index + 1) * count])
    }
  }

  private func contribution(of bias: [Float], _ row: UnsafePointer<Float>, queryHeads: Int) -> Float {
    let (dimension, shared) = (heads.headDimension, queryHeads / heads.heads)
    var sum = 0.0
    for query in 0..<queryHeads {
      for element in 0..<dimension {
        sum += Double(bias[query / shared * dimension + element]) * Double(row[query * dimension + element])
      }
    }
    return Float(sum)
  }
}

private struct Lift {
  let rank: Int
  /// `headDimension x rank`.
  let rows: ArraySlice<Float>

  /// `weights` times the rows.
  func multiply(_ weights: UnsafePointer<Float>, count: Int, into target: UnsafeMutablePointer<Float>) {
    withUnsafeTemporaryAllocation(of: Double.self, capacity: rank) { sums in
      sums.initialize(repeating: 0)
      rows.withUnsafeBufferPointer { rows in
        for element in 0..<count {
          let weight = Double(weights[element])
          for channel in 0..<rank { sums[channel] += weight * Double(rows[element * rank + channel]) }
        }
      }
      for channel in 0..<rank { target[channel] = Float(sums[channel]) }
    }
  }
}
