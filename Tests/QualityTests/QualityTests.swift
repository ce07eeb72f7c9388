import ProgramSupport
import Tessera
import TesseraCalibration
import TesseraModels
import Testing

@testable import quality

/// The program that measures what compression costs, on a model of random weights.
@Suite struct QualityTests {
  private static let maker: ModelMaker? = {
    guard let checkpoint = try? RandomModel.checkpoint(seed: 3), let executor = try? Executor(threads: 1),
      let calibration = try? Calibration(checkpoint, windows: RandomModel.windows(3, seed: 5), on: executor, progress: { _ in })
    else { return nil }
    return ModelMaker(checkpoint: checkpoint, calibration: calibration, executor: executor)
  }()

  private func row(_ form: Form) throws -> Report.Row {
    let maker = try #require(Self.maker)
    let made = try maker.make(form)
    var runner = LlamaRunner(made.model, on: maker.executor)
    let text = RandomModel.windows(4, seed: 6).joined() + [0]
    let result = try runner.perplexity(of: Array(text), windowLength: RandomModel.window)
    return Report.Row(
      family: form.family, name: form.name, bitsPerWeight: made.bitsPerWeight, cacheBytesPerToken: made.cacheBytesPerToken,
      windows: result.windows)
  }

  @Test func formsHaveNamesOfTheirOwn() {
    let names = Form.all.map(\.name)
    #expect(Set(names).count == names.count)
    for expectation in Expectation.all {
      #expect(names.contains(expectation.better), "\(expectation.better)")
      #expect(names.contains(expectation.worse), "\(expectation.worse)")
    }
  }

