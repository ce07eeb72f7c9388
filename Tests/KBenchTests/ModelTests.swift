import Tessera
import Testing

@testable import kbench

/// A whole model is run, and its steps are told apart.
@Suite struct ModelTests {
  @Test func stepsAddUpToTheWhole() throws {
    var settings = Settings()
    settings.models = ModelPreset.all.filter { $0.name == "smollm2-135m" }.map { $0.cut(to: 2) }
    settings.formats = [.bf16, .razerG128]
    settings.activations = [.bfloat16]
    settings.rows = [1, 3]
    settings.contexts = [20]
    settings.secondsPerCase = 0
    settings.isHot = true
    let executor = try Executor(threads: 1)
    let report = Report(machine: executor.machine, commandLine: [], threads: 1)
    let bench = Bench(settings: settings, executor: executor, console: Console(printsTables: false), report: report) { _ in }
    try bench.runModels()
    #expect(bench.report.errors.isEmpty)
    #expect(bench.report.rows.map(\.format) == ["bf16", "razer-g128", "bf16", "razer-g128"])
    for row in bench.report.rows {
      #expect(row.op == "model" && row.shape == "smollm2-135m, 2 layers" && row.context == 20)
      let steps = try #require(row.steps)
      #expect(steps.map(\.step) == ModelStep.allCases)
      #expect(steps.allSatisfy { $0.seconds > 0 }, "\(steps)")
      #expect(steps.reduce(0) { $0 + $1.seconds } < 3 * row.samples.seconds.reduce(0, max))
      #expect(row.json.text.contains("\"step_seconds\": {\"qkv\": "))
    }
    let (dense, compressed) = (bench.report.rows[0], bench.report.rows[1])
    #expect(dense.bytes > compressed.bytes && compressed.speedupOverDense != nil)
    // Two layers, the head, and keys and values of 20 tokens.
    #expect(dense.bytes == 2 * (2 * 3_538_944 + 49152 * 576) + 2 * 20 * 2 * 2 * 192)
  }

  /// Dense layers keep the dense head, so that what is compressed is compared with a model that is not.
  @Test func theHeadIsStoredAsWanted() throws {
    var settings = Settings()
    settings.models = ModelPreset.all.filter { $0.name == "smollm2-135m" }.map { $0.cut(to: 1) }
    settings.formats = [.bf16, .bitmapInt8]
    settings.headFormat = .razerG128
    settings.rows = [1]
    settings.contexts = [8]
    settings.secondsPerCase = 0
    settings.isHot = true
    let executor = try Executor(threads: 1)
    let report = Report(machine: executor.machine, commandLine: [], threads: 1)
    let bench = Bench(settings: settings, executor: executor, console: Console(printsTables: false), report: report) { _ in }
    try bench.runModels()
    #expect(bench.report.errors.isEmpty && bench.report.notes.contains { $0.contains("the head is razer-g128") })
    let (dense, compressed) = (bench.report.rows[0], bench.report.rows[1])
    let head = 49152 * 576
    #expect(dense.bytes > 2 * head && compressed.bytes < 3_538_944 * 2 + head, "\(compressed.bytes)")
    #expect(settings.head(beside: .dense) == nil)
  }

  @Test func stepsAreAColumnForEachFormat() {
    var rows = [
      ResultRow.example(format: "bf16", m: 1, seconds: 2e-3), ResultRow.example(format: "razer-g16", m: 1, seconds: 1e-3),
    ]
    for index in rows.indices { rows[index].steps = ModelStep.allCases.map { ($0, 1e-3 * Double(index + 1)) } }
    let lines = StepTable.text(rows).split(separator: "\n")
    #expect(lines.count == ModelStep.allCases.count + 2)
    #expect(lines[1].contains("qkv") && lines[1].contains("1.000  14%") && lines[1].contains("2.000  14%"))
    #expect(Set(lines.map(\.count)).count == 1)
  }
}
