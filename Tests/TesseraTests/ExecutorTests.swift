internal import CKernels
internal import Synchronization
internal import Testing

@testable internal import Tessera

/// A small layer in each format, made from one matrix.
private struct Layer {
  static let (outputs, inputs) = (83, 75)
  let matrix: [Float]
  let bias: [Float]
  let weights: [any PackedWeights]

  init() throws {
    var random = SeededGenerator(seed: 3)
    let matrix = (0..<Layer.outputs * Layer.inputs).map { _ in
      Bool.random(using: &random) ? Float(BFloat16(Float.random(in: -1...1, using: &random))) : 0
    }
    let bits = matrix.map { BFloat16($0) }
    let (n, k) = (Layer.outputs, Layer.inputs)
    bias = (0..<n).map { Float($0) / 8 }
    self.matrix = matrix
    weights = [
      try DenseWeights(packing: bits.span, outputs: n, inputs: k, bias: bias),
      try BitmapWeights(packing: bits.span, outputs: n, inputs: k, bias: bias),
      try BitmapWeights(quantizing: matrix.span, outputs: n, inputs: k, bias: bias),
    ]
  }

  static func x(rows: Int, seed: UInt64 = 5) -> [Float] {
    var random = SeededGenerator(seed: seed)
    return (0..<rows * inputs).map { _ in Float.random(in: -2...2, using: &random) }
  }

  /// y in double, and the sum of magnitudes, of which every rounding is a fraction.
  func reference(_ x: [Float], row: Int, output: Int) -> (y: Double, magnitude: Double) {
    var (y, magnitude) = (Double(bias[output]), Double(abs(bias[output])))
    for k in 0..<Layer.inputs {
      let product = Double(x[row * Layer.inputs + k]) * Double(matrix[output * Layer.inputs + k])
      y += product
      magnitude += abs(product)
    }
    return (y, magnitude)
  }
}

/// Multiplies through an existential: what a model does with its layers.
private func multiply(
  _ executor: Executor, _ x: [Float], rows: Int, by weights: any PackedWeights, variant: KernelVariant? = nil
) throws(TesseraError) -> [Float] {
  var y = [Float](repeating: .nan, count: rows * weights.outputs)
  var span = y.mutableSpan
  try executor.multiply(x.span, rows: rows, by: weights, into: &span, variant: variant)
  return y
}

@Suite struct ExecutorTests {
  /// bf16 rounds x to 8 bits; int8 rounds x and w to steps of max/127, at worst 1/254 of the row's largest magnitude each.
  @Test(arguments: [1, 3, 20])
  func multipliesInEveryFormat(rows: Int) throws {
    let layer = try Layer()
    let executor = try Executor()
    let x = Layer.x(rows: rows)
    for weights in layer.weights {
      let y = try multiply(executor, x, rows: rows, by: weights)
      for row in 0..<rows {
        for output in 0..<Layer.outputs {
          let (expected, magnitude) = layer.reference(x, row: row, output: output)
          let bound = weights.format == .bitmapInt8 ? Double(Layer.inputs) * (2.0 + 1.0 + 0.01) / 254 : magnitude * 0x1p-7
          let error = abs(Double(y[row * Layer.outputs + output]) - expected)
          #expect(error <= bound, "\(weights.format) y[\(row), \(output)]")
        }
      }
    }
  }

  @Test func bfloat16OnBothSidesIsTheRoundedResult() throws {
    let layer = try Layer()
    let executor = try Executor()
    let x = Layer.x(rows: 5).map { BFloat16($0) }
    for weights in layer.weights {
      var y = [BFloat16](repeating: BFloat16(bits: 0x7FC1), count: 5 * weights.outputs)
      var span = y.mutableSpan
      try executor.multiply(x.span, rows: 5, by: weights, into: &span)
      let wide = try multiply(executor, x.map { Float($0) }, rows: 5, by: weights)
      #expect(y == wide.map { BFloat16($0) }, "\(weights.format)")
    }
  }

