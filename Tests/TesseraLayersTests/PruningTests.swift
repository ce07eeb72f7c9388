import Tessera
import TesseraLayers
import Testing

/// The matrix after a full stable sort by score, zeros first: what pruning promises, by its slow definition.
private func naivelyPruned(_ matrix: Matrix, norms: [Float], sparsity: Double, scope: Pruning.Scope) -> [BFloat16] {
  var result = matrix.elements
  let group = scope == .row ? matrix.columns : matrix.elements.count
  for start in stride(from: 0, to: result.count, by: group) {
    let ranked = (start..<start + group).map { index in
      let magnitude = Float(matrix.elements[index]).magnitude
      return (score: magnitude == 0 ? -1 : magnitude * norms[index % matrix.columns], index: index)
    }.sorted { ($0.score, $0.index) < ($1.score, $1.index) }
    for (_, index) in ranked.prefix(Int(sparsity * Double(group))) { result[index] = .zero }
  }
  return result
}

@Suite struct PruningTests {
  static let shapes = [(1, 1), (1, 7), (7, 1), (3, 5), (16, 32), (33, 70)]
  static let sparsities = [0, 0.01, 0.3, 0.5, 0.77, 1]

  private func prune(_ matrix: Matrix, _ pruning: Pruning, on executor: Executor? = nil) throws -> Matrix {
    let pruned = try pruning.pruned(matrix.elements.span, outputs: matrix.rows, inputs: matrix.columns, on: executor)
    return Matrix(matrix.rows, matrix.columns, pruned)
  }

  // MARK: Counts

