import Tessera
import TesseraLayers
import Testing

@testable import TesseraCalibration
@testable import TesseraCompression

@Suite struct ErrorFeedbackTests {
  /// Inputs that move together: each is a mixture of a few common causes and a noise of its own.
  private func moments(inputs: Int, tokens: Int, seed: UInt64) throws -> SecondMoments {
    let causes = max(2, inputs / 8)
    let mixture = randomFloats(inputs * causes, seed: seed)
    let common = randomFloats(tokens * causes, seed: seed + 1)
    var x = randomFloats(tokens * inputs, seed: seed + 2).map { $0 * 0.5 }
    for token in 0..<tokens {
      for input in 0..<inputs {
        for cause in 0..<causes { x[token * inputs + input] += mixture[input * causes + cause] * common[token * causes + cause] }
        x[token * inputs + input] *= Float(1 + input % 5)
      }
    }
    var moments = try SecondMoments(inputs: inputs)
    try moments.add(x)
    return moments
  }

  private func weightedError(_ matrix: Code4Matrix, _ weights: [Float], _ moments: SecondMoments) throws -> Double {
    try moments.weightedError(zip(matrix.dequantized(), weights).map { $0 - $1 })
  }

  @Test(arguments: WeightFormat.code4Formats, Code4Quantizer.InputOrder.allCases)
  func lowersTheErrorOfOutputs(format: WeightFormat, order: Code4Quantizer.InputOrder) throws {
    let (outputs, inputs) = (40, 144)
    let weights = randomFloats(outputs * inputs, seed: 11)
    let moments = try moments(inputs: inputs, tokens: 400, seed: 12)
    let quantizer = Code4Quantizer(format)
    let nearest = try quantizer.quantize(weights, outputs: outputs, inputs: inputs)
    let corrected = try quantizer.quantize(
      weights.span, outputs: outputs, inputs: inputs, correctingErrorsBy: moments, order: order)
    let ratio = try weightedError(corrected, weights, moments) / weightedError(nearest, weights, moments)
    #expect(ratio < 0.75, "\(ratio)")
  }

  /// Without a link between inputs there is nothing to make up for.
  @Test(arguments: WeightFormat.code4Formats, Code4Quantizer.InputOrder.allCases)
  func independentInputsAreRoundedToTheNearest(format: WeightFormat, order: Code4Quantizer.InputOrder) throws {
    let (outputs, inputs) = (35, 150)
    let weights = randomFloats(outputs * inputs, seed: 13)
    let diagonal = (0..<inputs * inputs).map { $0 / inputs == $0 % inputs ? Double(1 + $0 % 13) : 0 }
    let moments = try SecondMoments(inputs: inputs, elements: diagonal)
    let quantizer = Code4Quantizer(format, refits: 1)
    let corrected = try quantizer.quantize(
      weights.span, outputs: outputs, inputs: inputs, correctingErrorsBy: moments, order: order)
    #expect(try corrected == quantizer.quantize(weights, outputs: outputs, inputs: inputs))
  }

  /// The definition, one input after the other in double, on groups whose scales do not depend on the order of sums.
  @Test(arguments: Code4Quantizer.InputOrder.allCases)
  func followsTheDefinition(order: Code4Quantizer.InputOrder) throws {
    let (outputs, inputs, damping) = (5, 300, 0.01)
    let weights = randomFloats(outputs * inputs, seed: 14)
    let moments = try moments(inputs: inputs, tokens: 700, seed: 15)
    let format = WeightFormat.razerG128
    let matrix = try Code4Quantizer(format).quantize(
      weights.span, outputs: outputs, inputs: inputs, correctingErrorsBy: moments, damping: damping, order: order)
    let factor = try InverseFactor(moments, damping: damping, descending: order == .descendingMoment)
    var differences = 0
    for row in 0..<outputs {
      var work = (0..<inputs).map { Double(weights[row * inputs + Int(factor.order[$0])]) }
      for position in 0..<inputs {
        let input = Int(factor.order[position])
        let bits = matrix.scales[row * matrix.groups + input / matrix.code4.group]
        let (selector, scale) = (matrix.code4.selector(bits: bits), matrix.code4.scale(bits: bits))
        let levels = (0..<16).map { Double(matrix.code4.value(code: $0, selector: selector) * scale) }
        let nearest = levels.min { abs($0 - work[position]) < abs($1 - work[position]) } ?? 0
        let value = levels[Int(matrix.codes[row * inputs + input])]
        if abs(value - work[position]) > abs(nearest - work[position]) + 1e-5 { differences += 1 }
        let error = (work[position] - value) / Double(factor.elements[position * inputs + position])
        for later in position..<inputs { work[later] -= error * Double(factor.elements[position * inputs + later]) }
      }
    }
    #expect(differences == 0)
  }

