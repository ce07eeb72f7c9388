internal import Tessera
internal import TesseraCompression
public import TesseraModels

/// What became of a model: bytes, errors, ranks and densities, matrix by matrix.
public struct CompressionReport: Sendable, Equatable {
  public struct Matrix: Sendable, Equatable {
    /// As in Hugging Face checkpoints, without `.weight`.
    public let name: String
    /// Of the matrix, or of the part of low rank that gives latents.
    public let format: String
    /// All parts, factors of low rank included.
    public let byteCount: Int
    /// What dense bfloat16 would take.
    public let denseByteCount: Int
    /// Stored weights per weight of the matrix, or of its factors' first.
    public let density: Double
    /// Of the latent of each group; empty where the matrix is whole.
    public let ranks: [Int]
    /// What the ranks could be at most, in sum.
    public let outputs: Int
    /// ||W' - W||^2 / ||W||^2, all weights counting the same.
    public let weightError: Double
    /// The same of W x over the calibration text; nil without one, or where nobody asked for the inputs.
    public let outputError: Double?
  }

  public struct Layer: Sendable, Equatable {
    public let index: Int
    public let matrices: [Matrix]
    /// ||y' - y||^2 / ||y - x||^2 of the whole layer over the calibration text, y' from compressed and y from dense weights, on
    /// rows x that the compressed layers before it gave; nil without a text.
    public var outputError: Double?
  }

  /// The recipe's name.
  public let recipe: String
  public let layers: [Layer]
  public let head: Matrix
  /// How each layer's cache holds keys and values.
  public let caches: [CacheForm]
  /// Of the file that was written.
  public let byteCount: Int
  /// What the model takes in dense bfloat16.
  public let denseByteCount: Int
}

// MARK: One matrix

extension CompressionReport.Matrix {
  init(
    _ matrix: PackedMatrix, named name: String, of weights: [Float], moments: SecondMoments?, on pool: ThreadPool
  ) throws(CompressionError) {
    let tensor = matrix.tensor
    try self.init(
      name: name, format: tensor.format.rawValue, byteCount: tensor.byteCount, density: matrix.density, ranks: [],
      outputs: tensor.rows, weights: weights, elements: matrix.elements, moments: moments, on: pool)
  }

  /// - Parameter elements: what the compressed matrix stands for.
  init(
    name: String, format: String, byteCount: Int, density: Double, ranks: [Int], outputs: Int, weights: [Float],
    elements: [Float], moments: SecondMoments?, on pool: ThreadPool
  ) throws(CompressionError) {
    var (error, whole) = (0.0, 0.0)
    var difference = [Float](repeating: 0, count: weights.count)
    for index in weights.indices {
      difference[index] = elements[index] - weights[index]
      error += Double(difference[index]) * Double(difference[index])
      whole += Double(weights[index]) * Double(weights[index])
    }
    weightError = error == 0 ? 0 : error / whole
    outputError = try moments.map { moments throws(CompressionError) in
      let error = try moments.weightedError(difference.span, on: pool)
      return error == 0 ? 0 : error / (try moments.weightedError(weights.span, on: pool))
    }
    self.name = name
    self.format = format
    self.byteCount = byteCount
    self.density = density
    self.ranks = ranks
    self.outputs = outputs
    denseByteCount = 2 * weights.count
  }
}

// MARK: JSON

extension CompressionReport {
  /// The report as JSON.
  public var json: String {
    let caches = caches.map { form in
      func side(_ side: CacheForm.Side) -> JSONValue {
        .object([
          ("format", .string(side.format.rawValue)), ("ranks", .array((side.ranks ?? []).map { .integer($0) })),
        ])
      }
      return JSONValue.object([("keys", side(form.keys)), ("values", side(form.values))])
    }
    return JSONValue.object([
      ("recipe", .string(recipe)), ("bytes", .integer(byteCount)), ("dense_bf16_bytes", .integer(denseByteCount)),
      ("layers", .array(layers.map(\.value))), ("head", head.value), ("caches", .array(caches)),
    ]).text(indented: true) + "\n"
  }
}

extension CompressionReport.Layer {
  var value: JSONValue {
    .object([
      ("layer", .integer(index)), ("relative_output_error", outputError.map(JSONValue.double) ?? .null),
      ("matrices", .array(matrices.map(\.value))),
    ])
  }

  /// nil for what `value` did not write.
  init?(_ json: JSONValue) {
    guard let index = json["layer"]?.integer, let values = json["matrices"]?.array else { return nil }
    self.index = index
    matrices = values.compactMap(CompressionReport.Matrix.init)
    outputError = json["relative_output_error"]?.double
    guard matrices.count == values.count else { return nil }
  }
}

extension CompressionReport.Matrix {
  var value: JSONValue {
    .object([
      ("name", .string(name)), ("format", .string(format)), ("bytes", .integer(byteCount)),
      ("dense_bf16_bytes", .integer(denseByteCount)), ("density", .double(density)),
      ("ranks", .array(ranks.map { .integer($0) })), ("outputs", .integer(outputs)),
      ("relative_weight_error", .double(weightError)),
      ("relative_output_error", outputError.map(JSONValue.double) ?? .null),
    ])
  }

  init?(_ json: JSONValue) {
    guard let name = json["name"]?.string, let format = json["format"]?.string, let byteCount = json["bytes"]?.integer,
      let denseByteCount = json["dense_bf16_bytes"]?.integer, let density = json["density"]?.double,
      let ranks = json["ranks"]?.array, let outputs = json["outputs"]?.integer,
      let weightError = json["relative_weight_error"]?.double
    else { return nil }
    self.name = name
    self.format = format
    self.byteCount = byteCount
    self.denseByteCount = denseByteCount
    self.density = density
    self.ranks = ranks.compactMap(\.integer)
    self.outputs = outputs
    self.weightError = weightError
    outputError = json["relative_output_error"]?.double
  }
}