  @Test func bitsDependNeitherOnThreadsNorOnRows() throws {
    let layer = try Layer()
    let x = Layer.x(rows: 20)
    let allowed = Machine.current.allowedCPUs.count
    for weights in layer.weights {
      let pinned = try Executor(threads: 1, pinnedRows: 1)
      let y = try multiply(pinned, x, rows: 20, by: weights)
      for threads in Set([1, min(2, allowed), min(3, allowed), allowed]) {
        let executor = try Executor(threads: threads, pinnedRows: 1)
        #expect(try multiply(executor, x, rows: 20, by: weights) == y, "\(weights.format), \(threads) threads")
      }
      for row in 0..<20 {
        let alone = try multiply(pinned, Array(x[row * Layer.inputs..<(row + 1) * Layer.inputs]), rows: 1, by: weights)
        #expect(alone == Array(y[row * Layer.outputs..<(row + 1) * Layer.outputs]), "\(weights.format), row \(row)")
      }
    }
  }

  /// A NaN or an infinity in a row of x stays in that row of y.
  @Test(arguments: [Float.nan, .infinity])
  func aRowThatIsNotFiniteSpoilsNoOther(value: Float) throws {
    let layer = try Layer()
    let executor = try Executor()
    let clean = Layer.x(rows: 3)
    var x = clean
    x[Layer.inputs + 7] = value
    for weights in layer.weights {
      let (y, expected) = (try multiply(executor, x, rows: 3, by: weights), try multiply(executor, clean, rows: 3, by: weights))
      for row in [0, 2] {
        let range = row * Layer.outputs..<(row + 1) * Layer.outputs
        #expect(y[range] == expected[range], "\(weights.format), row \(row)")
      }
      #expect(!y[Layer.outputs..<2 * Layer.outputs].contains { $0.isFinite }, "\(weights.format)")
    }
  }

  @Test func eightThreadsMayCallAtOnce() throws {
    let layer = try Layer()
    let executors = [try Executor(), try Executor()]
    let expected = try (0..<8).map { caller in
      try layer.weights.map {
        try multiply(executors[0], Layer.x(rows: caller + 1, seed: UInt64(caller)), rows: caller + 1, by: $0)
      }
    }
    let wrong = Mutex<[String]>([])
    onHostThreads(8) { caller in
      for round in 0..<10 {
        for (index, weights) in layer.weights.enumerated() {
          let x = Layer.x(rows: caller + 1, seed: UInt64(caller))
          let y = try? multiply(executors[(caller + round) % 2], x, rows: caller + 1, by: weights)
          if y != expected[caller][index] { wrong.withLock { $0.append("caller \(caller), \(weights.format)") } }
        }
      }
    }
    #expect(wrong.withLock { $0 } == [])
  }

  @Test func anExplicitKernelIsUsed() throws {
    let layer = try Layer()
    let executor = try Executor(threads: 1)
    let scalar = try executor.selection.variant(named: "scalar", for: .bf16)
    let x = Layer.x(rows: 2)
    let y = try multiply(executor, x, rows: 2, by: layer.weights[0], variant: scalar)
    let capped = try Executor(threads: 1, isa: ISALevel("scalar"))
    #expect(try multiply(capped, x, rows: 2, by: layer.weights[0]) == y)
  }

  // What must be refused, and how.

  @Test(arguments: [0, -1, Machine.current.allowedCPUs.count + 1, .max])
  func refusesThreadCountsOutOfRange(threads: Int) {
    let allowed = Machine.current.allowedCPUs.count
    #expect(throws: TesseraError.invalidThreadCount(requested: threads, allowed: allowed)) { try Executor(threads: threads) }
  }