  @Test func theFactorIsThatOfTheInverse() throws {
    let n = 24
    let moments = try moments(inputs: n, tokens: 60, seed: 16)
    for descending in [false, true] {
      let factor = try InverseFactor(moments, damping: 0.05, descending: descending)
      let order = factor.order.map { Int($0) }
      let mean = (0..<n).reduce(0.0) { $0 + moments.elements[$1 * n + $1] } / Double(n)
      // (U^T U) (H + damping) = 1.
      for row in 0..<n {
        for column in 0..<n {
          var sum = 0.0
          for k in 0..<n {
            var inverse = 0.0
            for i in 0...min(row, k) { inverse += Double(factor.elements[i * n + row]) * Double(factor.elements[i * n + k]) }
            sum += inverse * (moments.elements[order[k] * n + order[column]] + (k == column ? 0.05 * mean : 0))
          }
          #expect(abs(sum - (row == column ? 1 : 0)) < 1e-3, "\(row), \(column)")
        }
      }
      if descending {
        let diagonal = order.map { moments.elements[$0 * n + $0] }
        #expect(diagonal == diagonal.sorted(by: >))
      }
      #expect(factor.places.enumerated().allSatisfy { order[Int($1)] == $0 })
    }
  }

  @Test func threadsChangeNothing() throws {
    let (outputs, inputs) = (70, 130)
    let weights = randomFloats(outputs * inputs, seed: 17)
    let moments = try moments(inputs: inputs, tokens: 200, seed: 18)
    let quantizer = Code4Quantizer(.razerG16, clips: [1, 0.9])
    func quantize(_ pool: ThreadPool?) throws -> Code4Matrix {
      try quantizer.quantize(
        weights.span, outputs: outputs, inputs: inputs, correctingErrorsBy: moments, order: .descendingMoment, on: pool)
    }
    let alone = try quantize(nil)
    for pool in try pools() { #expect(try quantize(pool) == alone) }
  }

  /// The bits of a row do not depend on its neighbours.
  @Test func rowsAreIndependent() throws {
    let inputs = 140
    let weights = randomFloats(50 * inputs, seed: 19)
    let moments = try moments(inputs: inputs, tokens: 200, seed: 20)
    let all = try Code4Quantizer(.fp4G32).quantize(weights.span, outputs: 50, inputs: inputs, correctingErrorsBy: moments)
    for row in [0, 31, 32, 49] {
      let alone = Array(weights[row * inputs..<(row + 1) * inputs])
      let matrix = try Code4Quantizer(.fp4G32).quantize(alone.span, outputs: 1, inputs: inputs, correctingErrorsBy: moments)
      #expect(matrix.codes == Array(all.codes[row * inputs..<(row + 1) * inputs]))
    }
  }

  /// d^T H d, of shapes that fill no block, on any number of threads.
  @Test func errorsAreWeightedByTheMoments() throws {
    for (rows, inputs) in [(1, 1), (3, 15), (4, 16), (9, 41)] {
      let moments = try moments(inputs: inputs, tokens: 50, seed: 28)
      let difference = randomFloats(rows * inputs, seed: 29)
      var expected = 0.0
      for row in 0..<rows {
        for i in 0..<inputs {
          for j in 0..<inputs {
            let product = Double(difference[row * inputs + i]) * Double(difference[row * inputs + j])
            expected += product * moments.elements[i * inputs + j]
          }
        }
      }
      let error = try moments.weightedError(difference.span)
      #expect(abs(error - expected) < 1e-10 * expected, "\(rows) x \(inputs)")
      for pool in try pools() { #expect(try moments.weightedError(difference.span, on: pool) == error) }
    }
  }

  // MARK: Dropped weights

  /// What was dropped stays 0, and what is kept makes up for it, rounded to 4 bits or not.
  @Test(arguments: Code4Quantizer.InputOrder.allCases)
  func keptWeightsMakeUpForDroppedOnes(order: Code4Quantizer.InputOrder) throws {
    let (outputs, inputs) = (40, 300)
    let weights = randomFloats(outputs * inputs, seed: 22)
    let moments = try moments(inputs: inputs, tokens: 700, seed: 23)
    let pruning = Pruning(
      sparsity: 0.5, criterion: .wanda(activationNorms: moments.diagonal.map { $0.squareRoot() }))
    let kept = try pruning.kept(weights.span, outputs: outputs, inputs: inputs)
    #expect(kept.count { $0 == 0 } == outputs * inputs / 2)
    func error(_ values: [Float]) throws -> Double { try moments.weightedError(zip(values, weights).map { $0 - $1 }) }

    let dropped = zip(weights, kept).map { $1 == 0 ? 0 : $0 }
    let repaired = try pruning.pruned(
      weights.span, outputs: outputs, inputs: inputs, correctingErrorsBy: moments, order: order)
    #expect(zip(repaired, kept).allSatisfy { ($0 == 0) == ($1 == 0) })
    let ratio = try error(repaired) / error(dropped)
    #expect(ratio < 0.6, "\(ratio)")

    let quantizer = Code4Quantizer(.bitmapRazerG128, refits: 1)
    let codes = try quantizer.quantize(
      weights.span, outputs: outputs, inputs: inputs, keeping: kept, correctingErrorsBy: moments, order: order)
    let values = codes.dequantized()
    #expect(zip(values, kept).allSatisfy { $1 != 0 || $0 == 0 })
    let plain = try quantizer.quantize(dropped, outputs: outputs, inputs: inputs)
    let codedRatio = try error(values) / error(plain.dequantized())
    #expect(codedRatio < 0.7, "\(codedRatio)")
  }

  /// The definition in double: every position's error, all of it where the weight is dropped, is taken from the later ones.
  @Test(arguments: Code4Quantizer.InputOrder.allCases)
  func droppingFollowsTheDefinition(order: Code4Quantizer.InputOrder) throws {
    let (outputs, inputs) = (35, 290)
    let weights = randomFloats(outputs * inputs, seed: 24)
    let moments = try moments(inputs: inputs, tokens: 700, seed: 25)
    let pruning = Pruning(sparsity: 0.3)
    let kept = try pruning.kept(weights.span, outputs: outputs, inputs: inputs)
    let factor = try InverseFactor(moments, damping: 0.01, descending: order == .descendingMoment)
    var largest = 0.0
    let values = try pruning.pruned(
      weights.span, outputs: outputs, inputs: inputs, correctingErrorsBy: moments, order: order)
    for row in 0..<outputs {
      var work = (0..<inputs).map { Double(weights[row * inputs + Int(factor.order[$0])]) }
      for position in 0..<inputs {
        let index = row * inputs + Int(factor.order[position])
        let target = kept[index] == 0 ? 0 : work[position]
        largest = max(largest, abs(Double(values[index]) - target))
        let error = (work[position] - target) / Double(factor.elements[position * inputs + position])
        for later in position..<inputs { work[later] -= error * Double(factor.elements[position * inputs + later]) }
      }
    }
    #expect(largest < 1e-4, "\(largest)")
  }

  @Test func threadsChangeNothingOfWhatIsKept() throws {
    let (outputs, inputs) = (70, 130)
    let weights = randomFloats(outputs * inputs, seed: 26)
    let moments = try moments(inputs: inputs, tokens: 200, seed: 27)
    func prune(_ executor: Executor?) throws -> [Float] {
      try Pruning(sparsity: 0.5).pruned(
        weights.span, outputs: outputs, inputs: inputs, correctingErrorsBy: moments, on: executor)
    }
    let alone = try prune(nil)
    for threads in [1, 2] { #expect(try prune(Executor(threads: threads)) == alone) }
  }

  @Test func refusesMarksOfAnotherLayer() throws {
    let weights: [Float] = [1, 2, 3, 4]
    #expect(throws: CompressionError.sizeMismatch(what: "marks of kept weights", expected: 4, got: 3)) {
      try Code4Quantizer(.fp4G32).quantize(
        weights.span, outputs: 2, inputs: 2, keeping: [1, 1, 0], correctingErrorsBy: SecondMoments(inputs: 2))
    }
  }

  @Test func refusesToPruneByMomentsOfAnotherLayer() throws {
    let weights: [Float] = [1, 2, 3, 4]
    func error(_ moments: SecondMoments, damping: Double = 0.01, sparsity: Double = 0.5) -> CompressionError? {
      #expect(throws: CompressionError.self) {
        try Pruning(sparsity: sparsity).pruned(
          weights.span, outputs: 2, inputs: 2, correctingErrorsBy: moments, damping: damping)
      }
    }
    #expect(try error(SecondMoments(inputs: 3)) == .sizeMismatch(what: "second moments", expected: 4, got: 9))
    #expect(try error(SecondMoments(inputs: 2), damping: 0) == .invalidOption(name: "the damping", value: 0))
    #expect(try error(SecondMoments(inputs: 2), sparsity: 2) == .packing(.invalidSparsity(2)))
    #expect(try error(SecondMoments(inputs: 2, elements: [1, 3, 3, 1])) == .notPositiveDefinite(column: 0))
  }

  @Test func nothingMeasuredIsRoundingToTheNearest() throws {
    let weights = randomFloats(3 * 40, seed: 21)
    let none = try SecondMoments(inputs: 40)
    let matrix = try Code4Quantizer(.razerG16).quantize(weights.span, outputs: 3, inputs: 40, correctingErrorsBy: none)
    #expect(try matrix == Code4Quantizer(.razerG16).quantize(weights, outputs: 3, inputs: 40))
  }

  // MARK: Bad input

  private func error(_ moments: SecondMoments, damping: Double = 0.01, weights: [Float] = [1, 2, 3, 4]) -> CompressionError? {
    #expect(throws: CompressionError.self) {
      try Code4Quantizer(.fp4G32).quantize(
        weights.span, outputs: 2, inputs: 2, correctingErrorsBy: moments, damping: damping)
    }
  }

