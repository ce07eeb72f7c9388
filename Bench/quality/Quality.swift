internal import ArgumentParser
internal import ProgramSupport
internal import Tessera
internal import TesseraCompression
internal import TesseraModels

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif

@main
struct Quality: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quality",
    abstract: "Measures what each way to store a model costs in perplexity.",
    discussion: """
      The model must never have been quantised: weights that lie on a format's grid lose nothing in that format. Perplexity is \
      that of tessera perplexity, on the whole text.

      Exit codes: 0 all is well; 2 the machine, its memory or a file lacks what was asked for; 64 the arguments make no sense.
      """)

  @Argument(help: "A folder with config.json, tokenizer.json and safetensors, or a GGUF file.")
  var model = ""

  @Option(help: "The text to measure on. Default: eval.txt in the model's folder.")
  var text: String?

  @Option(help: "The text to calibrate on, which must be another one. Default: calibration.txt in the model's folder.")
  var calibration: String?

  @Option(help: "Predictions of a window.")
  var window = 1024

  @Option(help: "At most so many windows of the text; default: all.")
  var windows: Int?

  @Option(help: "Windows to calibrate on, spread evenly over the text.")
  var calibrationWindows = 32

  @Option(help: "Only forms whose name contains this, and dense.")
  var only: String?

  @Option(
    help: ArgumentHelp("The report. Forms that it has already, on as many windows, are not measured again.", valueName: "file"))
  var json: String?

  @Option(help: ArgumentHelp("Draw the report.", valueName: "file.svg"))
  var plot: String?

  @Flag(help: "Print the report as Markdown tables instead of lines.")
  var tables = false

  @Flag(help: "Print the names of all forms and measure nothing.")
  var list = false

  @Option(parsing: .unconditional, help: "Threads; 0 means one for each core that this process may use.")
  var threads = 0

  /// Every mistake is one line; help keeps its own form.
  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let error as ProgramError {
      note("quality: \(error)")
      exit(withError: ExitCode(error.exitCode))
    } catch {
      exit(withError: error)
    }
  }

  func run() throws { try execute() }

  private func execute() throws(ProgramError) {
    guard !list else {
      for form in Form.all { line(form.name) }
      return
    }
    guard !model.isEmpty else { throw .usage("which model? A folder, or a GGUF file") }
    guard window >= 1, calibrationWindows >= 1, windows ?? 1 >= 1 else {
      throw .usage("--window, --windows and --calibration-windows: at least 1")
    }
    guard threads >= 0 else { throw .usage("--threads \(threads): 0 means all allowed cores, 1 and more that many") }
    let report = try measured()
    if tables { line(Tables(report: report).text) }
    if let plot { try write(QualityPlot(report: report).svg, to: plot) }
  }

  // MARK: Measuring

  private func measured() throws(ProgramError) -> Report {
    let (textPath, calibrationPath) = (text ?? "\(model)/eval.txt", calibration ?? "\(model)/calibration.txt")
    var report = Report(
      model: Quality.name(of: model), calibration: Quality.name(of: calibrationPath), text: Quality.name(of: textPath),
      windowLength: window, calibrationWindows: calibrationWindows)
    if let json, FileManager.default.fileExists(atPath: json) { report.resume(from: try Report(path: json)) }
    let tokenizer = try attempt { () throws(TokenizerError) in try Tokenizer(path: model) }
    let ids = tokenizer.encode(try read(textPath))
    guard ids.count >= 2 else { throw .failed("\(textPath): \(ids.count) tokens; a prediction takes two") }
    let wanted = min(max(1, (ids.count - 1) / window), windows ?? .max)
    let forms = Form.all.filter { form in
      (report[form.name]?.windows.count ?? 0) < wanted
        && (only == nil || form.family == .dense || form.name.contains(only ?? ""))
    }
    // Rows of a report from before errors were kept.
    let bare = Form.all.filter { form in
      guard form.weights.format != .bf16, !forms.contains(where: { $0.name == form.name }), let row = report[form.name] else {
        return false
      }
      return row.errors == nil && (only == nil || form.name.contains(only ?? ""))
    }
    guard !forms.isEmpty || !bare.isEmpty else { return report }

    let executor = try attempt { () throws(TesseraError) in try Executor(threads: threads == 0 ? nil : threads) }
    let checkpoint = try attempt { () throws(ModelError) in try LlamaCheckpoint(path: model) }
    let maker = ModelMaker(
      checkpoint: checkpoint, calibration: try calibrate(checkpoint, calibrationPath, tokenizer, on: executor),
      executor: executor)
    for form in bare {
      guard var row = report[form.name] else { continue }
      row.errors = try maker.make(form).errors
      report.add(row)
      if let json { try report.write(to: json) }
    }
    for form in forms {
      report.add(try measure(form, maker, ids))
      if let json { try report.write(to: json) }
    }
    return report
  }

  private func calibrate(
    _ checkpoint: LlamaCheckpoint, _ path: String, _ tokenizer: Tokenizer, on executor: Executor
  ) throws(ProgramError) -> Calibration {
    let ids = tokenizer.encode(try read(path))
    let whole = ids.count / window
    guard whole >= 1 else { throw .failed("\(path): \(ids.count) tokens, less than a window of \(window)") }
    let count = min(calibrationWindows, whole)
    let windows = (0..<count).map { index in
      let first = whole * index / count * window
      return Array(ids[first..<first + window])
    }
    return try Calibration(checkpoint, windows: windows, on: executor) { note("calibration, window \($0 + 1) of \(count)") }
  }

  private func measure(_ form: Form, _ maker: ModelMaker, _ ids: [Int]) throws(ProgramError) -> Report.Row {
    let made = try maker.make(form)
    let result = try attempt { () throws(ModelError) in
      var runner = LlamaRunner(made.model, on: maker.executor)
      return try runner.perplexity(of: ids, windowLength: window, windowLimit: windows)
    }
    let summary = "\(form.name): \(fixed(made.bitsPerWeight, 3)) bits, perplexity \(fixed(result.value, 4))"
    if tables { note(summary) } else { line(summary) }
    return Report.Row(
      family: form.family, name: form.name, bitsPerWeight: made.bitsPerWeight, cacheBytesPerToken: made.cacheBytesPerToken,
      windows: result.windows, errors: made.errors)
  }

  // MARK: Files

  private static func name(of path: String) -> String { URL(filePath: path).lastPathComponent }

  private func read(_ path: String) throws(ProgramError) -> String {
    do {
      return try String(contentsOfFile: path, encoding: .utf8)
    } catch {
      throw .failed("\(path): cannot be read as UTF-8 text")
    }
  }

  private func write(_ text: String, to path: String) throws(ProgramError) {
    do {
      try Data(text.utf8).write(to: URL(filePath: path), options: .atomic)
    } catch {
      throw .failed("\(path): cannot be written")
    }
  }
}
