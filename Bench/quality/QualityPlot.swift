internal import ProgramSupport
internal import Tessera

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Perplexity of the 4-bit formats one by one, against bits per weight, and against bytes of cache, as one SVG picture.
struct QualityPlot {
  let report: Report

  private struct Point {
    let x: Double
    let y: Double
    let label: String
    let colour: String
    var isFilled = true
  }

  private static let colours = ["#1f4e79", "#c0504d", "#4f8f3a", "#8064a2", "#d98a1f", "#2aa0a4"]
  private static let width = 1000.0
  private static let height = 520.0
  private static let margin = (left: 64.0, right: 240.0, top: 40.0, bottom: 48.0)

  var svg: String {
    guard let dense = report.dense else { return "" }
    let panels = [formatPanel(dense), weightPanel(dense), cachePanel(dense)]
    let whole = QualityPlot.height * Double(panels.count)
    var text = """
      <svg xmlns="http://www.w3.org/2000/svg" width="\(pixels(QualityPlot.width))" height="\(pixels(whole))" \
      viewBox="0 0 \(pixels(QualityPlot.width)) \(pixels(whole))" font-family="Helvetica, Arial, sans-serif" font-size="11">
      <rect width="100%" height="100%" fill="white"/>

      """
    for (index, panel) in panels.enumerated() {
      text += "<g transform=\"translate(0 \(pixels(Double(index) * QualityPlot.height)))\">\n\(panel)</g>\n"
    }
    return text + "</svg>\n"
  }

  private func measured(_ families: Set<Form.Family>) -> [(form: Form, row: Report.Row)] {
    Form.all.filter { families.contains($0.family) }.compactMap { form in report[form.name].map { (form, $0) } }
  }

  // MARK: Panels

  /// A line for each 4-bit format, the best first: they differ by less than their names are wide. Of each the nearest codes,
  /// hollow, and the best that was found.
  private func formatPanel(_ dense: Report.Row) -> String {
    let formats = fourBitFormats
    guard let most = formats.map(\.nearest).max() else { return "" }
    let start = QualityPlot.margin.left + 110
    let x = LogAxis(
      dense.perplexity * 0.995...max(most, dense.perplexity * 1.01) * 1.005, from: start,
      to: QualityPlot.width - QualityPlot.margin.right)
    let (top, bottom) = (QualityPlot.margin.top, QualityPlot.height - QualityPlot.margin.bottom)
    var text = label(
      "Perplexity of 4-bit formats", x: (x.start + x.end) / 2, y: 24, anchor: "middle", extra: " font-size=\"15\"")
    for tick in stride(from: (x.range.lowerBound * 4).rounded(.up) / 4, through: x.range.upperBound, by: 0.25) {
      text += line(x(tick), bottom, x(tick), top, "stroke=\"#eeeeee\"")
      text += label(fixed(tick, 2), x: x(tick), y: bottom + 16, anchor: "middle")
    }
    text += line(x(dense.perplexity), bottom, x(dense.perplexity), top, "stroke=\"#444444\" stroke-dasharray=\"5 4\"")
    text += label("dense bf16", x: x(dense.perplexity) + 6, y: bottom - 6, anchor: "start", extra: " fill=\"#444444\"")
    for (index, format) in formats.enumerated() {
      let y = top + (bottom - top) * (Double(index) + 0.5) / Double(formats.count)
      text += label("\(format.name), \(fixed(format.bits, 3)) bits", x: start - 8, y: y + 4, anchor: "end")
      text += line(x(format.best), y, x(format.nearest), y, "stroke=\"#aaaaaa\"")
      text += circle(x(format.nearest), y, QualityPlot.colours[0], isFilled: false)
      text += circle(x(format.best), y, QualityPlot.colours[0], isFilled: true)
    }
    return text + border(x.start, top, x.end, bottom)
      + label("perplexity", x: (x.start + x.end) / 2, y: bottom + 34, anchor: "middle")
      + self.key([("the best search", QualityPlot.colours[0])], x: x.end, y: top)
      + circle(x.end + 14, top + 26, QualityPlot.colours[0], isFilled: false)
      + label("nearest codes", x: x.end + 22, y: top + 30, anchor: "start", extra: " font-size=\"10\"")
  }

  private var fourBitFormats: [(name: String, bits: Double, nearest: Double, best: Double)] {
    let all = measured([.fourBit])
    return all.filter { $0.form.weights.search == .nearest }.map { form, row in
      let best = all.filter { $0.form.weights.format == form.weights.format }.map { report.perplexity(of: $0.row) }.min()
      let nearest = report.perplexity(of: row)
      return ("\(form.weights.format)", row.bitsPerWeight, nearest, best ?? nearest)
    }.sorted { $0.best < $1.best }
  }

