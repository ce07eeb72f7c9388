import Tessera
import Testing

@testable import TesseraCompression

/// Groups of 16 worked out by others, with unrounded scales and ties to the lower level.
@Suite struct GoldenGroupTests {
  struct Case: Sendable {
    let weights: [Float]
    /// For 5, -5, 8, -8: the mean squared error, and the codes as hexadecimal digits where they are known.
    let errors: [Double?]
    let codes: [String?]
    let winner: Int
  }

  static let cases = [
    Case(
      weights: [6, 5, 4, 3, 2, 1.5, 1, 0.5, 0, -0.5, -1, -1.5, -2, -3, -4, -6], errors: [0, 0.0625, 0.199219, nil],
      codes: ["7865432109abcdef", "7665432109abcdef", "8776543109bcdeff", "7776543109bcdef8"], winner: 0),
    Case(
      weights: [8, 6, 4, 3, 2, 1.5, 1, 0.5, 0, -0.5, -1, -1.5, -2, -3, -4, -6], errors: [0.090278, nil, 0, nil],
      codes: ["7654321109aabcde", nil, "8765432109abcdef", nil], winner: 2),
    Case(
      weights: [-10, 9.9, -8.2, 1, 2.5, -2.5, 0.5, -0.5, 7.4, -7.6, 3.1, 0, 12, -11, 5.1, 4.9],
      errors: [0.5125, 0.4875, 0.700781, 1.075781], codes: [nil, "86e12b096e307f54", nil, nil], winner: 1),
  ]

  private func quantizer(_ candidates: Range<Int>? = nil) -> Code4Quantizer {
    var quantizer = Code4Quantizer(.razerG128)
    quantizer.code4 = Code4Format(
      group: 16, scale: .f16Selector, values: quantizer.code4.values, specialValues: [5, -5, 8, -8])
    quantizer.comparison.tiesGoDown = true
    quantizer.comparison.exactScales = true
    quantizer.comparison.candidates = candidates
    return quantizer
  }

  private func hexadecimal(_ codes: [UInt8]) -> String { codes.map { String($0, radix: 16) }.joined() }

  /// Runs the search on one group and returns the mean squared error that it sees, and the codes.
  private func result(_ weights: [Float], _ candidates: Range<Int>? = nil) throws -> (error: Double, codes: String) {
    try weights.withUnsafeBufferPointer { weights in
      let job = try QuantizationJob(quantizer(candidates), weights, outputs: 1, inputs: 16)
      let rows = try job.run(on: nil, progress: nil)
      return (rows.error / 16, hexadecimal(job.matrix(rows).codes))
    }
  }

  @Test(arguments: cases.indices)
  func everySpecialValue(index: Int) throws {
    let golden = Self.cases[index]
    for candidate in 0..<4 {
      let (error, codes) = try result(golden.weights, candidate..<candidate + 1)
      if let expected = golden.errors[candidate] { #expect(abs(error - expected) < 1e-6, "candidate \(candidate)") }
      if let expected = golden.codes[candidate] { #expect(codes == expected, "candidate \(candidate)") }
    }
  }

  @Test(arguments: cases.indices)
  func theBestWins(index: Int) throws {
    let golden = Self.cases[index]
    let all = try result(golden.weights)
    #expect(try all == result(golden.weights, golden.winner..<golden.winner + 1))
  }
}