  @Test func refusesALevelThatTheMachineLacks() throws {
    var machine = Machine.current
    machine.instructionSets = []
    let plain = machine
    let level = try ISALevel("avx512")
    #expect(throws: TesseraError.unsupportedISA(name: "avx512", missing: ["avx2", "avx512"])) {
      try Executor(isa: level, machine: plain)
    }
  }

  private static let lacking = InstructionSet.tagged.filter { !Machine.current.instructionSets.contains($0.bit) }

  @Test(.disabled(if: lacking.isEmpty, "this machine lacks nothing"))
  func refusesAMachineThatIsNotThisOne() {
    var machine = Machine.current
    for (_, bit) in Self.lacking { machine.instructionSets.insert(bit) }
    #expect(throws: TesseraError.unsupportedISA(name: "the machine described", missing: Self.lacking.map(\.tag))) {
      try Executor(threads: 1, machine: machine)
    }
  }

  @Test func refusesAKernelThatTheMachineLacks() throws {
    var machine = Machine.current
    machine.instructionSets = []
    let executor = try Executor(threads: 1, isa: ISALevel("scalar"), machine: machine)
    let layer = try Layer()
    for weights in layer.weights {
      for variant in KernelVariant.all(for: weights.format) where !variant.instructionSets.isEmpty {
        #expect(throws: TesseraError.unsupportedISA(name: variant.name, missing: variant.instructionSets.tags)) {
          try multiply(executor, Layer.x(rows: 1), rows: 1, by: weights, variant: variant)
        }
      }
    }
  }

  @Test func refusesSizesThatDoNotMatch() throws {
    let layer = try Layer()
    let executor = try Executor(threads: 1)
    let x = Layer.x(rows: 2)
    let (n, k) = (Layer.outputs, Layer.inputs)
    for weights in layer.weights {
      #expect(throws: TesseraError.sizeMismatch(what: "x", expected: 3 * k, got: 2 * k)) {
        try multiply(executor, x, rows: 3, by: weights)
      }
      #expect(throws: TesseraError.sizeMismatch(what: "x", expected: 2 * k, got: 2 * k - 1)) {
        try multiply(executor, x.dropLast(), rows: 2, by: weights)
      }
      for count in [2 * n - 1, 2 * n + 1, 0] {
        var y = [Float](repeating: 7, count: count)
        #expect(throws: TesseraError.sizeMismatch(what: "y", expected: 2 * n, got: count)) {
          var span = y.mutableSpan
          try executor.multiply(x.span, rows: 2, by: weights, into: &span)
        }
        #expect(y.allSatisfy { $0 == 7 }, "a refused call wrote its output")
      }
      for rows in [0, -1, .max, .min] {
        #expect(throws: TesseraError.invalidShape(what: "x", rows: rows, columns: k)) {
          var y: [Float] = []
          var span = y.mutableSpan
          try executor.multiply(x.span, rows: rows, by: weights, into: &span)
        }
      }
    }
  }

  /// Swift's exclusivity keeps honest code from this; memory from C does not.
  @Test(arguments: [0, 4, 40, -40])
  func refusesAnOutputOverItsInput(shift: Int) throws {
    let n = 16
    let executor = try Executor(threads: 1)
    let identity = (0..<n * n).map { BFloat16($0 % (n + 1) == 0 ? 1 : 0) }
    let weights = try DenseWeights(packing: identity.span, outputs: n, inputs: n)
    let memory = UnsafeMutableBufferPointer<Float>.allocate(capacity: 64)
    defer { memory.deallocate() }
    memory.initialize(repeating: 1)
    let base = try #require(memory.baseAddress)
    #expect(throws: TesseraError.overlappingMemory(what: "y")) {
      let x = UnsafeBufferPointer(start: base + 20, count: n)
      let y = UnsafeMutableBufferPointer(start: base + 20 + shift / 4, count: n)
      var output = y.mutableSpan
      try executor.multiply(x.span, rows: 1, by: weights, into: &output)
    }
    let apart = UnsafeMutableBufferPointer(start: base + 20 + n, count: n)
    var output = apart.mutableSpan
    try executor.multiply(UnsafeBufferPointer(start: base + 20, count: n).span, rows: 1, by: weights, into: &output)
    #expect(apart.allSatisfy { $0 == 1 })
  }
}
