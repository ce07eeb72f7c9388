import Tessera
import TesseraCalibration

@testable import TesseraCompression

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Random numbers that are the same in every run (splitmix64).
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }

  /// In 0..<1, never 0.
  mutating func uniform() -> Double { (Double(next() >> 11) + 0.5) * 0x1p-53 }

  mutating func gaussian() -> Double { (-2 * log(uniform())).squareRoot() * cos(2 * .pi * uniform()) }
}

/// Distributions of unit variance.
enum Distribution: String, CaseIterable, Sendable {
  case gauss, laplace, t5

  func samples(_ count: Int, seed: UInt64) -> [Float] {
    var random = SeededGenerator(seed: seed)
    return (0..<count).map { _ in Float(sample(&random)) }
  }

  private func sample(_ random: inout SeededGenerator) -> Double {
    switch self {
    case .gauss: return random.gaussian()
    case .laplace:
      let sign: Double = random.next() & 1 == 0 ? 1 : -1
      return sign * log(random.uniform()) / 2.0.squareRoot()
    case .t5:
      let normal = random.gaussian()
      let square = (0..<5).reduce(0.0) { sum, _ in
        let x = random.gaussian()
        return sum + x * x
      }
      // Student's t of 5 degrees of freedom has the variance 5/3.
      return normal / (square / 5).squareRoot() * 0.6.squareRoot()
    }
  }
}

func randomFloats(_ count: Int, seed: UInt64) -> [Float] { Distribution.gauss.samples(count, seed: seed) }

extension WeightFormat {
  static let code4Formats = allCases.filter { $0.code4 != nil }
}

/// Pools of one thread and, where the machine allows it, of two.
func pools() throws -> [ThreadPool] {
  try [1, 2].filter { $0 <= Machine.current.allowedCPUs.count }.map { try ThreadPool(threads: $0, cpus: nil) }
}

extension Code4Quantizer {
  func quantize(_ weights: [Float], outputs: Int, inputs: Int, on pool: ThreadPool? = nil) throws -> Code4Matrix {
    try quantize(weights.span, outputs: outputs, inputs: inputs, on: pool)
  }

  func relativeError(_ weights: [Float], outputs: Int, inputs: Int, on pool: ThreadPool? = nil) throws -> Double {
    try quantize(weights, outputs: outputs, inputs: inputs, on: pool).relativeSquaredError(to: weights.span)
  }
}

extension SecondMoments {
  mutating func add(_ activations: [Float], on pool: ThreadPool? = nil) throws { try add(activations.span, on: pool) }

  func weightedError(_ differences: [Float]) throws -> Double { try weightedError(differences.span) }
}
