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
      _ format: QuantizationFormat, _ expected: [Double], name: String? = nil, refits: Int = 0, clips: [Float] = [1],
      candidates: Range<Int>? = nil
    ) {
      var quantizer = Code4Quantizer(format, refits: refits, clips: clips)
      quantizer.comparison.candidates = candidates
      self.quantizer = quantizer
      self.name = name ?? format.name
      self.expected = expected
    }

    var description: String { name }
  }

  private static func f16(_ format: QuantizationFormat, _ group: Int) -> QuantizationFormat {
    QuantizationFormat(
      name: "\(format.specialValues.isEmpty ? "fp4" : "razer")-f16-g\(group)", group: group,
      scale: format.specialValues.isEmpty ? .f16 : .f16Selector, values: format.values, specialValues: format.specialValues)
  }

  private static func special(_ format: QuantizationFormat, _ name: String, _ values: [Float]) -> QuantizationFormat {
    QuantizationFormat(name: name, group: format.group, scale: format.scale, values: format.values, specialValues: values)
  }

  private static let samples = Distribution.allCases.map { ($0, $0.samples(1 << 18, seed: 1)) }

  static let rows: [Row] = [
    Row(.int4G128, [13.8, 25.6, 29.6], name: "int4-g128, symmetric", candidates: 0..<1),
    Row(.int4G32, [7.39, 11.4, 11.6], name: "int4-g32 as Q4_0", candidates: 1..<2),
    Row(.nf4G64, [8.45, 10.8, 10.9]),
    Row(.fp4G128, [11.9, 14.6, 15.2]),
    Row(.fp4G32, [10.2, 10.6, 10.4]),
    Row(f16(.fp4G32, 16), [8.86, 8.33, 8.26]),
    Row(.razerG128, [9.58, 11.4, 11.6]),
    Row(.razerG64, [8.46, 9.38, 9.38]),
    Row(f16(.razerG128, 32), [7.10, 7.32, 7.29]),
    Row(f16(.razerG128, 16), [5.48, 5.22, 5.26]),
    Row(.mxfp4, [13.2, 15.9, 15.9]),
    Row(special(.mxfp4, "mxfp4-razer", [5, -5, 8, -8]), [10.0, 11.3, 11.5]),
    Row(.nvfp4, [9.03, 8.60, 8.53]),
    Row(.razerG16, [5.66, 5.49, 5.53]),
    Row(special(.razerG16, "razer-g16, 5 and 7", [5, -5, 7, -7]), [5.42, 5.39, 5.44]),
    Row(special(.nvfp4, "nvfp4 with 5", [5, -5]), [6.21, 6.51, 6.54]),
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
    Row(f16(.razerG128, 16), [4.82], name: "razer-f16-g16, clips", clips: Code4Quantizer.usualClips),
    Row(f16(.razerG128, 32), [6.31], name: "razer-f16-g32, clips", clips: Code4Quantizer.usualClips),
  ]

  @Test(arguments: refined)
  func refiningTheScaleGains(row: Row) throws {
    let error = try row.quantizer.relativeError(Self.samples[0].1, outputs: 64, inputs: 4096) * 1000
    #expect(abs(error / row.expected[0] - 1) < 0.02, "\(row), seed 1: \(error) e-3, expected \(row.expected[0]) e-3")
  }

  /// Both ends of an asymmetric range are tried, and no option makes any format worse.
  @Test(arguments: QuantizationFormat.all)
  func optionsNeverHurt(format: QuantizationFormat) throws {
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
