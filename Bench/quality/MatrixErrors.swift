internal import Tessera
internal import TesseraCalibration
internal import TesseraCompression
internal import TesseraModels

/// What matrices lose when they are compressed, each relative to itself.
struct MatrixErrors: Codable, Sendable {
  /// sum (w' - w)^2 over sum w^2.
  var weights: Double
  /// The same of the products with calibration inputs.
  var outputs: Double
}

/// Adds up the errors of a model's matrices while they are made, one after the other.
final class ErrorCollector {
  private var sums = MatrixErrors(weights: 0, outputs: 0)
  private var count = 0.0

  var mean: MatrixErrors? {
    count > 0 ? MatrixErrors(weights: sums.weights / count, outputs: sums.outputs / count) : nil
  }

  func add(
    _ elements: [Float], _ matrix: LlamaMatrix, _ moments: SecondMoments, on pool: ThreadPool
  ) throws(CompressionError) {
    let weights = matrix.weights.map { Float($0) }
    let difference = zip(elements, weights).map { $0 - $1 }
    func squares(_ values: [Float]) -> Double { values.reduce(0) { $0 + Double($1) * Double($1) } }
    sums.weights += squares(difference) / squares(weights)
    sums.outputs += try moments.weightedError(difference.span, on: pool) / moments.weightedError(weights.span, on: pool)
    count += 1
  }
}
