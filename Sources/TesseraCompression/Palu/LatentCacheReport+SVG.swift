extension LatentCacheReport {
  /// A picture of the ranks: a column for each layer, values upwards, keys downwards, a bar for each group. The full height is
  /// all of the group's outputs; where keys or values are cached as they are, it is outlined alone. Readers show a layer's
  /// numbers when pointed at.
  public func svg() -> String {
    let (width, height) = (Picture.left + layers.count * Picture.column + 8, Picture.axis + Picture.height + 18)
    var lines = [
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \(width) \(height)\" width=\"\(width)\" height=\"\(height)\""
        + " font-family=\"sans-serif\" font-size=\"10\" fill=\"#808080\">",
      "<text x=\"4\" y=\"\(Picture.axis - Picture.height / 2)\">values</text>",
      "<text x=\"4\" y=\"\(Picture.axis + Picture.height / 2)\">keys</text>",
    ]
    for (index, layer) in layers.enumerated() {
      let x = Picture.left + index * Picture.column
      lines.append("<g><title>layer \(index): values \(text(layer.valueRanks)), keys \(text(layer.keyRanks))</title>")
      lines += Picture.bars(heights(layer.valueRanks), x: x, isUpwards: true, colour: "#2f9e63")
      lines += Picture.bars(heights(layer.keyRanks), x: x, isUpwards: false, colour: "#3b78c9")
      lines.append("</g>")
      if index % 4 == 0 { lines.append("<text x=\"\(x)\" y=\"\(height - 4)\">\(index)</text>") }
    }
    lines.append("</svg>")
    return lines.joined(separator: "\n") + "\n"
  }

  private func text(_ ranks: [Int]) -> String {
    ranks.isEmpty ? "dense" : ranks.map { "\($0)" }.joined(separator: " ")
  }

  /// As fractions of the groups' outputs.
  private func heights(_ ranks: [Int]) -> [Double] { ranks.map { Double($0 * ranks.count) / Double(model.outputs) } }
}

private enum Picture {
  static let left = 44
  static let column = 16
  static let bar = 12
  static let height = 64
  static let axis = 8 + height

  /// An outline of the full height, and a bar for each group.
  static func bars(_ heights: [Double], x: Int, isUpwards: Bool, colour: String) -> [String] {
    let top = isUpwards ? axis - height : axis
    let outline =
      "<rect x=\"\(x)\" y=\"\(top)\" width=\"\(bar)\" height=\"\(height)\" fill=\"#808080\" fill-opacity=\"0.15\"/>"
    let width = Double(bar) / Double(max(1, heights.count))
    return [outline]
      + heights.enumerated().map { group, part in
        let size = Double(height) * part
        let (left, y) = (Double(x) + Double(group) * width, isUpwards ? Double(axis) - size : Double(axis))
        return "<rect x=\"\(short(left))\" y=\"\(short(y))\" width=\"\(short(width))\" height=\"\(short(size))\""
          + " fill=\"\(colour)\"/>"
      }
  }

  /// At most two digits after the point.
  private static func short(_ value: Double) -> Double { (value * 100).rounded() / 100 }
}
