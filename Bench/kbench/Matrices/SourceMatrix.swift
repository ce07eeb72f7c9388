internal import Tessera
internal import TesseraCompression
internal import TesseraLayers

/// A weight matrix before it is packed: row-major bfloat16.
struct SourceMatrix {
  let shape: Shape
  /// The tensor's name in a file, or nil for random weights.
  let tensor: String?
  let values: [BFloat16]

  init(shape: Shape, tensor: String, values: [BFloat16]) {
    self.shape = shape
    self.tensor = tensor
    self.values = values
  }

  /// Random weights of nearly normal distribution, none of them zero, nor after quantisation to int8: a sum of four uniform
  /// numbers (3.46 standard deviations at most) moved away from zero by 0.06, two steps of int8.
  init(random shape: Shape, seed: UInt64, on pool: ThreadPool) {
    self.shape = shape
    tensor = nil
    values = [BFloat16](unsafeUninitializedCapacity: shape.outputs * shape.inputs) { target, count in
      // A buffer of its own for each row, so the closure shares no variable between threads.
      let rows = UnsafeMutableBufferPointer(rebasing: target[..<(shape.outputs * shape.inputs)])
      pool.run(parts: shape.outputs) { row, _ in
        var generator = SplitMix64(seed: seed, stream: row)
        for column in 0..<shape.inputs {
          let value = generator.normal()
          let moved = value < 0 ? value - 0.06 : value + 0.06
          rows[row * shape.inputs + column] = BFloat16(moved * 0.02)
        }
      }
      count = shape.outputs * shape.inputs
    }
  }

  /// The same matrix with a fraction of its weights set to zero: random ones if the weights are random, else the smallest of each
  /// row.
  func pruned(_ sparsity: Double, seed: UInt64, on executor: Executor) throws(TesseraError) -> SourceMatrix {
    if tensor != nil {
      let kept = try Pruning(sparsity: sparsity).pruned(
        values.span, outputs: shape.outputs, inputs: shape.inputs, on: executor)
      return SourceMatrix(shape: shape, tensor: tensor, values: kept)
    }
    var values = values
    values.withUnsafeMutableBufferPointer { target in
      let weights = target
      executor.pool.run(parts: shape.outputs) { row, _ in
        var generator = SplitMix64(seed: ~seed, stream: row)
        for index in row * shape.inputs..<(row + 1) * shape.inputs where generator.unit() < sparsity { weights[index] = .zero }
      }
    }
    return SourceMatrix(shape: shape, tensor: nil, values: values)
  }

  private init(shape: Shape, tensor: String?, values: [BFloat16]) {
    self.shape = shape
    self.tensor = tensor
    self.values = values
  }

  /// Packs the matrix. In a 4-bit format a matrix of a file is quantised, each weight to the nearest code; for a random one the
  /// codes are as good when they are random themselves.
  func packed(_ choice: PackingChoice, seed: UInt64, on executor: Executor) throws(BenchError) -> any CopyableWeights {
    guard choice.format.code4 == nil || tensor == nil else { return try quantized(choice, seed: seed, on: executor) }
    return try attempt { () throws(TesseraError) in try packedUnquantized(choice, seed: seed, on: executor) }
  }

  private func quantized(
    _ choice: PackingChoice, seed: UInt64, on executor: Executor
  ) throws(BenchError) -> Code4Weights {
    let kept = try attempt { () throws(TesseraError) in
      if let sparsity = choice.sparsity { try pruned(sparsity, seed: seed, on: executor) } else { self }
    }
    let matrix = try attempt { () throws(CompressionError) in
      try Code4Quantizer(choice.format).quantize(
        kept.values.span, outputs: shape.outputs, inputs: shape.inputs, on: executor.pool)
    }
    return try attempt { () throws(TesseraError) in try matrix.packed(activations: choice.activations, on: executor.pool) }
  }

  private func packedUnquantized(
    _ choice: PackingChoice, seed: UInt64, on executor: Executor
  ) throws(TesseraError) -> any CopyableWeights {
    let (outputs, inputs, pool) = (shape.outputs, shape.inputs, executor.pool)
    switch choice.format {
    case .bf16:
      return try DenseWeights(packing: values.span, outputs: outputs, inputs: inputs, on: pool)
    case .bitmapBF16:
      let sparse = try pruned(choice.sparsity ?? 0, seed: seed, on: executor)
      return try BitmapWeights(packing: sparse.values.span, outputs: outputs, inputs: inputs, on: pool)
    case .bitmapInt8:
      let sparse = try pruned(choice.sparsity ?? 0, seed: seed, on: executor)
      return try BitmapWeights(quantizing: sparse.values.span, outputs: outputs, inputs: inputs, on: pool)
    default:
      return try Code4Weights(random: choice, shape: shape, seed: seed, on: pool)
    }
  }
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014): one addition and a mixing function.
struct SplitMix64: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64, stream: Int = 0) {
    state = seed
    state = next() ^ (UInt64(truncatingIfNeeded: stream) &* 0xD1B5_4A32_D192_ED03)
  }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// In 0 ..< 1.
  mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// Mean 0, standard deviation 1: the sum of four uniform 16-bit numbers.
  mutating func normal() -> Float {
    let bits = next()
    let sum = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
    return (Float(sum) - 131070) * (1 / 37837.2)
  }
}
