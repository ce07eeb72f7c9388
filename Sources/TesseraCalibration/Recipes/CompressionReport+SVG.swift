extension CompressionReport {
  /// A picture of the layers: a column for each, a cell for each matrix. A cell's outline is dense bfloat16; the bar in it is as
  /// wide as what is kept, by density or by rank, and as high as the bits of what is kept, so its area is the bytes. The darker,
  /// the larger the error. Readers show the numbers when pointed at.
  public func svg() -> String {
    let rows = layers.first?.matrices.count ?? 0
    let (width, height) = (Picture.left + layers.count * Picture.column + 8, Picture.top + rows * Picture.row + 20)
    var lines = [
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \(width) \(height)\" width=\"\(width)\" height=\"\(height)\""
        + " font-family=\"sans-serif\" font-size=\"10\" fill=\"#808080\">",
      "<text x=\"4\" y=\"12\">\(escaped(recipe)): \(byteCount) of \(denseByteCount) bytes</text>",
    ]
    for (row, matrix) in (layers.first?.matrices ?? []).enumerated() {
      let name = matrix.name.split(separator: ".").last ?? ""
      lines.append("<text x=\"4\" y=\"\(Picture.top + row * Picture.row + 16)\">\(escaped(String(name)))</text>")
    }
    for (column, layer) in layers.enumerated() {
      let x = Picture.left + column * Picture.column
      for (row, matrix) in layer.matrices.enumerated() {
        lines += Picture.cell(matrix, title: escaped(matrix.title), x: x, y: Picture.top + row * Picture.row)
      }
      if column % 4 == 0 { lines.append("<text x=\"\(x)\" y=\"\(height - 6)\">\(layer.index)</text>") }
    }
    lines.append("</svg>")
    return lines.joined(separator: "\n") + "\n"
  }

  private func escaped(_ text: String) -> String {
    text.map { $0 == "&" ? "&amp;" : $0 == "<" ? "&lt;" : $0 == ">" ? "&gt;" : String($0) }.joined()
  }
}

extension CompressionReport.Matrix {
  /// What is kept of the weights: by their zeros, or by rank.
  fileprivate var kept: Double { ranks.isEmpty ? density : density * Double(ranks.reduce(0, +)) / Double(outputs) }

  fileprivate var title: String {
    let kept = ranks.isEmpty ? "density \(Picture.short(density))" : "ranks \(ranks.map { "\($0)" }.joined(separator: " "))"
    let error = outputError.map { "error of outputs \($0)" } ?? "error of weights \(weightError)"
    return "\(name): \(format), \(kept), \(byteCount) of \(denseByteCount) bytes, \(error)"
  }
}

private enum Picture {
  static let left = 64
  static let top = 22
  static let column = 22
  static let row = 26
  static let cell = (width: 18.0, height: 22.0)

  static func cell(_ matrix: CompressionReport.Matrix, title: String, x: Int, y: Int) -> [String] {
    let width = cell.width * min(1, matrix.kept)
    let share = Double(matrix.byteCount) / Double(matrix.denseByteCount)
    let height = matrix.kept > 0 ? cell.height * min(1, share / matrix.kept) : 0
    let bottom = Double(y) + cell.height
    return [
      "<g><title>\(title)</title>",
      "<rect x=\"\(x)\" y=\"\(y)\" width=\"\(cell.width)\" height=\"\(cell.height)\" fill=\"#808080\" fill-opacity=\"0.15\"/>",
      "<rect x=\"\(x)\" y=\"\(short(bottom - height))\" width=\"\(short(width))\" height=\"\(short(height))\""
        + " fill=\"#3b78c9\" fill-opacity=\"\(short(darkness(matrix.outputError ?? matrix.weightError)))\"/>", "</g>",
    ]
  }

  /// 0.3 for errors below a thousandth, 1 for a tenth and more, by the number of digits.
  private static func darkness(_ error: Double) -> Double {
    var (steps, left) = (0.0, error)
    while left > 0, left < 0.1, steps < 2 { (left, steps) = (left * 10.0.squareRoot(), steps + 0.5) }
    return error == 0 ? 0.3 : 1 - 0.35 * steps
  }

  /// At most three digits after the point.
  static func short(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }
}
