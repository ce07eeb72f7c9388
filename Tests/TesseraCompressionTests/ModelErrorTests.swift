import Tessera
import TesseraModels
import Testing

@testable import TesseraCompression

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The linear layers of a real model, whose folder or file TESSERA_QUANTIZER_MODEL names. Its weights should never have been
/// quantised: those of a 4-bit file lie on the grid of their own format.
@Suite struct ModelErrorTests {
  static let model: String? = getenv("TESSERA_QUANTIZER_MODEL").map { String(cString: $0) }

  @Test(.enabled(if: model != nil, "TESSERA_QUANTIZER_MODEL names no model"))
  func errorsOfAllLinearLayers() throws {
    let source = try openWeights(#require(Self.model))
    let pool = try ThreadPool(on: .current)
    let layers = try source.names.filter { $0.contains("_proj") }.map { name in
      (shape: try source.shape(of: name), weights: try source.float32(name))
    }
    let whole = layers.reduce(0.0) { $0 + $1.weights.reduce(0.0) { $0 + Double($1) * Double($1) } }
    #expect(!layers.isEmpty)
    print("relative squared error x 1e-3 of \(layers.count) matrices: nearest; with clips and a refit")
    for format in WeightFormat.code4Formats {
      let errors = try [
        Code4Quantizer(format), Code4Quantizer(format, refits: 1, clips: Code4Quantizer.usualClips),
      ].map { quantizer in
        try layers.reduce(0.0) { $0 + (try squaredError(quantizer, $1.weights, shape: $1.shape, on: pool)) } / whole * 1000
      }
      print("\(format), \(format.code4?.bitsPerWeight ?? 0) bits: \(errors[0]); \(errors[1])")
      #expect(errors[0] > 0 && errors[0] < 25 && errors[1] <= errors[0])
    }
  }

  /// As the search itself sums it.
  private func squaredError(
    _ quantizer: Code4Quantizer, _ weights: [Float], shape: [Int], on pool: ThreadPool
  ) throws -> Double {
    try weights.withUnsafeBufferPointer { weights in
      let job = try QuantizationJob(quantizer, weights, outputs: shape[0], inputs: shape[1])
      return try job.run(on: pool, progress: nil).error / Double(job.factor * job.factor)
    }
  }
}
