internal import Tessera

/// One measured thing, as the table shows it and the report keeps it.
struct ResultRow {
  /// Names that scripts rely on: `dense_gemm`, `bitmap_gemm`, `code4_gemm`, `attention`, `read_bandwidth`, `fork_join`,
  /// `chain`, `model`.
  var op: String
  var format: String
  /// The last part of the kernel's name.
  var isa: String
  var variant: String
  /// `NxK`, or what stands in its place for operations without a matrix.
  var shape: String
  var n = 0
  var k = 0
  var m = 0
  var threads: Int
  /// The rows of x; nil for operations without a matrix.
  var activations: ActivationType?
  /// Tokens in the cache; nil for operations without one.
  var context: Int?
  /// Asked-for fraction of zeros; nil for formats that store every element.
  var sparsity: Double?
  /// The matrix in the weight file; nil for random weights.
  var tensor: String?
  var samples: Samples
  /// What one run reads of the weights.
  var bytes = 0
  var flops = 0
  /// Bytes per second of the best reading pattern while this was measured.
  var rooflineBandwidth: Double?
  var speedupOverDense: Double?
  var accuracy: Accuracy?
  /// Distinct memory that the runs rotated through.
  var workingSetBytes = 0
  var isHot = false
  /// Of a whole model what each step takes; nil for everything else.
  var steps: [(step: ModelStep, seconds: Double)]?
  /// CPUs that other processes kept busy meanwhile; nil where the system does not say.
  var foreignCPUs: Double?

  var median: Double { samples.median }
  var bytesPerSecond: Double { Double(bytes) / median }
  var rooflineSeconds: Double? { rooflineBandwidth.map { Double(bytes) / $0 } }
  var rooflineFraction: Double? { rooflineSeconds.map { $0 / median } }

  /// The fields of the contract, then what else is known.
  var json: JSON {
    .object([
      ("op", .string(op)), ("format", .string(format)), ("isa", .string(isa)), ("shape", .string(shape)),
      ("n", .integer(n)), ("k", .integer(k)), ("m", .integer(m)), ("threads", .integer(threads)),
      ("seconds_median", .number(median)), ("seconds_min", .number(samples.minimum)),
      ("bytes", .integer(bytes)), ("flops", .integer(flops)), ("gbps", .number(bytesPerSecond / 1e9)),
      ("roofline_seconds", .optional(rooflineSeconds, JSON.number)),
      ("roofline_fraction", .optional(rooflineFraction, JSON.number)),
      ("speedup_vs_dense_bf16", .optional(speedupOverDense, JSON.number)),
      ("max_rel_error", .optional(accuracy?.error, JSON.number)), ("error_bound", .optional(accuracy?.bound, JSON.number)),
      ("variant", .string(variant)), ("activations", .optional(activations?.rawValue, JSON.string)),
      ("context", .optional(context, JSON.integer)),
      ("sparsity", .optional(sparsity, JSON.number)), ("tensor", .optional(tensor, JSON.string)),
      ("seconds_p10", .number(samples.tenthPercentile)), ("samples", .integer(samples.count)),
      ("working_set_bytes", .integer(workingSetBytes)), ("hot", .bool(isHot)),
      ("foreign_cpus", .optional(foreignCPUs, JSON.number)),
      (
        "step_seconds",
        .optional(steps) { steps in .object(steps.map { ($0.step.rawValue, .number($0.seconds)) }) }
      ),
    ])
  }
}

/// The largest error of a kernel in units of sum |w||x|, and what it may be.
struct Accuracy {
  var error: Double
  var bound: Double
  var isWithinBound: Bool { error <= bound }
}

extension [ResultRow] {
  /// Compares every operation with the fastest dense bfloat16 one of the same shape, rows and threads.
  mutating func fillSpeedups() {
    for index in indices where self[index].m > 0 {
      let row = self[index]
      let dense = filter {
        $0.format == WeightFormat.bf16.rawValue && ($0.shape, $0.m, $0.threads) == (row.shape, row.m, row.threads)
      }
      self[index].speedupOverDense = dense.map(\.median).min().map { $0 / row.median }
    }
  }
}
