internal import ProgramSupport

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Time against M for the formats of each shape, on logarithmic axes, as an SVG file. Dashed: reading the weights once at the
/// roofline.
struct Plot {
  private struct Series {
    let name: String
    let colour: String
    var points: [(m: Int, seconds: Double, roofline: Double?)]
  }

  private struct Panel {
    let shape: String
    var series: [Series]
  }

  private static let colours = ["#1f4e79", "#c0504d", "#4f8f3a", "#8064a2", "#d98a1f", "#2aa0a4", "#7f7f7f", "#a6527a"]
  private static let panelWidth = 460.0
  private static let panelHeight = 360.0
  private static let margin = (left: 62.0, right: 18.0, top: 40.0, bottom: 46.0)
  private static let titleHeight = 34.0
  private static let legendLine = 17.0

  private let panels: [Panel]
  private let title: String

  /// - Parameter rows: those of multiplications and chains are drawn, the others ignored.
  init(_ rows: [ResultRow], title: String) {
    self.title = title
    var panels: [Panel] = []
    var colourOf: [String: String] = [:]
    for row in rows where row.m > 0 && row.median.isFinite {
      let name = "\(Table.formatName(row)), \(row.isa)"
      let colour = colourOf[name] ?? Plot.colours[colourOf.count % Plot.colours.count]
      colourOf[name] = colour
      let shape = row.op == "chain" ? "\(row.shape) chain" : row.shape
      let panel = panels.firstIndex { $0.shape == shape } ?? panels.endIndex
      if panel == panels.endIndex { panels.append(Panel(shape: shape, series: [])) }
      let series = panels[panel].series.firstIndex { $0.name == name } ?? panels[panel].series.endIndex
      if series == panels[panel].series.endIndex {
        panels[panel].series.append(Series(name: name, colour: colour, points: []))
      }
      panels[panel].series[series].points.append((row.m, row.median, row.rooflineSeconds))
    }
    for panel in panels.indices {
      for series in panels[panel].series.indices { panels[panel].series[series].points.sort { $0.m < $1.m } }
    }
    self.panels = panels
  }

  var svg: String {
    let columns = min(2, max(1, panels.count))
    let lines = (panels.count + columns - 1) / columns
    let legend = (panels.map(\.series.count).max() ?? 0)
    let cellHeight = Plot.panelHeight + Double(legend) * Plot.legendLine
    let (width, height) = (Double(columns) * Plot.panelWidth, Plot.titleHeight + Double(lines) * cellHeight + 8)
    var text = """
      <svg xmlns="http://www.w3.org/2000/svg" width="\(Plot.pixels(width))" height="\(Plot.pixels(height))" \
      viewBox="0 0 \(Plot.pixels(width)) \(Plot.pixels(height))" font-family="Helvetica, Arial, sans-serif" font-size="12">
      <rect width="100%" height="100%" fill="white"/>
      \(Plot.label(title, x: width / 2, y: 22, anchor: "middle", extra: " font-size=\"15\""))

      """
    for (index, panel) in panels.enumerated() {
      let x = Double(index % columns) * Plot.panelWidth
      let y = Plot.titleHeight + Double(index / columns) * cellHeight
      text += "<g transform=\"translate(\(Plot.pixels(x)) \(Plot.pixels(y)))\">\n\(Plot.draw(panel))</g>\n"
    }
    return text + "</svg>\n"
  }

