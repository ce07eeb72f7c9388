import Tessera
import TesseraLayers
import Testing

/// y = x W^T + bias in double precision, and how far a layer's output may be from it.
private struct Reference {
  let y: [Double]
  let bound: [Double]

  /// u of Float.
  private static let unit = 0x1p-24

  /// gamma_d = d u / (1 - d u): the relative error of d roundings at most.
  private static func gamma(_ d: Int) -> Double { Double(d) * unit / (1 - Double(d) * unit) }

  /// bfloat16 weights and x rounded to bfloat16: products are exact in Float, so only the additions round, in any order at most
  /// one for each product and one for the bias: |y - y'| <= gamma_(k + 1) (sum |x| |w| + |bias|).
  init(bfloat16 x: [Float], rows: Int, by weights: Matrix, bias: [Float]) {
    self.init(rows: rows, weights: weights) { row, output in
      var sum = Double(bias[output])
      var magnitude = sum.magnitude
      for (column, weight) in weights[output].enumerated() {
        let product = Double(Float(BFloat16(x[row * weights.columns + column]))) * Double(Float(weight))
        sum += product
        magnitude += product.magnitude
      }
      return (sum, Reference.gamma(weights.columns + 1) * magnitude)
    }
  }

  /// int8 weights and x, both in steps of max / 127. With half a step as the error of each factor,
  /// |x w - x' w'| <= |x| step_w / 2 + (|w| + step_w / 2) step_x / 2, and nothing where w is 0. The sum of codes is exact;
  /// converting it, scaling it twice and adding the bias round, and quantising rounds twice before it rounds to a step: far
  /// below 16 in all.
  init(int8 x: [Float], rows: Int, by weights: Matrix, bias: [Float]) {
    self.init(rows: rows, weights: weights) { row, output in
      let x = x[row * weights.columns..<(row + 1) * weights.columns].map(Double.init)
      let w = weights[output].map { Double(Float($0)) }
      let (stepX, stepW) = (x.map(\.magnitude).max().map { $0 / 127 } ?? 0, w.map(\.magnitude).max().map { $0 / 127 } ?? 0)
      var sum = Double(bias[output])
      var magnitude = sum.magnitude
      var error = 0.0
      for (x, w) in zip(x, w) where w != 0 {
        sum += x * w
        magnitude += (x.magnitude + stepX) * (w.magnitude + stepW)
        error += x.magnitude * stepW / 2 + (w.magnitude + stepW / 2) * stepX / 2
      }
      return (sum, error + Reference.gamma(16) * magnitude)
    }
  }

  private init(rows: Int, weights: Matrix, _ element: (_ row: Int, _ output: Int) -> (y: Double, bound: Double)) {
    let elements = (0..<rows * weights.rows).map { element($0 / weights.rows, $0 % weights.rows) }
    y = elements.map(\.y)
    bound = elements.map(\.bound)
  }

  func expectEqual(_ result: [Float], _ comment: Comment) {
    #expect(result.count == y.count, comment)
    for (index, (result, (y, bound))) in zip(result, zip(y, bound)).enumerated() {
      #expect((Double(result) - y).magnitude <= bound, "\(comment), element \(index): \(result), expected \(y) within \(bound)")
    }
  }
}

@Suite struct SparAMXLinearTests {
  /// No multiples of 16, 32 or 64, and more panels than threads.
  private let matrix = Matrix.random(70, 203, seed: 11)
  private let bias = randomFloats(70, in: -1...1, seed: 12)
  private let pruning = Pruning(
    sparsity: 0.5, criterion: .wanda(activationNorms: randomFloats(203, in: 0...2, seed: 13)), scope: .matrix)

  private func layer(_ pruning: Pruning?, _ values: SparAMXLinear.ValueType = .bf16) throws -> SparAMXLinear {
    try SparAMXLinear(
      matrix.elements.span, outputs: matrix.rows, inputs: matrix.columns, bias: bias, pruning: pruning, values: values)
  }

  private func pruned() throws -> Matrix {
    Matrix(
      matrix.rows, matrix.columns,
      try pruning.pruned(matrix.elements.span, outputs: matrix.rows, inputs: matrix.columns))
  }