  /// What the observed rows add up to is what a second way to the same rows gives.
  @Test func momentsAreThoseOfTheRowsThatLayersRead() throws {
    let maker = try #require(Self.maker)
    let checkpoint = maker.checkpoint
    let width = checkpoint.configuration.hiddenSize
    let (embedding, norm) = (try checkpoint.float32Embedding(), try checkpoint.attentionNorm(ofLayer: 0))
    var expected = [Double](repeating: 0, count: width * width)
    for token in RandomModel.windows(3, seed: 5).joined() {
      let x = embedding[token * width..<(token + 1) * width].map { Double($0) }
      let root = (x.reduce(0) { $0 + $1 * $1 } / Double(width) + Double(checkpoint.configuration.normEpsilon)).squareRoot()
      let y = zip(x, norm).map { $0 / root * Double($1) }
      for row in 0..<width {
        for column in 0..<width { expected[row * width + column] += y[row] * y[column] }
      }
    }
    let moments = maker.calibration.moments(ofInputsTo: .value, layer: 0)
    let scale = expected.map(abs).max() ?? 0
    for (value, other) in zip(moments.elements, expected) { #expect(abs(value - other) < 1e-5 * scale) }
    #expect(maker.calibration.moments(ofQueriesIn: 1).count == checkpoint.configuration.attention.queryHeads)
  }

  /// Nothing is lost at full rank; bf16 factors and latents round once more than the dense projection.
  @Test(arguments: LatentChoice.Objective.allCases)
  func latentsOfFullRankLoseNothing(objective: LatentChoice.Objective) throws {
    let dense = try row(.dense)
    let whole = try row(Form(family: .cache, cache: .whole(.int8)))
    #expect(abs(Report.difference(whole, from: dense).mean) < 0.02)
    for bits in [nil, 8] {
      let full = try row(Form(family: .cache, cache: .latent(LatentChoice(kept: 1, objective: objective, bits: bits))))
      let half = try row(Form(family: .cache, cache: .latent(LatentChoice(kept: 0.5, objective: objective, bits: bits))))
      let (lost, lostByHalf) = (Report.difference(full, from: dense).mean, Report.difference(half, from: dense).mean)
      #expect(abs(lost) < 0.02, "\(objective), \(bits.map(String.init) ?? "bf16"): \(lost)")
      #expect(abs(lost) < abs(lostByHalf))
      #expect(half.cacheBytesPerToken < full.cacheBytesPerToken)
    }
  }

  @Test func fewerBitsCostMore() throws {
    let dense = try row(.dense)
    let forms = [
      WeightChoice(format: .razerG16, search: .feedbackAndClips), WeightChoice(format: .razerG16),
      WeightChoice(format: .bitmapRazerG128, sparsity: 0.7, search: .refitAndClips),
    ]
    let rows = try forms.map { try row(Form(family: .fourBit, weights: $0)) }
    #expect(dense.bitsPerWeight == 16)
    #expect(rows[0].bitsPerWeight == rows[1].bitsPerWeight && rows[1].bitsPerWeight > rows[2].bitsPerWeight)
    // Random weights tell nothing about perplexity, but how far it moves tells how much was lost.
    let moved = rows.map { zip($0.windows, dense.windows).reduce(0) { $0 + abs($1.0 - $1.1) } }
    #expect(moved[0] > 0 && max(moved[0], moved[1]) < moved[2], "\(moved)")
  }

  @Test func reportsComeBackAndAreResumed() throws {
    let folder = try #require(RandomModel.temporaryFolder())
    var report = Report(model: "m", calibration: "c", text: "t", windowLength: 8, calibrationWindows: 2)
    report.add(Report.Row(family: .dense, name: "bf16", bitsPerWeight: 16, cacheBytesPerToken: 64, windows: [3, 3.25]))
    report.add(Report.Row(family: .fourBit, name: "nvfp4", bitsPerWeight: 4.5, cacheBytesPerToken: 64, windows: [3.1, 3.45]))
    try report.write(to: "\(folder)/report.json")
    let read = try Report(path: "\(folder)/report.json")
    #expect(read.rows.map(\.windows) == [[3, 3.25], [3.1, 3.45]])
    var same = Report(model: "m", calibration: "c", text: "t", windowLength: 8, calibrationWindows: 2)
    same.resume(from: read)
    #expect(same["nvfp4"]?.bitsPerWeight == 4.5)
    var other = Report(model: "m", calibration: "c", text: "t", windowLength: 16, calibrationWindows: 2)
    other.resume(from: read)
    #expect(other.rows.isEmpty)
    #expect(throws: ProgramError.self) { try Report(path: "\(folder)/none.json") }
  }

  @Test func differencesHaveTheirStandardError() {
    func row(_ windows: [Double]) -> Report.Row {
      Report.Row(family: .dense, name: "", bitsPerWeight: 0, cacheBytesPerToken: 0, windows: windows)
    }
    let (mean, error) = Report.difference(row([1.5, 2.5, 4.5]), from: row([1, 2, 3]))
    #expect(abs(mean - 2.5 / 3) < 1e-12)
    #expect(abs(error - 1.0 / 3) < 1e-12)
  }

  @Test func rowsOfFewerWindowsAreSetBesideDenseOnThese() {
    var report = Report(model: "m", calibration: "c", text: "t", windowLength: 8, calibrationWindows: 2)
    report.add(Report.Row(family: .dense, name: "bf16", bitsPerWeight: 16, cacheBytesPerToken: 64, windows: [1, 3]))
    let short = Report.Row(family: .fourBit, name: "nvfp4", bitsPerWeight: 4.5, cacheBytesPerToken: 64, windows: [1.5])
    #expect(report.fewestWindows == nil)
    report.add(short)
    #expect(report.fewestWindows == 1 && report.shortRows == 1)
    #expect(abs(report.perplexity(of: short) - 12.182493960703473) < 1e-9)
    #expect(Tables(report: report).text.contains("fewer windows") && !Tables(report: report).text.contains("### Sparse"))
  }

  @Test func tablesAndPicturesShowWhatWasMeasured() throws {
    var report = Report(model: "m", calibration: "c", text: "t", windowLength: 8, calibrationWindows: 2)
    for (index, form) in Form.all.enumerated() {
      report.add(
        Report.Row(
          family: form.family, name: form.name, bitsPerWeight: 2 + Double(index % 14), cacheBytesPerToken: 64 + index,
          windows: [3 + Double(index) / 1000, 3]))
    }
    let text = Tables(report: report).text
    #expect(text.contains("| `razer-g16` |") && text.contains("| rank 50% | query-weighted |"))
    let lines = text.split(separator: "\n").filter { $0.hasPrefix("|") }
    #expect(lines.allSatisfy { $0.hasSuffix("|") })
    let svg = QualityPlot(report: report).svg
    #expect(svg.hasPrefix("<svg ") && svg.hasSuffix("</svg>\n") && svg.contains("razer-g16") && !svg.contains("nan"))
    #expect(svg.count { $0 == "<" } == svg.count { $0 == ">" })
  }
}