  private static func draw(_ panel: Panel) -> String {
    let points = panel.series.flatMap(\.points)
    let times = points.flatMap { [$0.seconds, $0.roofline ?? $0.seconds] }
    let x = LogAxis(
      points.map { Double($0.m) }, from: margin.left, to: panelWidth - margin.right)
    let y = LogAxis(times, from: panelHeight - margin.bottom, to: margin.top)
    var text = label(
      panel.shape, x: (margin.left + panelWidth - margin.right) / 2, y: 26, anchor: "middle", extra: " font-size=\"13\"")
    for m in Set(points.map(\.m)).sorted() {
      text += line(x(Double(m)), y.start, x(Double(m)), y.end, "stroke=\"#eeeeee\"")
      text += label("\(m)", x: x(Double(m)), y: y.start + 16, anchor: "middle")
    }
    for tick in y.ticks {
      text += line(x.start, y(tick), x.end, y(tick), "stroke=\"#e0e0e0\"")
      text += label(duration(tick), x: x.start - 6, y: y(tick) + 4, anchor: "end")
    }
    text +=
      "<rect x=\"\(pixels(x.start))\" y=\"\(pixels(y.end))\" width=\"\(pixels(x.end - x.start))\""
      + " height=\"\(pixels(y.start - y.end))\" fill=\"none\" stroke=\"#888888\"/>\n"
    text += label("M, rows of x", x: (x.start + x.end) / 2, y: y.start + 34, anchor: "middle")
    for (index, series) in panel.series.enumerated() {
      let roofline = series.points.compactMap { point in point.roofline.map { (x(Double(point.m)), y($0)) } }
      text += path(roofline, "stroke=\"\(series.colour)\" stroke-dasharray=\"5 4\" stroke-opacity=\"0.7\"")
      text += path(series.points.map { (x(Double($0.m)), y($0.seconds)) }, "stroke=\"\(series.colour)\" stroke-width=\"2\"")
      for point in series.points {
        text +=
          "<circle cx=\"\(pixels(x(Double(point.m))))\" cy=\"\(pixels(y(point.seconds)))\" r=\"3\" fill=\"\(series.colour)\"/>\n"
      }
      let row = panelHeight + Double(index) * legendLine
      text += line(x.start, row, x.start + 24, row, "stroke=\"\(series.colour)\" stroke-width=\"2\"")
      text += label(series.name, x: x.start + 32, y: row + 4, anchor: "start")
    }
    return text
  }

  private static func path(_ points: [(Double, Double)], _ style: String) -> String {
    guard points.count > 1 else { return "" }
    let text = points.map { "\(pixels($0.0)),\(pixels($0.1))" }.joined(separator: " ")
    return "<polyline points=\"\(text)\" fill=\"none\" \(style)/>\n"
  }

  private static func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: String) -> String {
    "<line x1=\"\(pixels(x1))\" y1=\"\(pixels(y1))\" x2=\"\(pixels(x2))\" y2=\"\(pixels(y2))\" \(style)/>\n"
  }

  private static func label(_ text: String, x: Double, y: Double, anchor: String, extra: String = "") -> String {
    var escaped = ""
    for character in text {
      switch character {
      case "&": escaped += "&amp;"
      case "<": escaped += "&lt;"
      case ">": escaped += "&gt;"
      default: escaped.append(character)
      }
    }
    return "<text x=\"\(pixels(x))\" y=\"\(pixels(y))\" text-anchor=\"\(anchor)\"\(extra)>\(escaped)</text>\n"
  }

  private static func pixels(_ value: Double) -> String { fixed(value, 1) }

  /// `200 us`, `5 ms`
  private static func duration(_ seconds: Double) -> String {
    let units = [(1e-6, "us"), (1e-3, "ms"), (1.0, "s")]
    let unit = units.last { seconds >= $0.0 * 0.999 } ?? units[0]
    let value = seconds / unit.0
    return (value < 0.999 ? fixed(value, 1) : fixed(value, 0)) + " " + unit.1
  }
}

/// Maps positive numbers to a range of pixels by their logarithm.
private struct LogAxis {
  let start: Double
  let end: Double
  private let low: Double
  private let high: Double

  /// From a little below the smallest value to a little above the largest.
  init(_ values: [Double], from start: Double, to end: Double) {
    self.start = start
    self.end = end
    low = (values.min() ?? 1) / 1.25
    high = (values.max() ?? 1) * 1.25
  }

  func callAsFunction(_ value: Double) -> Double {
    start + (end - start) * (log2(value) - log2(low)) / (log2(high) - log2(low))
  }

  /// 1, 2 and 5 times the powers of ten within the axis.
  var ticks: [Double] {
    var result: [Double] = []
    var decade = 1e-9
    for _ in 0..<16 {
      result += [1, 2, 5].map { $0 * decade }.filter { low...high ~= $0 }
      decade *= 10
    }
    return result
  }
}