  @Test func refusesMomentsOfAnotherLayer() throws {
    #expect(try error(SecondMoments(inputs: 3)) == .sizeMismatch(what: "second moments", expected: 4, got: 9))
  }

  @Test func refusesWhatIsNotPositiveDefinite() throws {
    #expect(try error(SecondMoments(inputs: 2, elements: [1, 3, 3, 1])) == .notPositiveDefinite(column: 0))
  }

  @Test(arguments: [0, -1, Double.infinity])
  func refusesADamping(damping: Double) throws {
    #expect(try error(SecondMoments(inputs: 2), damping: damping) == .invalidOption(name: "the damping", value: damping))
  }

  @Test func refusesAScaleThatOverflows() throws {
    let failure = try error(SecondMoments(inputs: 2), weights: [1, 2, 1e6, 4])
    #expect(failure == .scaleOverflow(format: "fp4-g32", row: 1, group: 0))
  }

  @Test func refusesMomentsThatAreNotFinite() {
    #expect(throws: CompressionError.nonFiniteMoment(row: 1, column: 0)) {
      try SecondMoments(inputs: 2, elements: [1, 0, .nan, 1])
    }
  }

  @Test func refusesAWrongNumberOfMoments() {
    #expect(throws: CompressionError.sizeMismatch(what: "second moments", expected: 4, got: 3)) {
      try SecondMoments(inputs: 2, elements: [1, 0, 1])
    }
  }

  @Test func refusesActivations() throws {
    var moments = try SecondMoments(inputs: 2)
    #expect(throws: CompressionError.sizeMismatch(what: "activations", expected: 4, got: 3)) {
      try moments.add([1, 2, 3])
    }
    #expect(throws: CompressionError.nonFiniteMoment(row: 1, column: 1)) { try moments.add([1, 2, 3, .infinity]) }
    #expect(moments.diagonal == [0, 0])
  }

  @Test func momentsAreSumsOfProducts() throws {
    var moments = try SecondMoments(inputs: 2)
    try moments.add([1, 2, 3, -4])
    for pool in try pools() { try moments.add([1, 0], on: pool) }
    let extra = Double(try pools().count)
    #expect(moments.elements == [10 + extra, -10, -10, 20])
    #expect(try moments.weightedError([1, 1]) == 10 + extra)
  }
}
