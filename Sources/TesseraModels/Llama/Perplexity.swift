internal import TesseraLayers
internal import Tessera

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// How well a model predicts a text: the mean negative log likelihood of its tokens, each given those before it.
///
/// The text is cut into windows of as many predictions that do not overlap: window w has the inputs ids[w n] ... ids[w n + n - 1]
/// and predicts each time the next id. The first token of a window has nothing before it, and no token is added. What is left at
/// the end and does not fill a window is left out. Every prediction counts the same. Likelihoods are exact softmax, summed in
/// double.
public struct Perplexity: Sendable, Hashable {
  /// The mean negative log likelihood of each window, in nats.
  public private(set) var windows: [Double] = []
  /// Predictions of a window.
  public let windowLength: Int
  /// Predictions in all.
  public var predictionCount: Int { windows.count * windowLength }
  /// The mean over all predictions, in nats.
  public var negativeLogLikelihood: Double { windows.reduce(0, +) / Double(windows.count) }
  /// e to the power of that.
  public var value: Double { exp(negativeLogLikelihood) }

  fileprivate init(windowLength: Int) { self.windowLength = windowLength }

  fileprivate mutating func add(_ window: Double) { windows.append(window) }

  /// -log of the softmax of a row at one token, in nats.
  public static func negativeLogLikelihood(of token: Int, logits: Span<Float>) -> Double {
    var largest = -Float.infinity
    for index in logits.indices { largest = max(largest, logits[index]) }
    var sum = 0.0
    for index in logits.indices { sum += exp(Double(logits[index]) - Double(largest)) }
    return log(sum) + Double(largest) - Double(logits[token])
  }

  /// The same of several rows, one for each token. The exponentials of a large vocabulary take as long as a small model.
  static func negativeLogLikelihoods(of tokens: ArraySlice<Int>, logits: Span<Float>, on pool: ThreadPool) -> [Double] {
    let width = logits.count / tokens.count
    var results = [Double](repeating: 0, count: tokens.count)
    results.withUnsafeMutableBufferPointer { results in
      guard let results = results.baseAddress else { return }
      logits.withUnsafeBufferPointer { logits in
        pool.run(parts: tokens.count) { row, _ in
          results[row] = negativeLogLikelihood(
            of: tokens[tokens.startIndex + row], logits: logits.span.extracting(row * width..<(row + 1) * width))
        }
      }
    }
    return results
  }
}

extension LlamaRunner {
  /// Measures the model on a text.
  /// - Parameters:
  ///   - ids: the text, encoded without special tokens; at least two.
  ///   - windowLength: predictions of a window; less for a text that is shorter.
  ///   - windowLimit: at most so many windows from the start; nil for all.
  ///   - progress: called after each window with what is measured so far and the number of windows to come.
  /// - Throws: `ModelError`, also what `progress` throws to stop.
  public mutating func perplexity(
    of ids: [Int], windowLength: Int = 1024, windowLimit: Int? = nil,
    progress: (_ soFar: Perplexity, _ windowsLeft: Int) throws(ModelError) -> Void = { _, _ in }
  ) throws(ModelError) -> Perplexity {
    precondition(ids.count >= 2 && windowLength >= 1, "windows of \(windowLength) predictions in \(ids.count) tokens")
    let length = min(windowLength, ids.count - 1)
    let count = min((ids.count - 1) / length, windowLimit ?? .max)
    var result = Perplexity(windowLength: length)
    let pool = executor.pool
    for window in 0..<count {
      let first = window * length
      var sum = 0.0
      var states = [model.makeState()]
      try forward(
        [Array(ids[first..<first + length])], continuing: &states, mask: .causal, logits: .all
      ) { rows, logits in
        let targets = ids[first + rows.lowerBound + 1..<first + rows.upperBound + 1]
        sum += Perplexity.negativeLogLikelihoods(of: targets, logits: logits, on: pool).reduce(0, +)
      }
      result.add(sum / Double(length))
      try progress(result, count - window - 1)
    }
    return result
  }
}
