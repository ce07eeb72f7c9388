/// y[i] = x[i] r weight[i] with r = 1 / sqrt(mean of x^2 + epsilon), and its gradient.
struct RMSNorm {
  let weight: [Float]
  let epsilon: Float

  func callAsFunction(_ x: Rows) -> Rows {
    var y = x
    for row in 0..<x.count {
      let factor = Float(reciprocal(x, row))
      for i in 0..<x.width { y.values[row * x.width + i] *= factor * weight[i] }
    }
    return y
  }

  /// Of x, from that of y = self(x):
  ///
  ///     dx[i] = r weight[i] dy[i] - x[i] r^3 / n sum over j of weight[j] dy[j] x[j]
  func gradient(_ dy: Rows, at x: Rows) -> Rows {
    var dx = dy
    for row in 0..<x.count {
      let (first, r) = (row * x.width, reciprocal(x, row))
      var sum = 0.0
      for i in 0..<x.width { sum += Double(weight[i] * dy.values[first + i]) * Double(x.values[first + i]) }
      let (factor, share) = (Float(r), Float(sum * r * r * r / Double(x.width)))
      for i in 0..<x.width {
        dx.values[first + i] = factor * weight[i] * dy.values[first + i] - share * x.values[first + i]
      }
    }
    return dx
  }

  private func reciprocal(_ x: Rows, _ row: Int) -> Double {
    var squares = 0.0
    for i in row * x.width..<(row + 1) * x.width { squares += Double(x.values[i]) * Double(x.values[i]) }
    return 1 / (squares / Double(x.width) + Double(epsilon)).squareRoot()
  }
}
