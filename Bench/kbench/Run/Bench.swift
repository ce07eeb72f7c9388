internal import CKernels
internal import Tessera

/// One run: measures what the settings ask for, prints rows as they come, and keeps them for the report.
final class Bench {
  let settings: Settings
  let executor: Executor
  let console: Console
  var report: Report
  var bandwidth: ReadBandwidth?
  /// Called after each group of rows, so that an interrupted run leaves what it has.
  let checkpoint: (Report) throws(BenchError) -> Void

  init(
    settings: Settings, executor: Executor, console: Console, report: Report,
    checkpoint: @escaping (Report) throws(BenchError) -> Void
  ) {
    self.settings = settings
    self.executor = executor
    self.console = console
    self.report = report
    self.checkpoint = checkpoint
  }

  var pool: ThreadPool { executor.pool }

  /// Distinct memory that cold weights rotate through: three times the last-level cache, and enough for its size to be a lie.
  var workingSetBytes: Int {
    settings.isHot ? 0 : max(3 * executor.machine.lastLevelCacheBytes, 1 << 30)
  }

  func run() throws(BenchError) {
    // What can fail for reasons of the arguments fails now, not after minutes.
    try checkpoint(report)
    let layers = try settings.weightFile.map { path throws(BenchError) in try LayerFile(path) }
    let sources = try matrixSources(in: layers)

    let load = ForeignLoad()
    console.heading(Table.header)
    try setUpBandwidth()
    if settings.operations.contains(.forkJoin) { measureForkJoin() }
    if !settings.models.isEmpty {
      try runModels()
    } else if settings.isChain {
      try runChains(layers)
    } else {
      try runMultiplications(sources)
      try runAttention()
    }
    finishBandwidth(load)
    console.clearProgress()
    try checkpoint(report)
  }

  /// The figures of the roofline are measured always; their rows appear when asked for.
  private func setUpBandwidth() throws(BenchError) {
    console.progress("reading memory")
    // A fifth of the memory at most: the weights need the rest.
    let limit = (availableMemory() ?? .max) / 5
    let wanted = max(workingSetBytes, 1 << 30)
    if wanted > limit {
      note("read bandwidth is measured on \(binarySize(limit)) instead of \(binarySize(wanted)), for want of memory")
    }
    bandwidth = try attempt { () throws(TesseraError) in
      try ReadBandwidth(byteCount: min(wanted, limit), features: executor.machine.instructionSets, pool: pool)
    }
    for _ in 0..<4 * (bandwidth?.patterns.count ?? 0) { bandwidth?.sampleOnce() }
  }

  private func finishBandwidth(_ load: ForeignLoad) {
    guard let bandwidth else { return }
    if settings.operations.contains(.readBandwidth) {
      // A run without kernels has only these samples.
      for _ in 0..<16 * bandwidth.patterns.count { bandwidth.sampleOnce() }
      add(bandwidth.rows(foreignCPUs: load.cpus))
    }
    report.patterns = zip(bandwidth.patterns, bandwidth.bandwidths()).compactMap { pattern, value in
      value.map { (String(cString: pattern.name), $0) }
    }
  }

  /// The time from handing an empty job to all threads until all are done.
  private func measureForkJoin() {
    console.progress("fork and join")
    let load = ForeignLoad()
    var samples = Samples()
    for _ in 0..<1000 { pool.run(parts: pool.threadCount) { _, _ in } }
    for _ in 0..<20_000 { samples.append(timed { pool.run(parts: pool.threadCount) { _, _ in } }) }
    add([
      ResultRow(
        op: BenchOperation.forkJoin.rawValue, format: "none", isa: "none", variant: "thread_pool", shape: "none",
        threads: pool.threadCount, samples: samples, foreignCPUs: load.cpus)
    ])
  }

  func add(_ rows: [ResultRow]) {
    report.rows += rows
    for row in rows { console.line(Table.line(row)) }
  }

  func note(_ text: String) {
    guard !report.notes.contains(text) else { return }
    report.notes.append(text)
    console.warn(text)
  }

  func reportWrongKernel(_ text: String) {
    report.errors.append(text)
    console.warn("WRONG: \(text)")
  }
}

/// The library's errors as the program's.
func attempt<Value, Failure>(_ body: () throws(Failure) -> Value) throws(BenchError) -> Value {
  do throws(Failure) {
    return try body()
  } catch {
    throw BenchError.failed("\(error)")
  }
}
