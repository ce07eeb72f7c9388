internal import ArgumentParser
internal import KernelChecks
internal import Tessera

@main
struct KBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kbench",
    abstract: "Measures Tessera's kernels on this machine: time, bandwidth, fraction of the roofline, error.",
    discussion: """
      Weights are cold: copies rotate through three times the last-level cache or 1 GiB, whichever is more. Every kernel is \
      compared with the scalar reference before it is timed; all formats and kernels of one shape take turns, and memory is \
      read between them to know the roofline of the same minute. Medians are quoted.

      Exit codes: 0 all is well; 1 a kernel was wrong; 2 the machine, its memory or a file lacks what was asked for; 64 the \
      arguments make no sense.

      Environment: TESSERA_ISA caps the instruction sets, NO_COLOR turns colours off, TESSERA_REVISION names the source.
      """)

  @Flag(help: "Print the table of operations and instruction sets.")
  var list = false

  @Flag(help: "With --list: as Markdown.")
  var markdown = false

  @Flag(help: "Print what is known of this machine, and the kernels chosen on it.")
  var machine = false

  @Flag(
    help: "Check the kernels with the randomised tests of the test suite, measure nothing. --op, --format and --isa narrow it.")
  var check = false

  @Option(help: "Operations, separated by commas: read_bandwidth, fork_join, dense_gemm, bitmap_gemm, code4_gemm, attention.")
  var op: String?

  @Option(
    help: """
      Formats of weights and of attention's caches, separated by commas, as --list names them. Default: bf16, bitmap-bf16, \
      bitmap-int8, razer-g16, razer-g128, and every cache.
      """)
  var format: String?

  @Option(help: "Rows of x for formats whose kernels read several types: bf16, int16, int8. Default: all.")
  var activations: String?

  @Option(help: "Matrices as NxK (outputs x inputs) or names of presets, separated by commas.")
  var shape: String?

  @Option(help: "The layers of models: llama-3.1-8b, llama-2-7b, qwen2.5-7b, smollm2-135m. Default: llama-3.1-8b.")
  var preset: String?

  @Option(help: "Tokens in the caches of attention, separated by commas; the preset gives the heads.")
  var context: String?

  @Option(name: .customLong("m"), help: "Rows of x, or query tokens of attention, separated by commas.")
  var rows = "1,4,16"

  @Option(parsing: .unconditional, help: "Threads; 0 or nothing means one for each core that this process may use.")
  var threads = 0

  @Option(help: "best, all, or names: a tag (avx2), a kernel's full name, or a level (avx512, amx).")
  var isa = "best"

  @Option(help: "Fractions of zeros in sparse formats, separated by commas.")
  var sparsity = "0.5"

  @Flag(help: "Use one copy of the weights: measures the cache.")
  var hot = false

  @Flag(help: "Run all linear layers of each preset in sequence, with weights of their own; the output layer stays dense.")
  var chain = false

  @Option(
    help: """
      Run a preset's whole model with random weights: milliseconds for a step of M tokens after those of --context (default \
      then: 1024), and what of it each part takes.
      """)
  var model: String?

  @Option(help: "With --model: only so many of its layers.")
  var layers: Int?

  @Option(
    help: ArgumentHelp(
      "With --model: how the head is stored beside layers that are compressed, with all of its weights. Default: bf16.",
      valueName: "format"))
  var head: String?

  @Option(help: "A GGUF or safetensors file whose matrices to use; sparse formats prune the smallest weights of each row.")
  var weights: String?

  @Option(parsing: .unconditional, help: ArgumentHelp("Seconds of measuring for each kernel.", valueName: "seconds"))
  var minTime = 0.3

  @Option(parsing: .unconditional, help: "Seed of the random weights, and of --check.")
  var seed: UInt64 = 1

  @Option(help: ArgumentHelp("Write a report; - is standard output, and nothing else there.", valueName: "file"))
  var json: String?

  @Option(help: ArgumentHelp("Draw time against M, with the roofline; - is standard output.", valueName: "file.svg"))
  var plot: String?

  @Flag(help: "Let a debug build write a report or a plot.")
  var allowDebug = false

  /// Every mistake is one line; help keeps its own form.
  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let error as BenchError {
      Console(printsTables: false).warn("\(error)")
      exit(withError: ExitCode(error.exitCode))
    } catch {
      guard exitCode(for: error) == .validationFailure else { exit(withError: error) }
      Console(printsTables: false).warn("\(message(for: error)); kbench --help lists the options")
      exit(withError: ExitCode.validationFailure)
    }
  }

  func run() throws {
    try execute(Console(printsTables: json != "-" && plot != "-"))
  }

  private func execute(_ console: Console) throws(BenchError) {
    let settings = try ArgumentReader(self).settings()
    if list {
      console.line(Listing.kernels(markdown: markdown, features: Machine.current.instructionSets))
      return
    }
    if check { return try runChecks(settings, console) }
    if BuildInfo.isDebug, json != nil || plot != nil, !allowDebug {
      throw BenchError.usage("a debug build gives no figures worth keeping; build with -c release, or say --allow-debug")
    }
    let executor = try makeExecutor()
    let report = Report(machine: executor.machine, commandLine: CommandLine.arguments, threads: executor.pool.threadCount)
    if machine {
      console.line("\(executor.machine)\n")
      console.line(Listing.choices(executor.selection))
      if let json { try report.write(to: json) }
      return
    }
    console.line("\(machineAndThreads(executor)), \(BuildInfo.mode) build")
    console.line(Table.legend)
    let title = "\(machineAndThreads(executor)): time against M"
    let bench = Bench(settings: settings, executor: executor, console: console, report: report) { report throws(BenchError) in
      try save(report, plotTitle: title, toStreams: false)
    }
    try bench.run()
    try save(bench.report, plotTitle: title, toStreams: true)
    if !bench.report.errors.isEmpty { throw BenchError.wrongKernels(bench.report.errors.count) }
  }

  /// Only `TESSERA_ISA` can name an instruction set here: `--isa` was looked up with the arguments.
  private func makeExecutor() throws(BenchError) -> Executor {
    do throws(TesseraError) {
      return try Executor(threads: threads == 0 ? nil : threads)
    } catch {
      switch error {
      case .unknownISA, .unsupportedISA: throw .failed("TESSERA_ISA: \(error)")
      default: throw .failed("\(error)")
      }
    }
  }

  /// Files are written again after each group of rows, and first of all, so that one that cannot be written costs no minutes.
  private func save(_ report: Report, plotTitle: String, toStreams: Bool) throws(BenchError) {
    if let json, OutputText.isStream(json) == toStreams { try report.write(to: json) }
    if let plot, OutputText.isStream(plot) == toStreams {
      try OutputText.save(Plot(report.rows, title: plotTitle).svg, to: plot)
    }
  }

  private func runChecks(_ settings: Settings, _ console: Console) throws(BenchError) {
    let features = Machine.current.instructionSets
    let variants = KernelVariant.all.filter { variant in
      settings.isa.checks(variant.name, variant.instructionSets, tag: variant.isaTag)
        && (format == nil || variant.formats.contains { settings.formats.contains($0) })
    }
    let operations = Tessera.Operation.allCases.filter { settings.operations.contains(BenchOperation($0)) }
    func show(_ progress: KernelCheckProgress) {
      console.progress("checking \(progress.variant), \(progress.index + 1) of \(progress.count)")
    }
    var report = runKernelChecks(of: variants, operations: operations, features: features, seed: seed, progress: show)
    if settings.operations.contains(.attention) {
      report.append(runAttentionChecks(of: settings.checkedAttention, features: features, seed: seed, progress: show))
    }
    console.line("\(report)")
    guard !report.variants.isEmpty else { throw .usage("--check: no kernel of these --op, --format and --isa runs here") }
    guard report.passed else { throw .wrongKernels(report.variants.count { $0.failureCount > 0 }) }
  }

  private func machineAndThreads(_ executor: Executor) -> String {
    let count = executor.pool.threadCount
    return "\(executor.machine.model), \(count) thread\(count == 1 ? "" : "s")"
  }
}