  private func x(rows: Int) -> [Float] { randomFloats(rows * matrix.columns, in: -2...2, seed: UInt64(rows)) }

  // MARK: Numbers

  @Test(arguments: [1, 3, 17])
  func computesTheProductOfThePrunedWeights(rows: Int) throws {
    let layer = try layer(pruning)
    let reference = Reference(bfloat16: x(rows: rows), rows: rows, by: try pruned(), bias: bias)
    for executor in try executors() {
      reference.expectEqual(try layer(x(rows: rows).span, rows: rows, on: executor), "\(executor.pool.threadCount) threads")
    }
  }

  @Test(arguments: [1, 3, 17])
  func int8StaysWithinItsQuantisationBound(rows: Int) throws {
    let layer = try layer(pruning, .int8)
    let reference = Reference(int8: x(rows: rows), rows: rows, by: try pruned(), bias: bias)
    for executor in try executors() {
      reference.expectEqual(try layer(x(rows: rows).span, rows: rows, on: executor), "\(executor.pool.threadCount) threads")
    }
  }

  @Test func replacesADenseLayer() throws {
    let pruned = try pruned()
    let dense = try DenseLinear(pruned.elements.span, outputs: pruned.rows, inputs: pruned.columns, bias: bias)
    let layers: [any LinearLayer] = [dense, try layer(pruning)]
    let executor = try Executor(threads: 1)
    let reference = Reference(bfloat16: x(rows: 3), rows: 3, by: pruned, bias: bias)
    for layer in layers {
      #expect(layer.outputs == 70 && layer.inputs == 203)
      reference.expectEqual(try layer(x(rows: 3).span, rows: 3, on: executor), "\(layer.format)")
    }
    #expect(layers.map(\.format) == [.bf16, .bitmapBF16])
    #expect(layers[1].byteCount < layers[0].byteCount)
  }

  @Test(arguments: SparAMXLinear.ValueType.allCases)
  func threadsChangeNoBit(values: SparAMXLinear.ValueType) throws {
    let layer = try layer(pruning, values)
    let results = try executors().map { try layer(x(rows: 5).span, rows: 5, on: $0).map(\.bitPattern) }
    #expect(Set(results).count == 1)
  }

  // MARK: Density and bytes

  @Test func keepsWhatPruningLeavesBitForBit() throws {
    #expect(try layer(pruning).weights.unpackedBFloat16() == pruned().elements)
    #expect(try layer(nil).weights.unpackedBFloat16() == matrix.elements)
  }

  @Test(arguments: SparAMXLinear.ValueType.allCases)
  func density0LeavesTheBias(values: SparAMXLinear.ValueType) throws {
    let layer = try layer(Pruning(sparsity: 1), values)
    #expect(layer.density == 0)
    for executor in try executors() {
      let y = try layer(x(rows: 2).span, rows: 2, on: executor)
      #expect(y == bias + bias)
    }
  }

  @Test func density1KeepsEverything() throws {
    let layer = try layer(Pruning(sparsity: 0))
    #expect(layer.density == 1)
    #expect(layer.bestSpeedup < 1, "the bitmap comes on top of every weight")
    let reference = Reference(bfloat16: x(rows: 3), rows: 3, by: matrix, bias: bias)
    reference.expectEqual(try layer(x(rows: 3).span, rows: 3, on: try Executor(threads: 1)), "density 1")
  }

  @Test func saysWhatItReads() throws {
    let matrix = Matrix.random(512, 1024, seed: 14)
    func layer(_ values: SparAMXLinear.ValueType) throws -> SparAMXLinear {
      try SparAMXLinear(
        matrix.elements.span, outputs: 512, inputs: 1024, pruning: Pruning(sparsity: 0.5), values: values)
    }
    let bf16 = try layer(.bf16)
    // Values and their 64 bytes of zeros, a bit per weight, 33 starts.
    #expect(bf16.byteCount == 512 * 1024 + 64 + 512 * 1024 / 8 + 33 * 8)
    #expect(bf16.density == 0.5)
    #expect(bf16.bestSpeedup == 2.0 * 512 * 1024 / Double(bf16.byteCount))
    #expect(bf16.summary == "512 x 1024 bitmap-bf16, density 0.500: 590.2 kB, at most 1.78x as fast as dense bf16")

    let int8 = try layer(.int8)
    #expect(int8.format == .bitmapInt8)
    #expect(int8.density <= 0.5)
    #expect(int8.bestSpeedup > 3)

    let dense: any LinearLayer = try DenseLinear(matrix.elements.span, outputs: 512, inputs: 1024)
    #expect(dense.summary == "512 x 1024 bf16: 1.0 MB, at most 1.00x as fast as dense bf16")
  }