  @Test(arguments: shapes, sparsities)
  func everyRowLosesTheSameCount(shape: (Int, Int), sparsity: Double) throws {
    let matrix = Matrix.random(shape.0, shape.1, seed: 1)
    let pruned = try prune(matrix, Pruning(sparsity: sparsity))
    for row in 0..<matrix.rows { #expect(pruned[row].zeroCount == Int(sparsity * Double(matrix.columns)), "row \(row)") }
    for (before, after) in zip(matrix.elements, pruned.elements) { #expect(after == before || after == .zero) }
  }

  @Test(arguments: shapes, sparsities)
  func theMatrixLosesTheCount(shape: (Int, Int), sparsity: Double) throws {
    let matrix = Matrix.random(shape.0, shape.1, seed: 2)
    let pruned = try prune(matrix, Pruning(sparsity: sparsity, scope: .matrix))
    #expect(pruned.elements.zeroCount == Int(sparsity * Double(matrix.elements.count)))
    let kept = zip(matrix.elements, pruned.elements).filter { $1 != .zero }.map { Float($0.0).magnitude }.min() ?? .infinity
    let dropped = zip(matrix.elements, pruned.elements).filter { $1 == .zero }.map { Float($0.0).magnitude }.max() ?? 0
    #expect(dropped <= kept)
  }

  @Test func zerosThatAreThereCount() throws {
    let matrix = Matrix(1, 8, [5, 0, 4, -0.0, 3, 0, 2, 1])
    func result(_ sparsity: Double) throws -> [Float] { try prune(matrix, Pruning(sparsity: sparsity)).floats }
    #expect(try result(0.25) == [5, 0, 4, 0, 3, 0, 2, 1])
    #expect(try result(0.375) == [5, 0, 4, 0, 3, 0, 2, 1])
    #expect(try result(0.5) == [5, 0, 4, 0, 3, 0, 2, 0])
    #expect(try prune(matrix, Pruning(sparsity: 0.25)).elements[3].bits == 0, "the second zero is -0 and is written as +0")
    #expect(try prune(matrix, Pruning(sparsity: 0)).elements == matrix.elements, "-0 stays where nothing is pruned")
  }

  @Test func aZeroGoesBeforeAWeightWhoseNormIsZero() throws {
    let pruning = Pruning(sparsity: 0.25, criterion: .wanda(activationNorms: [0, 1, 1, 1]))
    #expect(try prune(Matrix(1, 4, [9, 1, 0, 2]), pruning).floats == [9, 1, 0, 2])
    #expect(try prune(Matrix(1, 4, [9, 1, 3, 2]), pruning).floats == [0, 1, 3, 2])
  }

  // MARK: Order

  @Test func ofEqualScoresTheLowerIndexGoesFirst() throws {
    let matrix = Matrix(2, 4, [1, -1, 1, 1, 2, 1, -1, 1])
    #expect(try prune(matrix, Pruning(sparsity: 0.5)).floats == [0, 0, 1, 1, 2, 0, 0, 1])
    #expect(try prune(matrix, Pruning(sparsity: 0.5, scope: .matrix)).floats == [0, 0, 0, 0, 2, 1, -1, 1])
  }

  @Test(arguments: Pruning.Scope.allCases, sparsities)
  func followsTheSort(scope: Pruning.Scope, sparsity: Double) throws {
    for (index, (rows, columns)) in Self.shapes.enumerated() {
      let seed = UInt64(index)
      // Norms from a few values: ties of scores from different weights, and columns that nothing feeds.
      let norms = randomFloats(columns, in: 0...4, seed: seed).map { $0.rounded(.down) }
      for matrix in [Matrix.random(rows, columns, seed: seed), Matrix.withTies(rows, columns, seed: seed)] {
        for norms in [norms, norms.map { $0 * 1.37 }] {
          let pruned = try prune(matrix, Pruning(sparsity: sparsity, criterion: .wanda(activationNorms: norms), scope: scope))
          let expected = naivelyPruned(matrix, norms: norms, sparsity: sparsity, scope: scope)
          #expect(pruned.elements == expected, "\(rows) x \(columns), seed \(seed)")
        }
      }
    }
  }

  @Test(arguments: Pruning.Scope.allCases)
  func magnitudeIsWandaWithNormsOfOne(scope: Pruning.Scope) throws {
    for matrix in [Matrix.random(19, 45, seed: 3), Matrix.withTies(19, 45, seed: 3)] {
      let ones = [Float](repeating: 1, count: 45)
      let magnitude = try prune(matrix, Pruning(sparsity: 0.6, scope: scope))
      let wanda = try prune(matrix, Pruning(sparsity: 0.6, criterion: .wanda(activationNorms: ones), scope: scope))
      #expect(magnitude.elements == wanda.elements)
      #expect(magnitude.elements == naivelyPruned(matrix, norms: ones, sparsity: 0.6, scope: scope))
    }
  }

  /// Every finite magnitude of bfloat16 once, denormals included: the threshold is exact to the last bit.
  @Test(arguments: [0.1, 0.5, 0.999])
  func thresholdsAreExactAcrossTheWholeRange(sparsity: Double) throws {
    var bits = (0..<UInt16(0x7F80)).map { $0 | ($0 % 3 == 0 ? 0x8000 : 0) }
    var random = SeededGenerator(seed: 4)
    bits.shuffle(using: &random)
    let matrix = Matrix(1, bits.count, bits.map { BFloat16(bits: $0) })
    let pruned = try prune(matrix, Pruning(sparsity: sparsity))
    let limit = UInt16(sparsity * Double(bits.count))
    for (before, after) in zip(matrix.elements, pruned.elements) {
      #expect(after == (before.bits & 0x7FFF < limit ? .zero : before))
    }
  }

  @Test func scoresThatOverflowAreTies() throws {
    let large = Float.greatestFiniteMagnitude
    let pruning = Pruning(sparsity: 0.5, criterion: .wanda(activationNorms: [large, large, large, 1]))
    #expect(try prune(Matrix(1, 4, [3, 4, 2, 5]), pruning).floats == [0, 4, 2, 0])
  }

  @Test(arguments: Pruning.Scope.allCases)
  func threadsChangeNothing(scope: Pruning.Scope) throws {
    for matrix in [Matrix.random(37, 64, seed: 5), Matrix.withTies(37, 64, seed: 5), Matrix.withTies(1, 64, seed: 6)] {
      let pruning = Pruning(sparsity: 0.45, scope: scope)
      let alone = try prune(matrix, pruning)
      for executor in try executors() { #expect(try prune(matrix, pruning, on: executor).elements == alone.elements) }
    }
  }

  // MARK: Bad input

  private func error(
    _ pruning: Pruning, _ weights: [Float] = [1, 2, 3, 4, 5, 6], outputs: Int = 2, inputs: Int = 3
  ) -> TesseraError? {
    let weights = weights.map { BFloat16($0) }
    return #expect(throws: TesseraError.self) { try pruning.pruned(weights.span, outputs: outputs, inputs: inputs) }
  }

  private func wanda(_ norms: [Float]) -> Pruning { Pruning(sparsity: 0.5, criterion: .wanda(activationNorms: norms)) }

  @Test(arguments: [(0, 6), (6, 0), (-2, -3), (Int.max, 2)])
  func refusesShapes(outputs: Int, inputs: Int) {
    #expect(
      error(Pruning(sparsity: 0.5), outputs: outputs, inputs: inputs)
        == .invalidShape(what: "weights to prune", rows: outputs, columns: inputs))
  }

  @Test func refusesAWrongCount() {
    #expect(error(Pruning(sparsity: 0.5), inputs: 4) == .sizeMismatch(what: "weights to prune", expected: 8, got: 6))
  }

  @Test(arguments: [-0.1, 1.0001, .infinity])
  func refusesASparsityOutsideItsRange(sparsity: Double) {
    #expect(error(Pruning(sparsity: sparsity)) == .invalidSparsity(sparsity))
  }

  @Test func refusesASparsityThatIsNoNumber() {
    #expect(error(Pruning(sparsity: .nan))?.description == "sparsity nan is outside 0...1")
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func refusesWeightsThatAreNotFinite(weight: Float) {
    #expect(error(Pruning(sparsity: 0.5), [1, 2, 3, 4, weight, 6]) == .nonFiniteWeight(row: 1, column: 1))
  }

  @Test func refusesAWrongNumberOfNorms() {
    #expect(error(wanda([1, 2])) == .sizeMismatch(what: "activation norms", expected: 3, got: 2))
  }

  @Test(arguments: [-1, .infinity])
  func refusesNormsThatAreNone(norm: Float) {
    #expect(error(wanda([1, 2, norm])) == .invalidActivationNorm(column: 2, value: norm))
  }

  @Test func refusesANormThatIsNoNumber() {
    #expect(
      error(wanda([1, .nan, 2]))?.description == "the activation norm of column 1 is nan; norms must be finite and not negative")
  }

  @Test func leavesTheMatrixAloneWhenItThrows() {
    var weights = [1, 2, .nan].map { BFloat16($0) }
    let before = weights
    #expect(throws: TesseraError.nonFiniteWeight(row: 0, column: 2)) {
      var target = weights.mutableSpan
      try Pruning(sparsity: 1).prune(&target, outputs: 1, inputs: 3)
    }
    #expect(weights == before)
  }
}
