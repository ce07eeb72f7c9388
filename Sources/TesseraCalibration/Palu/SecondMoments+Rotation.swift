public import Tessera
public import TesseraCompression

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

extension SecondMoments {
  /// Of a head's queries q before their rotation: the second moments of R_n q, averaged over the distances n of 0..<`distances`
  /// between query and key. These are what keys are weighted by (`LowRankObjective.scores`).
  ///
  /// As complex numbers a + b i, pairs j and k turn by n w_j and n w_k. The 2 x 2 block of their moments is the sum of a part
  /// that turns by the difference of the angles and one that turns by their sum,
  ///
  ///     (a -b)   (c  d)      a = (m00 + m11) / 2   b = (m10 - m01) / 2
  ///     (b  a) + (d -c)      c = (m00 - m11) / 2   d = (m10 + m01) / 2
  ///
  /// and the mean of e^(i n phi) over n is a geometric sum. Over long distances that leaves the mean energy of each pair in both
  /// of its elements, and little else.
  /// - Parameter distances: at least 1, which leaves everything as it is; the context that the model is to be used with.
  /// - Throws: `sizeMismatch` where the embedding rotates more than there is, or leaves an odd number of elements.
  public func averagedOverRotations(
    by embedding: RotaryEmbedding, distances: Int
  ) throws(CompressionError) -> SecondMoments {
    precondition(distances > 0, "\(distances) distances")
    guard embedding.rotated <= inputs, (inputs - embedding.rotated) % 2 == 0 else {
      throw .sizeMismatch(what: "elements of a head", expected: embedding.rotated, got: inputs)
    }
    let pairs = embedding.pairs(ofElements: inputs)
    var averaged = elements
    for (j, first) in pairs.enumerated() {
      for second in pairs[...j] {
        let block = Block(
          element(first.low, second.low), element(first.low, second.high), element(first.high, second.low),
          element(first.high, second.high))
        let mean = block.turned(
          byDifference: meanRotation(first.frequency - second.frequency, count: distances),
          bySum: meanRotation(first.frequency + second.frequency, count: distances))
        let places = [
          (first.low, second.low), (first.low, second.high), (first.high, second.low), (first.high, second.high),
        ]
        for ((row, column), value) in zip(places, mean.elements) {
          averaged[row * inputs + column] = value
          averaged[column * inputs + row] = value
        }
      }
    }
    return try SecondMoments(inputs: inputs, elements: averaged)
  }

  /// Only what lies on and below the diagonal counts.
  private func element(_ row: Int, _ column: Int) -> Double { elements[max(row, column) * inputs + min(row, column)] }
}

extension RotaryEmbedding {
  /// Elements that do not turn are pairs of frequency 0.
  fileprivate func pairs(ofElements count: Int) -> [(low: Int, high: Int, frequency: Double)] {
    (0..<count / 2).map { pair in
      if pair >= frequencies.count { return (2 * pair, 2 * pair + 1, 0) }
      switch pairing {
      case .halves: return (pair, pair + frequencies.count, frequencies[pair])
      case .interleaved: return (2 * pair, 2 * pair + 1, frequencies[pair])
      }
    }
  }
}

/// A 2 x 2 block of moments.
private struct Block {
  let elements: [Double]

  init(_ m00: Double, _ m01: Double, _ m10: Double, _ m11: Double) { elements = [m00, m01, m10, m11] }

  func turned(byDifference u: (real: Double, imaginary: Double), bySum v: (real: Double, imaginary: Double)) -> Block {
    let (a, b) = ((elements[0] + elements[3]) / 2, (elements[2] - elements[1]) / 2)
    let (c, d) = ((elements[0] - elements[3]) / 2, (elements[2] + elements[1]) / 2)
    let (e, f) = (a * u.real - b * u.imaginary, a * u.imaginary + b * u.real)
    let (g, h) = (c * v.real - d * v.imaginary, c * v.imaginary + d * v.real)
    return Block(e + g, h - f, f + h, e - g)
  }
}

/// The mean of e^(i n angle) over n in 0..<count.
private func meanRotation(_ angle: Double, count: Int) -> (real: Double, imaginary: Double) {
  let half = sin(angle / 2)
  // A multiple of a whole turn.
  guard abs(half) > 1e-12 else { return (1, 0) }
  let size = sin(Double(count) * angle / 2) / (Double(count) * half)
  let middle = Double(count - 1) * angle / 2
  return (size * cos(middle), size * sin(middle))
}
