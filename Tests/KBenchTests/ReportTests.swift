import ProgramSupport
import Testing

@testable import kbench

@Suite struct ReportTests {
  @Test func quantilesInterpolate() {
    var samples = Samples()
    for value in [5.0, 1, 3, 2, 4] { samples.append(value) }
    #expect(samples.median == 3)
    #expect(samples.minimum == 1)
    #expect(samples.quantile(1) == 5)
    #expect(abs(samples.tenthPercentile - 1.4) < 1e-12)
    #expect(Samples().median.isNaN)
  }

  @Test func numbersAreFormatted() {
    #expect(fixed(1228.44, 1) == "1228.4")
    #expect(fixed(0.05, 1) == "0.1")
    #expect(fixed(-0.04, 1) == "0.0")
    #expect(fixed(-2.06, 1) == "-2.1")
    #expect(fixed(2.005e3, 0) == "2005")
    #expect(fixed(nil, 1) == "-")
    #expect(fixed(.nan, 1) == "-")
    #expect(scientific(9.96e-9) == "1.0e-08")
    #expect(scientific(1.5e12) == "1.5e+12")
    #expect(scientific(0) == "0")
    #expect(binarySize(1536) == "1.5 KiB")
    #expect(binarySize(512) == "512 B")
  }

  @Test func jsonIsEscapedAndOrdered() {
    let value = JSON.object([
      ("z", .string("a\"b\\c\n\u{1}")), ("a", .number(.infinity)), ("n", .array([.integer(-3), .bool(true), .null])),
      ("x", .number(1.25e-7)),
    ])
    #expect(value.text == #"{"z": "a\"b\\c\n\u0001", "a": null, "n": [-3, true, null], "x": 1.25e-07}"#)
  }

  /// Scripts read these names.
  @Test func rowsHoldEveryFieldOfTheContract() {
    let text = ResultRow.example(format: "bf16", m: 1, seconds: 1e-3).json.text
    for field in [
      "op", "format", "isa", "shape", "n", "k", "m", "threads", "seconds_median", "seconds_min", "bytes", "flops", "gbps",
      "roofline_seconds", "roofline_fraction", "speedup_vs_dense_bf16", "max_rel_error", "error_bound",
    ] {
      #expect(text.contains("\"\(field)\": "), "no \(field) in \(text)")
    }
  }

  @Test func speedupsCompareWithTheFastestDenseRow() {
    var rows = [
      ResultRow.example(format: "bf16", m: 1, seconds: 3e-3), ResultRow.example(format: "bf16", m: 1, seconds: 2e-3),
      ResultRow.example(format: "bf16", m: 4, seconds: 9e-3), ResultRow.example(format: "bitmap-bf16", m: 1, seconds: 1e-3),
      ResultRow.example(format: "bitmap-bf16", m: 16, seconds: 1e-3),
    ]
    rows.fillSpeedups()
    #expect(rows[3].speedupOverDense.map { abs($0 - 2) < 1e-9 } == true)
    #expect(rows[0].speedupOverDense.map { abs($0 - 2.0 / 3) < 1e-9 } == true)
    #expect(rows[4].speedupOverDense == nil)
  }

  @Test func tableLinesFitATerminal() {
    var row = ResultRow.example(format: "bitmap-bf16", m: 512, seconds: 1.234)
    row.shape = "a-name-that-is-too-long"
    row.sparsity = 0.5
    row.accuracy = Accuracy(error: 1e-8, bound: 1e-5)
    #expect(Table.header.count <= 120)
    #expect(Table.line(row).count == Table.header.count)
  }

  @Test func plotDrawsEverySeriesOnce() {
    let rows = [1, 4, 16].flatMap { m in
      ["bf16", "bitmap-bf16"].map { ResultRow.example(format: $0, m: m, seconds: Double(m) * 1e-3) }
    }
    let svg = Plot(rows, title: "a < b").svg
    #expect(svg.hasPrefix("<svg "))
    #expect(svg.hasSuffix("</svg>\n"))
    #expect(svg.contains("a &lt; b"))
    #expect(svg.components("<polyline ") == 4, "two series and their rooflines")
    #expect(svg.components("<circle ") == 6)
    #expect(!svg.contains("nan"))
  }

  @Test func plotOfNothingIsAnEmptyDrawing() {
    #expect(Plot([], title: "none").svg.hasSuffix("</svg>\n"))
  }
}

extension ResultRow {
  static func example(format: String, m: Int, seconds: Double) -> ResultRow {
    var samples = Samples()
    samples.append(seconds)
    return ResultRow(
      op: "dense_gemm", format: format, isa: "avx2", variant: "dense_gemm_avx2", shape: "64x32", n: 64, k: 32, m: m, threads: 2,
      samples: samples, bytes: 4096, flops: 4096 * m, rooflineBandwidth: 1e9)
  }
}

extension String {
  fileprivate func components(_ part: String) -> Int {
    indices.count { self[$0...].hasPrefix(part) }
  }
}
