internal import CKernels
internal import Foundation
@testable internal import KernelChecks
internal import Testing

@testable internal import Tessera

/// RMSNorm, SwiGLU and sums: every form of them against the definition in double, on memory that ends at an inaccessible page.
@Suite struct ElementwiseTests {
  struct Functions: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let functions: ck_elementwise

    static let all: [Functions] = {
      var count = 0
      let all = UnsafeBufferPointer(start: ck_elementwise_functions(&count), count: count)
      return all.compactMap { functions in
        let needed = InstructionSet(rawValue: functions.isa)
        return InstructionSet.detect().isSuperset(of: needed)
          ? Functions(testDescription: needed.description, functions: functions) : nil
      }
    }()
  }

  static let lengths = [1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, 100, 576, 4096]

  private static func numbers(_ count: Int, _ range: ClosedRange<Float>, seed: UInt64) -> [Float] {
    var random = SeededGenerator(seed: seed)
    return (0..<count).map { _ in Float.random(in: range, using: &random) }
  }

  /// Runs `body` over two operands, the first of which it changes, each between guard pages.
  private func run(
    _ target: [Float], _ source: [Float], guardPage: KernelCase.Guard = .after,
    _ body: (UnsafeMutablePointer<Float>, UnsafePointer<Float>) -> Void
  ) throws -> [Float] {
    let into = try #require(GuardedBuffer(copying: target, guardPage: guardPage))
    let from = try #require(GuardedBuffer(copying: source, guardPage: guardPage))
    from.freeze()
    body(into.pointer(to: Float.self), from.pointer(to: Float.self))
    #expect(into.surroundingsAreUntouched)
    return Array(UnsafeBufferPointer(start: into.pointer(to: Float.self), count: target.count))
  }

  /// The sum of n squares in 32 chains is off by n / 32 + 8 roundings at most; the rest by a few.
  @Test(arguments: Functions.all, lengths)
  func normHasItsDefinition(functions: Functions, length: Int) throws {
    let x = ElementwiseTests.numbers(length, -3...3, seed: UInt64(length))
    let weight = ElementwiseTests.numbers(length, -2...2, seed: 99)
    let y = try run([Float](repeating: .nan, count: length), x) { y, x in
      weight.withUnsafeBufferPointer { functions.functions.rms_norm(length, x, $0.baseAddress!, 1e-5, y) }
    }
    let mean = x.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(length)
    let bound = (Double(length) / 32 + 16) * 0x1p-24
    for (got, (x, weight)) in zip(y, zip(x, weight)) {
      let exact = Double(x) * Double(weight) / (mean + Double(Float(1e-5))).squareRoot()
      #expect(abs(Double(got) - exact) <= bound * abs(exact))
    }
    let inPlace = try run(x, weight) { x, weight in functions.functions.rms_norm(length, x, weight, 1e-5, x) }
    #expect(inPlace == y)
  }

  /// The argument of the power is off by 1.5 roundings, which the power magnifies |gate| times; the power itself by 2 to 4, the
  /// rest by 3. Where the power is infinite the vector forms give 0, which is off by less than 2^-115.
  @Test(arguments: Functions.all, lengths)
  func swigluHasItsDefinition(functions: Functions, length: Int) throws {
    let gate = ElementwiseTests.numbers(length, -20...20, seed: UInt64(length)).enumerated().map { index, value in
      index % 5 == 4 ? [Float](arrayLiteral: -100, 100, 0, -88, 1e-30)[index / 5 % 5] : value
    }
    let up = ElementwiseTests.numbers(length, -4...4, seed: 98)
    let y = try run(gate, up) { functions.functions.swiglu(length, $0, $1) }
    for (got, (gate, up)) in zip(y, zip(gate, up)) {
      let exact = Double(gate) / (1 + exp(-Double(gate))) * Double(up)
      let bound = (1.5 * abs(Double(gate)) + 8) * 0x1p-24
      #expect(abs(Double(got) - exact) <= bound * abs(exact) + 0x1p-115, "\(gate), \(up)")
    }
  }

  @Test(arguments: Functions.all, lengths)
  func sumsAreExact(functions: Functions, length: Int) throws {
    let (x, delta) = (ElementwiseTests.numbers(length, -3...3, seed: 1), ElementwiseTests.numbers(length, -3...3, seed: 2))
    #expect(try run(x, delta) { functions.functions.add(length, $0, $1) } == zip(x, delta).map { $0 + $1 })
  }

  @Test(arguments: Functions.all)
  func nothingIsWrittenOfNothingAndNaNSpreads(functions: Functions) throws {
    #expect(try run([7], [1]) { functions.functions.add(0, $0, $1) } == [7])
    #expect(try run([7], [1]) { functions.functions.swiglu(0, $0, $1) } == [7])
    #expect(try run([.nan, 1], [1, .nan]) { functions.functions.swiglu(2, $0, $1) }.allSatisfy(\.isNaN))
    #expect(try run([.nan, 1, 2], [1, 1, 1]) { functions.functions.rms_norm(3, $0, $1, 1e-5, $0) }.allSatisfy(\.isNaN))
  }

  /// One thread or several, few rows or many: the same bits.
  @Test func threadsChangeNothing() throws {
    let (rows, width) = (67, 700)
    let x = ElementwiseTests.numbers(rows * width, -3...3, seed: 3)
    let other = ElementwiseTests.numbers(rows * width, -3...3, seed: 4)
    let weight = ElementwiseTests.numbers(width, -1...1, seed: 5)
    func results(threads: Int) throws -> [[Float]] {
      let executor = try Executor(threads: threads)
      var (normed, gated, sum) = ([Float](repeating: .nan, count: x.count), x, x)
      var target = normed.mutableSpan
      try executor.normalize(x.span, weight: weight.span, epsilon: 1e-6, into: &target)
      var gate = gated.mutableSpan
      try executor.gate(&gate, with: other.span)
      var total = sum.mutableSpan
      try executor.add(other.span, to: &total)
      return [normed, gated, sum]
    }
    let expected = try results(threads: 1)
    #expect(try results(threads: min(2, Machine.current.allowedCPUs.count)) == expected)
    let executor = try Executor(threads: 1)
    var row = [Float](repeating: .nan, count: width)
    var target = row.mutableSpan
    try executor.normalize(x.span.extracting(width..<2 * width), weight: weight.span, epsilon: 1e-6, into: &target)
    #expect(row == Array(expected[0][width..<2 * width]))
  }

  @Test func sizesAreCompared() throws {
    let executor = try Executor(threads: 1)
    let (x, weight) = ([Float](repeating: 1, count: 10), [Float](repeating: 1, count: 4))
    var y = [Float](repeating: 0, count: 10)
    #expect(throws: TesseraError.sizeMismatch(what: "x", expected: 12, got: 10)) {
      var target = y.mutableSpan
      try executor.normalize(x.span, weight: weight.span, epsilon: 0, into: &target)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "y", expected: 4, got: 10)) {
      var target = y.mutableSpan
      try executor.add(weight.span, to: &target)
    }
    #expect(throws: TesseraError.invalidShape(what: "norm", rows: 1, columns: 0)) {
      var target = y.mutableSpan
      try executor.normalize(x.span, weight: [Float]().span, epsilon: 0, into: &target)
    }
  }
}
