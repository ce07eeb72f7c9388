internal import Synchronization
internal import Tessera
internal import TesseraLayers

/// What a token's time goes to. The raw value is the name in reports.
enum ModelStep: String, CaseIterable {
  case qkv
  /// Rotation, the new tokens' way into the cache, scores and sums.
  case attention
  case output
  case gateUp = "gate_up"
  case down
  case head
  /// Norms, sums, gates, and the way from layer to layer: the rest.
  case rest = "norms_and_sums"

  init(projection: String) {
    switch projection {
    case "q_proj", "k_proj", "v_proj": self = .qkv
    case "o_proj": self = .output
    case "gate_proj", "up_proj": self = .gateUp
    case "down_proj": self = .down
    case "lm_head": self = .head
    default: preconditionFailure("\(projection) belongs to no step")
    }
  }
}

/// How long each step took in every run of a model.
final class StepClock: Sendable {
  private struct Times {
    var current = [Double](repeating: 0, count: ModelStep.allCases.count)
    var runs: [[Double]] = []
  }

  private let times = Mutex(Times())

  private static func index(_ step: ModelStep) -> Int { ModelStep.allCases.firstIndex(of: step) ?? 0 }

  func add(_ seconds: Double, to step: ModelStep) { times.withLock { $0.current[StepClock.index(step)] += seconds } }

  /// Of the linear layers within attention so far.
  fileprivate var projections: Double {
    times.withLock { $0.current[StepClock.index(.qkv)] + $0.current[StepClock.index(.output)] }
  }

  /// Times a run of the whole model; what no step has taken is the rest.
  func run<Failure: Error>(_ body: () throws(Failure) -> Void) throws(Failure) {
    times.withLock { $0.current = $0.current.map { _ in 0 } }
    let whole = try timed(body)
    times.withLock { times in
      times.current[StepClock.index(.rest)] = whole - times.current.reduce(0, +)
      times.runs.append(times.current)
    }
  }

  /// The median of each step over all runs but the first, which was to warm up.
  var medians: [(step: ModelStep, seconds: Double)] {
    let runs = times.withLock { Array($0.runs.dropFirst()) }
    return ModelStep.allCases.enumerated().map { index, step in
      var samples = Samples()
      for run in runs { samples.append(run[index]) }
      return (step, samples.median)
    }
  }
}

/// A linear layer of a model that is measured.
struct TimedLinear: LinearLayer {
  let weights: any CopyableWeights
  let step: ModelStep
  /// nil for what the executor chooses.
  let variant: KernelVariant?
  let clock: StepClock

  var outputs: Int { weights.outputs }
  var inputs: Int { weights.inputs }
  var format: WeightFormat { weights.format }
  var byteCount: Int { weights.byteCount }
  var bestSpeedup: Double { weights.bestSpeedup }

  func callAsFunction(
    _ x: Span<Float>, rows: Int, into y: inout MutableSpan<Float>, on executor: Executor
  ) throws(TesseraError) {
    let start = monotonicSeconds()
    try executor.multiply(x, rows: rows, by: weights, into: &y, variant: variant)
    clock.add(monotonicSeconds() - start, to: step)
  }
}

/// Attention of a model that is measured: what its projections take is theirs.
struct TimedAttention: AttentionLayer {
  let attention: DenseAttention
  let clock: StepClock

  var width: Int { attention.width }
  var byteCount: Int { attention.byteCount }
  var summary: String { attention.summary }
  func makeCache() -> any AttentionCache { attention.makeCache() }

  func callAsFunction(
    _ x: Span<Float>, _ step: AttentionStep, states: inout [SequenceState], layer: Int, scratch: inout LayerScratch,
    into y: inout MutableSpan<Float>, on executor: Executor
  ) throws(TesseraError) {
    let (start, before) = (monotonicSeconds(), clock.projections)
    try attention(x, step, states: &states, layer: layer, scratch: &scratch, into: &y, on: executor)
    clock.add(monotonicSeconds() - start - (clock.projections - before), to: .attention)
  }
}
