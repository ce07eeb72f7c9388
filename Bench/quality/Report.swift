internal import ProgramSupport
internal import Tessera

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif
#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// What was measured: a row for each form, all on the same windows of one text.
struct Report: Codable {
  struct Row: Codable {
    let family: Form.Family
    let name: String
    let bitsPerWeight: Double
    let cacheBytesPerToken: Int
    /// The mean negative log likelihood of each window, in nats.
    let windows: [Double]
    /// Of compressed matrices; nil also in reports from before they were kept.
    var errors: MatrixErrors?

    enum CodingKeys: String, CodingKey {
      case family, name, errors
      case bitsPerWeight = "bits_per_weight"
      case cacheBytesPerToken = "cache_bytes_per_token"
      case windows = "window_negative_log_likelihoods"
    }

    var negativeLogLikelihood: Double { windows.reduce(0, +) / Double(windows.count) }
    var perplexity: Double { exp(negativeLogLikelihood) }
  }

  let model: String
  let calibration: String
  let text: String
  /// Predictions of a window, and windows of calibration.
  let windowLength: Int
  let calibrationWindows: Int
  private(set) var rows: [Row] = []

  enum CodingKeys: String, CodingKey {
    case model, calibration, text, rows
    case windowLength = "window"
    case calibrationWindows = "calibration_windows"
  }

  init(model: String, calibration: String, text: String, windowLength: Int, calibrationWindows: Int) {
    self.model = model
    self.calibration = calibration
    self.text = text
    self.windowLength = windowLength
    self.calibrationWindows = calibrationWindows
  }

  subscript(_ name: String) -> Row? { rows.first { $0.name == name } }
  var dense: Row? { self[Form.dense.name] }

  mutating func add(_ row: Row) {
    rows.removeAll { $0.name == row.name }
    rows.append(row)
  }

  /// Takes over rows that an interrupted run has measured in the same way.
  mutating func resume(from earlier: Report) {
    let isSame =
      earlier.model == model && earlier.calibration == calibration && earlier.text == text
      && earlier.windowLength == windowLength && earlier.calibrationWindows == calibrationWindows
    if isSame { rows = earlier.rows }
  }
}

// MARK: Differences

extension Report {
  /// The mean difference of two rows over the windows that both have, in nats, and its standard error: the windows of a text
  /// differ far more from each other than forms do on the same window.
  static func difference(_ row: Row, from other: Row) -> (mean: Double, error: Double) {
    let differences = zip(row.windows, other.windows).map { $0 - $1 }
    let count = Double(differences.count)
    let mean = differences.reduce(0, +) / count
    guard count > 1 else { return (mean, .nan) }
    let variance = differences.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / (count - 1)
    return (mean, (variance / count).squareRoot())
  }
}

extension Report {
  /// The perplexity of a row. One that was measured on fewer windows than dense is set beside dense on these: texts differ far
  /// more than forms do, so dense's perplexity times their ratio is the best guess for the whole text.
  func perplexity(of row: Row) -> Double {
    guard let dense else { return row.perplexity }
    return exp(dense.negativeLogLikelihood + Report.difference(row, from: dense).mean)
  }

  /// Rows that were measured on fewer windows than dense.
  var shortRows: Int { rows.count { $0.windows.count < dense?.windows.count ?? 0 } }

  /// The windows of the shortest row; nil where all have as many as dense.
  var fewestWindows: Int? {
    guard let dense, let fewest = rows.map(\.windows.count).min(), fewest < dense.windows.count else { return nil }
    return fewest
  }
}

// MARK: Files

extension Report {
  init(path: String) throws(ProgramError) {
    do {
      self = try JSONDecoder().decode(Report.self, from: Data(contentsOf: URL(filePath: path)))
    } catch {
      throw .failed("\(path): no report of this program")
    }
  }

  /// A row on a line, so that versions can be compared.
  func write(to path: String) throws(ProgramError) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      let rows = try self.rows.map { row in
        let rounded = Row(
          family: row.family, name: row.name, bitsPerWeight: Report.rounded(row.bitsPerWeight),
          cacheBytesPerToken: row.cacheBytesPerToken, windows: row.windows.map(Report.rounded),
          errors: row.errors.map {
            MatrixErrors(weights: Report.rounded($0.weights), outputs: Report.rounded($0.outputs))
          })
        return String(decoding: try encoder.encode(rounded), as: UTF8.self)
      }
      var head = self
      head.rows = []
      let outer = String(decoding: try encoder.encode(head), as: UTF8.self)
      let text = outer.replacing("\"rows\":[]", with: "\n\"rows\":[\n\(rows.joined(separator: ",\n"))\n]") + "\n"
      try Data(text.utf8).write(to: URL(filePath: path), options: .atomic)
    } catch {
      throw .failed("\(path): cannot be written")
    }
  }

  /// Six digits after the point: far below what windows differ by.
  private static func rounded(_ value: Double) -> Double { (value * 1e6).rounded() / 1e6 }
}