  /// Of each 4-bit format the best that was found, without its name.
  private func weightPanel(_ dense: Report.Row) -> String {
    var points = fourBitFormats.map { Point(x: $0.bits, y: $0.best, label: "", colour: QualityPlot.colours[0]) }
    for (form, row) in measured([.sparse, .sparseFourBit]) {
      let isBest = form.weights.search.usesFeedback
      let zeros = "\(Int(((form.weights.sparsity ?? 0) * 100).rounded()))% zeros"
      points.append(
        Point(
          x: row.bitsPerWeight, y: report.perplexity(of: row), label: isBest ? zeros : "",
          colour: QualityPlot.colours[form.family == .sparse ? 1 : 2], isFilled: isBest))
    }
    let key = [
      ("4-bit formats, best search", QualityPlot.colours[0]),
      ("bitmap-bf16: Wanda with error feedback;", QualityPlot.colours[1]),
      ("bitmap-razer-g128: the same;", QualityPlot.colours[2]),
      ("hollow: without it, and by magnitude", ""),
    ]
    let axes = Axes(
      x: LogAxis(2...16, from: QualityPlot.margin.left, to: QualityPlot.width - QualityPlot.margin.right),
      y: yAxis(points, dense), ticks: [2, 3, 4, 6, 8, 12, 16], tickLabel: { fixed($0, 0) })
    return frame("Perplexity against bits per weight", "bits per weight", axes, dense, key) + marks(points, axes)
  }

  /// A line for each rank and objective, from bf16 latents down to 2 bits.
  private func cachePanel(_ dense: Report.Row) -> String {
    var series: [(name: String, points: [Point])] = []
    for (form, row) in measured([.cache]) {
      guard case .latent(let latent) = form.cache, latent.isRotated, latent.keptOfKeys == nil else { continue }
      let name = "rank \(Int((latent.kept * 100).rounded()))%, \(latent.objective.rawValue)"
      let index = series.firstIndex { $0.name == name } ?? series.endIndex
      if index == series.endIndex { series.append((name, [])) }
      series[index].points.append(
        Point(
          x: Double(row.cacheBytesPerToken) / Double(dense.cacheBytesPerToken), y: report.perplexity(of: row),
          label: latent.objective == .queryWeighted ? latent.bits.map { "\($0) bits" } ?? "bf16" : "",
          colour: QualityPlot.colours[index % QualityPlot.colours.count]))
    }
    let whole = measured([.cache]).compactMap { form, row -> Point? in
      guard case .whole(let format) = form.cache else { return nil }
      return Point(
        x: Double(row.cacheBytesPerToken) / Double(dense.cacheBytesPerToken), y: report.perplexity(of: row), label: "\(format)",
        colour: "#444444")
    }
    let axes = Axes(
      x: LogAxis(0.05...1, from: QualityPlot.margin.left, to: QualityPlot.width - QualityPlot.margin.right),
      y: yAxis(series.flatMap(\.points), dense), ticks: [0.05, 0.1, 0.2, 0.5, 1], tickLabel: { fixed($0, 2) })
    let key = series.map { ($0.name, $0.points[0].colour) } + (whole.isEmpty ? [] : [("whole keys and values", "#444444")])
    var text = frame("Perplexity against bytes of cache", "bytes, of those of a bf16 cache of keys and values", axes, dense, key)
    for (_, points) in series {
      let places = points.map { "\(pixels(axes.x($0.x))),\(pixels(axes.y($0.y)))" }.joined(separator: " ")
      text += "<polyline points=\"\(places)\" fill=\"none\" stroke=\"\(points[0].colour)\" stroke-opacity=\"0.6\"/>\n"
    }
    return text + marks(series.flatMap(\.points) + whole, axes)
  }

  // MARK: Drawing

  private struct Axes {
    let x: LogAxis
    let y: LogAxis
    let ticks: [Double]
    let tickLabel: (Double) -> String
  }

  /// What is far above dense lies on the upper edge.
  private func yAxis(_ points: [Point], _ dense: Report.Row) -> LogAxis {
    let most = min(points.map(\.y).max() ?? 0, 2 * dense.perplexity)
    return LogAxis(
      dense.perplexity * 0.985...max(most, dense.perplexity * 1.1) * 1.02, from: QualityPlot.height - QualityPlot.margin.bottom,
      to: QualityPlot.margin.top)
  }

