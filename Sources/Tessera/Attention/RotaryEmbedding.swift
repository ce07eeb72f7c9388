internal import CKernels

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Rotary position embedding (RoPE, arXiv 2104.09864): pairs of a head's elements turn with the position, each pair at its own
/// frequency, so that q . k depends on the distance of the two positions alone.
public struct RotaryEmbedding: Sendable, Hashable {
  /// Which elements form pair `i` of the `2 n` rotated ones.
  public enum Pairing: String, Sendable, Codable {
    /// i and i + n: Hugging Face checkpoints.
    case halves
    /// 2 i and 2 i + 1: GGUF files of Llama models.
    case interleaved
  }

  /// How a model was stretched to longer contexts than it was first trained for.
  public enum Scaling: Sendable, Hashable {
    /// Every frequency divided by a factor.
    case linear(factor: Double)
    /// Llama 3: frequencies whose wavelength exceeds `originalContext / lowFactor` are divided by `factor`, those below
    /// `originalContext / highFactor` kept, and those between blended.
    case llama3(factor: Double, lowFactor: Double, highFactor: Double, originalContext: Double)
  }

  /// Elements of a head that turn, from the first on; even.
  public let rotated: Int
  /// Which of them form pairs.
  public let pairing: Pairing
  /// Radians per position of each pair.
  public let frequencies: [Double]

  /// Pair i turns by `theta` to the power of -2 i / rotated per position.
  /// - Parameters:
  ///   - rotated: elements of a head that turn; fewer than the head has is partial rotation.
  ///   - theta: the base, 10000 in many models.
  ///   - scaling: nil leaves the frequencies as they are.
  /// - Throws: `TesseraError.invalidRotation` for an odd, zero or huge number of elements, and for a base or factors that are not
  ///   positive and finite, or do not lie in order.
  public init(
    rotated: Int, theta: Double, scaling: Scaling? = nil, pairing: Pairing = .halves
  ) throws(TesseraError) {
    guard rotated > 0, rotated % 2 == 0, rotated <= AttentionShape.mostDimension else {
      throw .invalidRotation(what: "number of elements", value: Double(rotated))
    }
    guard theta > 0, theta.isFinite else { throw .invalidRotation(what: "base", value: theta) }
    try scaling?.validate()
    let plain = (0..<rotated / 2).map { pow(theta, -2 * Double($0) / Double(rotated)) }
    self.init(rotated: rotated, pairing: pairing, frequencies: scaling.map { scaling in plain.map(scaling.apply) } ?? plain)
  }

  private init(rotated: Int, pairing: Pairing, frequencies: [Double]) {
    self.rotated = rotated
    self.pairing = pairing
    self.frequencies = frequencies
  }

  /// The embedding of a head from which pairs were pruned: pair i of what is left turns as pair `pairs[i]` of this one.
  /// - Throws: `TesseraError.invalidPosition` for a pair that does not exist, `emptyCache` where none is left.
  public func keeping(pairs: [Int]) throws(TesseraError) -> RotaryEmbedding {
    guard !pairs.isEmpty else { throw .invalidRotation(what: "number of elements", value: 0) }
    for pair in pairs where !frequencies.indices.contains(pair) {
      throw .invalidPosition(what: "of a rotated pair", position: pair, count: frequencies.count)
    }
    return RotaryEmbedding(rotated: 2 * pairs.count, pairing: pairing, frequencies: pairs.map { frequencies[$0] })
  }

  /// Cosines and sines for tokens at these positions.
  public func angles(at positions: some Collection<Int>) -> RotaryAngles { RotaryAngles(self, positions: positions) }
}

extension RotaryEmbedding.Scaling {
  fileprivate func validate() throws(TesseraError) {
    func positive(_ what: String, _ value: Double) throws(TesseraError) {
      guard value > 0, value.isFinite else { throw .invalidRotation(what: what, value: value) }
    }
    switch self {
    case .linear(let factor): try positive("scaling factor", factor)
    case .llama3(let factor, let low, let high, let original):
      try positive("scaling factor", factor)
      try positive("low frequency factor", low)
      try positive("high frequency factor", high)
      try positive("original context", original)
      guard low < high else { throw .invalidRotation(what: "high frequency factor", value: high) }
    }
  }

