import TesseraLayers
import Testing

@testable import TesseraCompression

@Suite struct PaluReportTests {
  struct Row: Sendable {
    let (queryHeads, keyValueHeads, headsPerGroup, rank): (Int, Int, Int, Int)
    /// Of a layer's weights in bf16.
    let (fused, deferred): (Double, Double)
    let form: ValueForm
  }

  private static func row(
    _ queryHeads: Int, _ keyValueHeads: Int, s: Int, r: Int, fused: Double, deferred: Double, _ form: ValueForm
  ) -> Row {
    Row(
      queryHeads: queryHeads, keyValueHeads: keyValueHeads, headsPerGroup: s, rank: r, fused: fused, deferred: deferred,
      form: form)
  }

  /// Llama-2-7B and Llama-3.1-8B, megabytes.
  @Test(arguments: [
    row(32, 32, s: 4, r: 256, fused: 67.1, deferred: 35.7, .deferred),
    row(32, 32, s: 4, r: 384, fused: 100.7, deferred: 36.7, .deferred),
    row(32, 32, s: 32, r: 2048, fused: 536.9, deferred: 50.3, .deferred),
    row(32, 8, s: 4, r: 256, fused: 67.1, deferred: 34.1, .deferred),
    row(32, 32, s: 1, r: 64, fused: 16.8, deferred: 34.1, .fused),
    row(32, 8, s: 1, r: 64, fused: 16.8, deferred: 33.7, .fused),
    // Where the two meet: 132.1 and 129.03.
    row(32, 32, s: 4, r: 132, fused: 34.6, deferred: 34.6, .fused),
    row(32, 32, s: 4, r: 133, fused: 34.9, deferred: 34.6, .deferred),
    row(32, 8, s: 4, r: 129, fused: 33.8, deferred: 33.8, .fused),
    row(32, 8, s: 4, r: 130, fused: 34.1, deferred: 33.8, .deferred),
  ])
  func theFormThatReadsLess(row: Row) {
    let ranks = [Int](repeating: row.rank, count: row.keyValueHeads / row.headsPerGroup)
    func megabytes(_ form: ValueForm) -> Double {
      let count = form.weightCount(
        ranks: ranks, queryHeads: row.queryHeads, keyValueHeads: row.keyValueHeads, headDimension: 128, hidden: 4096)
      return Double(2 * count) / 1e6
    }
    #expect(abs(megabytes(.fused) - row.fused) < 0.06)
    #expect(abs(megabytes(.deferred) - row.deferred) < 0.06)
    let form = ValueForm.fastest(
      ranks: ranks, queryHeads: row.queryHeads, keyValueHeads: row.keyValueHeads, headDimension: 128, hidden: 4096)
    #expect(form == row.form)
  }

  private func model(layers: Int = 2) throws -> LatentCacheReport.Model {
    try LatentCacheReport.Model(layers: layers, queryHeads: 32, keyValueHeads: 8, headDimension: 128, hidden: 4096)
  }

  private func plan(_ projections: [(name: String, headsPerGroup: Int, ranks: [Int])]) throws -> RankPlan {
    RankPlan(
      try projections.map { projection in
        try RankPlan.Projection(
          name: projection.name, heads: HeadGroups(heads: 8, headDimension: 128, .perGroup(heads: projection.headsPerGroup)),
          ranks: projection.ranks)
      })
  }

  @Test(
    arguments: [
      (nil, 2 * 320, 2 * 512), (8, 320 + 8 * 5, 512 + 2 * 5), (4, 160 + 8 * 5, 256 + 2 * 5), (3, 120 + 8 * 5, 192 + 2 * 5),
      (2, 80 + 8 * 5, 128 + 2 * 5),
    ] as [(Int?, Int, Int)])
  func bytesCountScales(bits: Int?, keyBytes: Int, valueBytes: Int) throws {
    let plan = try plan([
      ("model.layers.0.self_attn.k_proj", 1, [32, 64, 32, 32, 32, 64, 32, 32]),
      ("model.layers.0.self_attn.v_proj", 4, [128, 384]),
      ("model.layers.1.self_attn.v_proj", 4, [256, 256]),
    ])
    let storage = try bits.map { LatentStorage.quantized(try LatentQuantizer(bits: $0)) } ?? .bf16
    let report = try LatentCacheReport(plan, of: model(), storage: storage)
    #expect(report.layers[0].keyRanks == [32, 64, 32, 32, 32, 64, 32, 32])
    #expect(report.layers[0].bytesPerToken == keyBytes + valueBytes)
    #expect(report.layers[1].keyRanks.isEmpty)
    #expect(report.layers[1].bytesPerToken == 2048 + valueBytes)
    #expect(report.layers.map(\.valueForm) == [.deferred, .deferred])
    #expect(report.bytesPerToken == keyBytes + 2 * valueBytes + 2048)
    #expect(report.denseBytesPerToken == 8192)
    #expect(report.byteRatio == Double(keyBytes + 2 * valueBytes + 2048) / 8192)
    #expect(report.keptRatio == Double(320 + 512 + 1024 + 512) / 4096)
  }

  @Test func thePictureShowsEachGroup() throws {
    let plan = try plan([
      ("model.layers.0.self_attn.k_proj", 1, [32, 64, 96, 128, 32, 32, 32, 32]),
      ("model.layers.0.self_attn.v_proj", 4, [128, 512]),
    ])
    let svg = try LatentCacheReport(plan, of: model()).svg()
    #expect(svg.hasPrefix("<svg ") && svg.hasSuffix("</svg>\n"))
    #expect(svg.contains("<title>layer 0: values 128 512, keys 32 64 96 128 32 32 32 32</title>"))
    #expect(svg.contains("<title>layer 1: values dense, keys dense</title>"))
    let lines = svg.split(separator: "\n")
    #expect(lines.count { $0.contains("#2f9e63") } == 2)
    #expect(lines.count { $0.contains("#3b78c9") } == 8)
    #expect(lines.contains("<rect x=\"50.0\" y=\"8.0\" width=\"6.0\" height=\"64.0\" fill=\"#2f9e63\"/>"))
    #expect(lines.contains("<rect x=\"44.0\" y=\"72.0\" width=\"1.5\" height=\"16.0\" fill=\"#3b78c9\"/>"))
  }

  @Test func otherHeadsAreRefused() throws {
    let heads = try HeadGroups(heads: 4, headDimension: 64, .joint)
    let name = "model.layers.0.self_attn.k_proj"
    let plan = RankPlan([try RankPlan.Projection(name: name, heads: heads, ranks: [32])])
    #expect(throws: CompressionError.sizeMismatch(what: "outputs of \(name)", expected: 1024, got: 256)) {
      try LatentCacheReport(plan, of: model())
    }
    #expect(throws: CompressionError.sizeMismatch(what: "ranks of k", expected: 1, got: 2)) {
      try RankPlan.Projection(name: "k", heads: heads, ranks: [32, 32])
    }
    #expect(throws: CompressionError.invalidGrouping(heads: 12, headsPerGroup: 8)) {
      try LatentCacheReport.Model(layers: 1, queryHeads: 12, keyValueHeads: 8, headDimension: 64, hidden: 1)
    }
  }
}
