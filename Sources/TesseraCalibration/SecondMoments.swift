internal import CCompression
public import Tessera
public import TesseraCompression

/// The sum of x x^T over calibration tokens x: how the inputs of a layer move together.
public struct SecondMoments: Sendable {
  public let inputs: Int
  /// Symmetric, row after row.
  public private(set) var elements: [Double]

  /// All zeros.
  /// - Throws: `invalidShape`.
  public init(inputs: Int) throws(CompressionError) {
    let count = try checkedCount("second moments", rows: inputs, columns: inputs)
    self.inputs = inputs
    elements = [Double](repeating: 0, count: count)
  }

  /// - Parameter elements: `inputs * inputs` numbers. Only those on and below the diagonal are read.
  /// - Throws: `invalidShape`, `sizeMismatch`, `nonFiniteMoment`.
  public init(inputs: Int, elements: [Double]) throws(CompressionError) {
    let count = try checkedCount("second moments", rows: inputs, columns: inputs)
    guard elements.count == count else { throw .sizeMismatch(what: "second moments", expected: count, got: elements.count) }
    if let bad = elements.firstIndex(where: { !$0.isFinite }) {
      throw .nonFiniteMoment(row: bad / inputs, column: bad % inputs)
    }
    self.inputs = inputs
    self.elements = elements
  }

  /// Adds tokens. The sums are in the order of the tokens, whatever the threads do.
  /// - Parameter activations: whole tokens of `inputs` numbers, one after the other.
  /// - Throws: `sizeMismatch`, `nonFiniteMoment` where the activations make one; nothing is added then.
  public mutating func add(_ activations: Span<Float>, on pool: ThreadPool? = nil) throws(CompressionError) {
    let tokens = activations.count / inputs
    guard activations.count == tokens * inputs else {
      throw .sizeMismatch(what: "activations", expected: (tokens + 1) * inputs, got: activations.count)
    }
    for index in activations.indices where !activations[index].isFinite {
      throw .nonFiniteMoment(row: index % inputs, column: index % inputs)
    }
    for first in stride(from: 0, to: tokens, by: SecondMoments.tokensOfBlock) {
      let count = min(SecondMoments.tokensOfBlock, tokens - first)
      addBlock(activations.extracting(first * inputs..<(first + count) * inputs), tokens: count, on: pool)
    }
  }

  /// Two panels of so many tokens fit the L1 cache.
  private static let tokensOfBlock = 256

  private mutating func addBlock(_ activations: Span<Float>, tokens: Int, on pool: ThreadPool?) {
    let (inputs, width) = (inputs, Int(CC_MOMENT_PANEL))
    let panelCount = (inputs + width - 1) / width
    let panels = [Double](unsafeUninitializedCapacity: panelCount * tokens * width) { panels, count in
      panels.initialize(repeating: 0)
      for token in 0..<tokens {
        for input in 0..<inputs {
          panels[(input / width * tokens + token) * width + input % width] = Double(activations[token * inputs + input])
        }
      }
      count = panels.count
    }
    elements.withUnsafeMutableBufferPointer { elements in
      panels.withUnsafeBufferPointer { panels in
        guard let elements = elements.baseAddress, let panels = panels.baseAddress else { return }
        // The n-th panel has n + 1 others to be multiplied with: the first and the last together are as many as any such two.
        ThreadPool.run(parts: (panelCount + 1) / 2, on: pool) { part, _ in
          cc_add_moments(panels, tokens, inputs, part, elements)
          let other = panelCount - 1 - part
          if other != part { cc_add_moments(panels, tokens, inputs, other, elements) }
        }
        ThreadPool.run(parts: inputs, on: pool) { row, _ in
          for column in row + 1..<max(row + 1, inputs) { elements[row * inputs + column] = elements[column * inputs + row] }
        }
      }
    }
  }

  /// The sum of squares of each input: input weights for the quantiser.
  public var diagonal: [Float] { (0..<inputs).map { Float(elements[$0 * inputs + $0]) } }

  /// Sum over outputs of d^T H d for the rows d of `difference`: the squared error of a layer's outputs on the calibration
  /// tokens.
  public func weightedError(_ difference: Span<Float>, on pool: ThreadPool? = nil) throws(CompressionError) -> Double {
    guard difference.count % inputs == 0 else {
      throw .sizeMismatch(what: "differences", expected: inputs, got: difference.count)
    }
    let (rows, tile) = (difference.count / inputs, Int(CC_WEIGHTED_ROWS))
    let (tiles, threads) = ((rows + tile - 1) / tile, pool?.threadCount ?? 1)
    var sums = [Double](repeating: 0, count: tiles)
    var blocks = [Double](repeating: 0, count: threads * tile * inputs)
    sums.withUnsafeMutableBufferPointer { sums in
      blocks.withUnsafeMutableBufferPointer { blocks in
        difference.withUnsafeBufferPointer { difference in
          elements.withUnsafeBufferPointer { elements in
            guard let sums = sums.baseAddress, let blocks = blocks.baseAddress, let elements = elements.baseAddress
            else { return }
            ThreadPool.run(parts: tiles, on: pool) { part, worker in
              let block = blocks + worker * tile * inputs
              for index in 0..<tile * inputs {
                let place = part * tile * inputs + index
                block[index] = place < difference.count ? Double(difference[place]) : 0
              }
              sums[part] = cc_weighted_squares(elements, block, inputs)
            }
          }
        }
      }
    }
    return sums.reduce(0, +)
  }
}
