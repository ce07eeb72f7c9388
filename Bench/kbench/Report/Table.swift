internal import ProgramSupport
internal import Tessera

/// The results as aligned columns of at most 120 characters, printed row by row while a run goes on.
enum Table {
  private struct Column: Sendable {
    let title: String
    let width: Int
    var isText = false
    let cell: @Sendable (ResultRow) -> String
  }

  private static let columns = [
    Column(title: "operation", width: 14, isText: true) { $0.op },
    Column(title: "format", width: 15, isText: true) { formatName($0) },
    Column(title: "ISA", width: 10, isText: true) { $0.isa },
    Column(title: "shape", width: 12, isText: true) { $0.shape },
    Column(title: "M", width: 5) { $0.m > 0 ? "\($0.m)" : "-" },
    Column(title: "thr", width: 3) { "\($0.threads)" },
    Column(title: "time us", width: 10) { fixed($0.median * 1e6, $0.median < 1e-4 ? 2 : 1) },
    Column(title: "GB/s", width: 6) { $0.bytes > 0 ? fixed($0.bytesPerSecond / 1e9, 1) : "-" },
    Column(title: "roof %", width: 6) { fixed($0.rooflineFraction.map { $0 * 100 }, 1) },
    Column(title: "x bf16", width: 6) { fixed($0.speedupOverDense, 2) },
    Column(title: "error", width: 7) { scientific($0.accuracy?.error) },
    Column(title: "bound", width: 7) { scientific($0.accuracy?.bound) },
  ]

  /// What the columns cannot say in their titles.
  static let legend =
    "time: median; GB/s: bytes of packed weights; roof: best read bandwidth measured meanwhile; error: of sum |w||x|"

  static var header: String {
    columns.map { $0.isText ? $0.title.leftAligned($0.width) : $0.title.rightAligned($0.width) }.joined(separator: " ")
  }

  static func line(_ row: ResultRow) -> String {
    columns.map { column in
      let full = column.cell(row)
      let text = column.isText && full.count > column.width ? full.prefix(column.width - 2) + ".." : full
      return column.isText ? text.leftAligned(column.width) : text.rightAligned(column.width)
    }.joined(separator: " ")
  }

  /// `bitmap-bf16 50%`, `razer-g128 i16`
  static func formatName(_ row: ResultRow) -> String {
    if let sparsity = row.sparsity { return "\(row.format) \(fixed(sparsity * 100, 0))%" }
    let ofModel = ["chain", "model"].contains(row.op) && row.format != WeightFormat.bf16.rawValue
    guard row.op == BenchOperation.code4GEMM.rawValue || ofModel, let activations = row.activations else { return row.format }
    return switch activations {
    case .bfloat16: row.format
    case .int16: "\(row.format) i16"
    case .int8: "\(row.format) i8"
    }
  }
}
