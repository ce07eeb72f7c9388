#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// The mean of -log p(next token) over a window, and its gradient by the rows that come out of the last layer.
struct NextTokenLoss {
  let norm: RMSNorm
  /// Vocabulary x hidden size.
  let head: Rows

  /// Rows of logits that are in memory at a time.
  private static let rowsOfBlock = 64

  /// - Parameter tokens: the window, two or more; the last row predicts nothing.
  func callAsFunction(_ x: Rows, tokens: [Int]) -> (loss: Double, gradient: Rows) {
    precondition(x.count == tokens.count && tokens.count > 1)
    let h = norm(x)
    var dh = Rows(count: x.count, width: x.width)
    var loss = 0.0
    for first in stride(from: 0, to: tokens.count - 1, by: NextTokenLoss.rowsOfBlock) {
      let rows = first..<min(first + NextTokenLoss.rowsOfBlock, tokens.count - 1)
      let block = Rows(Array(h.values[rows.lowerBound * h.width..<rows.upperBound * h.width]), width: h.width)
      var logits = block.times(transposed: head)
      for row in rows {
        loss += replaceByGradient(&logits, row: row - first, target: tokens[row + 1], predictions: tokens.count - 1)
      }
      let part = logits.times(head)
      dh.values.replaceSubrange(rows.lowerBound * h.width..<rows.upperBound * h.width, with: part.values)
    }
    return (loss / Double(tokens.count - 1), norm.gradient(dh, at: x))
  }

  /// Logits z become (softmax(z) - 1 at the target) / predictions.
  /// - Returns: -log softmax(z) at the target.
  private func replaceByGradient(_ logits: inout Rows, row: Int, target: Int, predictions: Int) -> Double {
    let width = logits.width
    return logits.values.withUnsafeMutableBufferPointer { all in
      let z = UnsafeMutableBufferPointer(rebasing: all[row * width..<(row + 1) * width])
      let largest = z.reduce(-Float.infinity) { max($0, $1) }
      let own = Double(z[target])
      var sum = 0.0
      for i in z.indices {
        z[i] = exp(z[i] - largest)
        sum += Double(z[i])
      }
      let factor = Float(1 / (sum * Double(predictions)))
      for i in z.indices { z[i] *= factor }
      z[target] -= 1 / Float(predictions)
      return Double(largest) + log(sum) - own
    }
  }
}