  fileprivate func apply(_ frequency: Double) -> Double {
    switch self {
    case .linear(let factor): return frequency / factor
    case .llama3(let factor, let low, let high, let original):
      // How often the pair turns within the original context, on a scale where `low` is 0 and `high` 1.
      let turns = original * frequency / (2 * .pi)
      let blend = min(max((turns - low) / (high - low), 0), 1)
      return (1 - blend) * frequency / factor + blend * frequency
    }
  }
}

/// Cosines and sines of a few tokens: made once for a step of a model, used by all its layers.
///
/// Angles are computed in double: in single precision they would be off by 4e-3 radians at position 65535.
public struct RotaryAngles: Sendable {
  /// What they belong to.
  public let embedding: RotaryEmbedding
  /// How many tokens.
  public let count: Int
  /// count x pairs.
  package let cosines: [Float]
  package let sines: [Float]

  fileprivate init(_ embedding: RotaryEmbedding, positions: some Collection<Int>) {
    self.embedding = embedding
    count = positions.count
    var (cosines, sines): ([Float], [Float]) = ([], [])
    cosines.reserveCapacity(count * embedding.frequencies.count)
    sines.reserveCapacity(count * embedding.frequencies.count)
    for position in positions {
      for frequency in embedding.frequencies {
        let angle = Double(position) * frequency
        cosines.append(Float(cos(angle)))
        sines.append(Float(sin(angle)))
      }
    }
    self.cosines = cosines
    self.sines = sines
  }

  /// Turns heads in place: of each head of each token the first `embedding.rotated` elements.
  ///
  /// New pairs are (u cos - v sin, v cos + u sin).
  /// - Parameters:
  ///   - rows: `count` tokens x `heads` x `dimension` elements.
  ///   - heads: heads of a token.
  ///   - dimension: elements of a head, at least `embedding.rotated`.
  ///   - pool: whose threads share the tokens; nil leaves all to the calling one.
  /// - Throws: `TesseraError.sizeMismatch` for another number of elements, `invalidRotation` for heads that are too small.
  public func rotate(
    _ rows: inout MutableSpan<Float>, heads: Int, dimension: Int, on pool: ThreadPool? = nil
  ) throws(TesseraError) {
    guard dimension >= embedding.rotated else {
      throw .invalidRotation(what: "number of elements", value: Double(embedding.rotated))
    }
    guard rows.count == count * heads * dimension else {
      throw .sizeMismatch(what: "rows to rotate", expected: count * heads * dimension, got: rows.count)
    }
    let pairs = embedding.frequencies.count
    rows.withUnsafeMutableBufferPointer { rows in
      guard let base = rows.baseAddress else { return }
      let target = SharedMutablePointer(base)
      ThreadPool.run(parts: count, on: count > 1 ? pool : nil) { token, _ in
        cosines.withUnsafeBufferPointer { cosines in
          sines.withUnsafeBufferPointer { sines in
            guard let cosine = cosines.baseAddress, let sine = sines.baseAddress else { return }
            for head in token * heads..<(token + 1) * heads {
              let row = target.base + head * dimension
              switch embedding.pairing {
              case .halves: ck_rotate_halves(row, pairs, cosine + token * pairs, sine + token * pairs)
              case .interleaved: ck_rotate_interleaved(row, pairs, cosine + token * pairs, sine + token * pairs)
              }
            }
          }
        }
      }
    }
  }
}

/// A caller's memory, lent to the threads of one call, which write places of their own.
struct SharedMutablePointer<Element>: @unchecked Sendable {
  let base: UnsafeMutablePointer<Element>
  init(_ base: UnsafeMutablePointer<Element>) { self.base = base }
}