  // MARK: Bad input

  private func error(
    _ weights: [Float], outputs: Int = 2, inputs: Int = 2, bias: [Float]? = nil, pruning: Pruning? = nil
  ) -> [TesseraError?] {
    let weights = weights.map { BFloat16($0) }
    return SparAMXLinear.ValueType.allCases.map { values in
      #expect(throws: TesseraError.self) {
        try SparAMXLinear(weights.span, outputs: outputs, inputs: inputs, bias: bias, pruning: pruning, values: values)
      }
    }
  }

  @Test func refusesAShapeOfZero() {
    let expected = TesseraError.invalidShape(what: "bitmap weights", rows: 0, columns: 2)
    #expect(error([], outputs: 0) == [expected, expected])
  }

  @Test func refusesAWrongNumberOfWeights() {
    let expected = TesseraError.sizeMismatch(what: "bitmap weights", expected: 4, got: 3)
    #expect(error([1, 2, 3]) == [expected, expected])
  }

  @Test func refusesAWrongNumberOfBiases() {
    let expected = TesseraError.sizeMismatch(what: "bias", expected: 2, got: 1)
    #expect(error([1, 2, 3, 4], bias: [1], pruning: Pruning(sparsity: 0.5)) == [expected, expected])
  }

  @Test func refusesAWeightThatIsNaN() {
    let expected = TesseraError.nonFiniteWeight(row: 1, column: 0)
    #expect(error([1, 2, .nan, 4]) == [expected, expected])
    #expect(error([1, 2, .nan, 4], pruning: Pruning(sparsity: 0.5)) == [expected, expected])
  }

  @Test func refusesASparsityOutsideItsRange() {
    #expect(error([1, 2, 3, 4], pruning: Pruning(sparsity: 1.5)) == [.invalidSparsity(1.5), .invalidSparsity(1.5)])
  }

  @Test func refusesXAndYOfOtherSizes() throws {
    let layer = try layer(nil)
    let executor = try Executor(threads: 1)
    #expect(throws: TesseraError.sizeMismatch(what: "x", expected: 406, got: 203)) {
      try layer(x(rows: 1).span, rows: 2, on: executor)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "y", expected: 70, got: 69)) {
      var y = [Float](repeating: 0, count: 69)
      var target = y.mutableSpan
      try layer(x(rows: 1).span, rows: 1, into: &target, on: executor)
    }
    for rows in [0, -1, .min, .max, Int.max / 203] {
      #expect(throws: TesseraError.invalidShape(what: "x", rows: rows, columns: 203)) {
        try layer(x(rows: 0).span, rows: rows, on: executor)
      }
    }
    // Refused before y is made: 280 TB.
    #expect(throws: TesseraError.sizeMismatch(what: "x", expected: 203 << 40, got: 203)) {
      try layer(x(rows: 1).span, rows: 1 << 40, on: executor)
    }
  }

  /// The same bits whether bfloat16 weights are quantised as such or as Float.
  @Test func int8OfBFloat16IsInt8OfFloat() throws {
    let floats = matrix.elements.map { Float($0) }
    let (a, b) = (
      try BitmapWeights(quantizing: matrix.elements.span, outputs: matrix.rows, inputs: matrix.columns),
      try BitmapWeights(quantizing: floats.span, outputs: matrix.rows, inputs: matrix.columns)
    )
    #expect(a.unpackedInt8() == b.unpackedInt8())
    #expect(a.rowScale.map { Array($0.bytes) } == b.rowScale.map { Array($0.bytes) })
  }
}