  private func frame(
    _ title: String, _ xLabel: String, _ axes: Axes, _ dense: Report.Row, _ key: [(name: String, colour: String)]
  ) -> String {
    let (x, y) = (axes.x, axes.y)
    var text = label(title, x: (x.start + x.end) / 2, y: 24, anchor: "middle", extra: " font-size=\"15\"")
    for tick in axes.ticks {
      text += line(x(tick), y.start, x(tick), y.end, "stroke=\"#eeeeee\"")
      text += label(axes.tickLabel(tick), x: x(tick), y: y.start + 16, anchor: "middle")
    }
    for tick in stride(from: 1.0, through: 2.0, by: 0.1) where y.range.contains(tick * dense.perplexity) {
      let value = tick * dense.perplexity
      text += line(x.start, y(value), x.end, y(value), "stroke=\"#eeeeee\"")
      text += label(fixed(value, 1), x: x.start - 6, y: y(value) + 4, anchor: "end")
    }
    text += line(x.start, y(dense.perplexity), x.end, y(dense.perplexity), "stroke=\"#444444\" stroke-dasharray=\"5 4\"")
    text += label("dense bf16", x: x.start + 6, y: y(dense.perplexity) - 4, anchor: "start", extra: " fill=\"#444444\"")
    text += border(x.start, y.end, x.end, y.start)
    text += label(xLabel, x: (x.start + x.end) / 2, y: y.start + 34, anchor: "middle")
    return text + self.key(key, x: x.end, y: y.end)
  }

  private func border(_ left: Double, _ top: Double, _ right: Double, _ bottom: Double) -> String {
    "<rect x=\"\(pixels(left))\" y=\"\(pixels(top))\" width=\"\(pixels(right - left))\" height=\"\(pixels(bottom - top))\""
      + " fill=\"none\" stroke=\"#888888\"/>\n"
  }

  /// Beside the panel whose right upper corner is at x and y; an entry without a colour goes on with the one above.
  private func key(_ entries: [(name: String, colour: String)], x: Double, y: Double) -> String {
    var text = ""
    for (index, entry) in entries.enumerated() {
      let row = y + 10 + Double(index) * 16
      if !entry.colour.isEmpty { text += circle(x + 14, row, entry.colour, isFilled: true) }
      text += label(entry.name, x: x + 22, y: row + 4, anchor: "start", extra: " font-size=\"10\"")
    }
    return text
  }

  /// Labels stand to the right of their points, the lowest first, each at least a line above the one before.
  private func marks(_ points: [Point], _ axes: Axes) -> String {
    var text = ""
    var taken: [(x: Double, y: Double)] = []
    for point in points.sorted(by: { $0.y < $1.y }) {
      let (x, y) = (axes.x(point.x), axes.y(min(point.y, axes.y.range.upperBound)))
      text += circle(x, y, point.colour, isFilled: point.isFilled)
      let isCut = point.y > axes.y.range.upperBound
      let name = point.label + (isCut ? (point.label.isEmpty ? "" : ": ") + fixed(point.y, 0) : "")
      guard !name.isEmpty else { continue }
      var place = y + 4
      while taken.contains(where: { abs($0.y - place) < 11 && abs($0.x - x) < 70 }) { place -= 1 }
      taken.append((x, place))
      text += line(x + 4, y, x + 8, place - 4, "stroke=\"#aaaaaa\"")
      text += label(name, x: x + 9, y: place, anchor: "start", extra: " fill=\"\(point.colour)\"")
    }
    return text
  }

  private func circle(_ x: Double, _ y: Double, _ colour: String, isFilled: Bool) -> String {
    "<circle cx=\"\(pixels(x))\" cy=\"\(pixels(y))\" r=\"3.5\" fill=\"\(isFilled ? colour : "white")\" stroke=\"\(colour)\"/>\n"
  }

  private func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: String) -> String {
    "<line x1=\"\(pixels(x1))\" y1=\"\(pixels(y1))\" x2=\"\(pixels(x2))\" y2=\"\(pixels(y2))\" \(style)/>\n"
  }

  private func label(_ text: String, x: Double, y: Double, anchor: String, extra: String = "") -> String {
    "<text x=\"\(pixels(x))\" y=\"\(pixels(y))\" text-anchor=\"\(anchor)\"\(extra)>\(text)</text>\n"
  }

  private func pixels(_ value: Double) -> String { fixed(value, 1) }
}

/// Maps positive numbers to a range of pixels by their logarithm.
private struct LogAxis {
  let range: ClosedRange<Double>
  let start: Double
  let end: Double

  init(_ range: ClosedRange<Double>, from start: Double, to end: Double) {
    self.range = range
    self.start = start
    self.end = end
  }

  func callAsFunction(_ value: Double) -> Double {
    let (low, high) = (log2(range.lowerBound), log2(range.upperBound))
    return start + (end - start) * (log2(min(max(value, range.lowerBound), range.upperBound)) - low) / (high - low)
  }
}
