public import Tessera

/// An orthogonal Q that spreads the energy of a latent over all its channels, so that one scale serves them well: singular
/// vectors come in order of their energy, and without it the first channels would set the scale of all.
///
/// Q is block-diagonal. A block of n channels is (H_m x H_2 x ... x H_2) / sqrt(n), Kronecker products of a Hadamard matrix of
/// Paley's with Sylvester's; m is the smallest multiple of n's odd part for which `HadamardMatrix` has a construction. A single
/// block serves every multiple of 32 up to 1024, and all but nine up to 4096. For other ranks the first block is the largest
/// that can be had, and so on with the channels that are left.
public struct HadamardRotation: Sendable {
  public let rank: Int
  /// How many channels each block has.
  public var blockSizes: [Int] { blocks.map(\.size) }
  private let blocks: [Block]

  /// - Parameter rank: at least 1.
  public init(rank: Int) {
    precondition(rank > 0, "a rotation of \(rank) channels")
    self.rank = rank
    var blocks: [Block] = []
    var left = rank
    while left > 0 {
      let block = (1...left).reversed().lazy.compactMap { Block(size: $0) }.first
      guard let block else { break }
      blocks.append(block)
      left -= block.size
    }
    self.blocks = blocks
  }

  private struct Block: Sendable {
    let paley: HadamardMatrix
    let size: Int

    init?(size: Int) {
      var order = size >> size.trailingZeroBitCount
      while order <= size {
        if let matrix = HadamardMatrix(order: order) {
          self.paley = matrix
          self.size = size
          return
        }
        order *= 2
      }
      return nil
    }
  }

  /// x Q of a row of `rank` numbers.
  public func apply(to row: inout [Double]) {
    precondition(row.count == rank, "\(row.count) numbers for a rotation of \(rank)")
    row.withUnsafeMutableBufferPointer { row in
      withUnsafeTemporaryAllocation(of: Double.self, capacity: rank) { scratch in
        guard let row = row.baseAddress, let scratch = scratch.baseAddress else { return }
        apply(to: row, scratch: scratch)
      }
    }
  }

  private func apply(to row: UnsafeMutablePointer<Double>, scratch: UnsafeMutablePointer<Double>) {
    var first = 0
    for block in blocks {
      let part = row + first
      let inner = block.size / block.paley.order
      for begin in stride(from: 0, to: block.size, by: inner) { sylvester(part + begin, count: inner) }
      multiply(part, by: block.paley, inner: inner, scratch: scratch)
      first += block.size
    }
  }

  /// The product with the Kronecker power of (1 1; 1 -1), in place.
  private func sylvester(_ x: UnsafeMutablePointer<Double>, count: Int) {
    var half = 1
    while half < count {
      for begin in stride(from: 0, to: count, by: 2 * half) {
        for i in begin..<begin + half { (x[i], x[i + half]) = (x[i] + x[i + half], x[i] - x[i + half]) }
      }
      half *= 2
    }
  }

  private func multiply(
    _ x: UnsafeMutablePointer<Double>, by matrix: HadamardMatrix, inner: Int, scratch: UnsafeMutablePointer<Double>
  ) {
    let (order, count) = (matrix.order, matrix.order * inner)
    let factor = 1 / Double(count).squareRoot()
    scratch.update(repeating: 0, count: count)
    matrix.elements.withUnsafeBufferPointer { elements in
      for row in 0..<order {
        for column in 0..<order {
          let sign = Double(elements[row * order + column])
          for i in 0..<inner { scratch[column * inner + i] += sign * x[row * inner + i] }
        }
      }
    }
    for i in 0..<count { x[i] = factor * scratch[i] }
  }

  /// X Q of `rows` rows, in place. `stride` is the distance of a row's numbers, `rowStride` that of rows.
  fileprivate func apply(
    to elements: UnsafeMutablePointer<Float>, rows: Int, rowStride: Int, stride: Int, on pool: ThreadPool?
  ) {
    let batch = 64
    ThreadPool.run(parts: (rows + batch - 1) / batch, on: pool) { part, _ in
      withUnsafeTemporaryAllocation(of: Double.self, capacity: 2 * rank) { buffer in
        guard let row = buffer.baseAddress else { return }
        for index in part * batch..<min(rows, (part + 1) * batch) {
          let place = elements + index * rowStride
          for channel in 0..<rank { row[channel] = Double(place[channel * stride]) }
          apply(to: row, scratch: row + rank)
          for channel in 0..<rank { place[channel * stride] = Float(row[channel]) }
        }
      }
    }
  }
}

extension LowRankFactors {
  /// The same projection with latents h Q: A becomes A Q, and B becomes Q^T B. Running it costs nothing more.
  public func rotated(on pool: ThreadPool? = nil) -> LowRankFactors {
    var copy = self
    var rotations: [Int: HadamardRotation] = [:]
    for index in groups.indices {
      let rank = groups[index].rank
      let rotation = rotations[rank] ?? HadamardRotation(rank: rank)
      rotations[rank] = rotation
      copy.groups[index].a.withUnsafeMutableBufferPointer { a in
        guard let a = a.baseAddress else { return }
        rotation.apply(to: a, rows: inputs, rowStride: rank, stride: 1, on: pool)
      }
      // The columns of B are the rows of B^T, and (Q^T B)^T = B^T Q.
      copy.groups[index].b.withUnsafeMutableBufferPointer { b in
        guard let b = b.baseAddress else { return }
        rotation.apply(to: b, rows: heads.groupOutputs, rowStride: 1, stride: heads.groupOutputs, on: pool)
      }
    }
    return copy
  }
}
