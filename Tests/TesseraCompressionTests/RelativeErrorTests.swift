import Tessera
import Testing

@testable import TesseraCompression

/// Relative squared errors on 2^18 samples of unit variance beside independently computed ones, x 1e-3.
@Suite struct RelativeErrorTests {
  struct Row: Sendable, CustomStringConvertible {
    let quantizer: Code4Quantizer
    let name: String
    /// Gauss, Laplace, t5.
    let expected: [Double]

    init(
      _ format: WeightFormat, _ expected: [Double], name: String? = nil, code4: Code4Format? = nil, refits: Int = 0,
      clips: [Float] = [1], candidates: Range<Int>? = nil
    ) {
      var quantizer = Code4Quantizer(format, refits: refits, clips: clips)
      quantizer.code4 = code4 ?? quantizer.code4
      quantizer.comparison.candidates = candidates
      self.quantizer = quantizer
      self.name = name ?? format.rawValue
      self.expected = expected
    }

    var description: String { name }
  }

  /// `format` under fp16 scales for groups of another size.
  private static func f16(
    _ format: WeightFormat, group: Int, _ expected: [Double], clips: [Float] = [1]
  ) -> Row {
    let code4 = Code4Quantizer(format).code4
    let other = Code4Format(group: group, scale: code4.scale, values: code4.values, specialValues: code4.specialValues)
    return Row(format, expected, name: "\(format), but groups of \(group)", code4: other, clips: clips)
  }

  private static func special(_ format: WeightFormat, _ values: [Float], _ expected: [Double]) -> Row {
    let code4 = Code4Quantizer(format).code4
    let other = Code4Format(group: code4.group, scale: code4.scale, values: code4.values, specialValues: values)
    return Row(format, expected, name: "\(format) with \(values)", code4: other)
  }

  private static let samples = Distribution.allCases.map { ($0, $0.samples(1 << 18, seed: 1)) }

  static let rows: [Row] = [
    Row(.int4G128, [13.8, 25.6, 29.6], name: "int4-g128, symmetric", candidates: 0..<1),
    Row(.int4G32, [7.39, 11.4, 11.6], name: "int4-g32 as Q4_0", candidates: 1..<2),
    Row(.nf4G64, [8.45, 10.8, 10.9]),
    Row(.fp4G128, [11.9, 14.6, 15.2]),
    Row(.fp4G32, [10.2, 10.6, 10.4]),
    f16(.fp4G32, group: 16, [8.86, 8.33, 8.26]),
    Row(.razerG128, [9.58, 11.4, 11.6]),
    Row(.razerG64, [8.46, 9.38, 9.38]),
    f16(.razerG128, group: 32, [7.10, 7.32, 7.29]),
    f16(.razerG128, group: 16, [5.48, 5.22, 5.26]),
    Row(.mxfp4, [13.2, 15.9, 15.9]),
    special(.mxfp4, [5, -5, 8, -8], [10.0, 11.3, 11.5]),
    Row(.nvfp4, [9.03, 8.60, 8.53]),
    Row(.razerG16, [5.66, 5.49, 5.53]),
    special(.razerG16, [5, -5, 7, -7], [5.42, 5.39, 5.44]),
    special(.nvfp4, [5, -5], [6.21, 6.51, 6.54]),
  ]

  @Test(arguments: rows)
  func isThatOfOthers(row: Row) throws {
    for ((distribution, samples), expected) in zip(Self.samples, row.expected) {
      let error = try row.quantizer.relativeError(samples, outputs: 64, inputs: 4096) * 1000
      #expect(abs(error / expected - 1) < 0.02, "\(row) on \(distribution), seed 1: \(error) e-3, expected \(expected) e-3")
    }
  }

  static let refined: [Row] = [
    Row(.razerG128, [9.30], name: "razer-g128, refit", refits: 1),
    Row(.razerG128, [8.69], name: "razer-g128, clips", clips: Code4Quantizer.usualClips),
    f16(.razerG128, group: 16, [4.82], clips: Code4Quantizer.usualClips),
    f16(.razerG128, group: 32, [6.31], clips: Code4Quantizer.usualClips),
  ]

  @Test(arguments: refined)
  func refiningTheScaleGains(row: Row) throws {
    let error = try row.quantizer.relativeError(Self.samples[0].1, outputs: 64, inputs: 4096) * 1000
    #expect(abs(error / row.expected[0] - 1) < 0.02, "\(row), seed 1: \(error) e-3, expected \(row.expected[0]) e-3")
  }

  /// Both ends of an asymmetric range are tried, and no option makes any format worse.
  @Test(arguments: WeightFormat.code4Formats)
  func optionsNeverHurt(format: WeightFormat) throws {
    let samples = Distribution.t5.samples(1 << 14, seed: 3)
    func error(_ refits: Int, _ clips: [Float], candidates: Range<Int>? = nil) throws -> Double {
      var quantizer = Code4Quantizer(format, refits: refits, clips: clips)
      quantizer.comparison.candidates = candidates
      return try quantizer.relativeError(samples, outputs: 16, inputs: 1024)
    }
    let plain = try error(0, [1])
    #expect(try plain <= error(0, [1], candidates: 0..<1))
    #expect(try error(1, [1]) <= plain)
    #expect(try error(0, Code4Quantizer.usualClips) <= plain)
    #expect(try error(1, Code4Quantizer.usualClips) <= error(1, [1]))
  }
}
