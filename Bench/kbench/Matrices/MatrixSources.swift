internal import Tessera
internal import TesseraModels

/// Where a matrix comes from; loading is put off until its turn, because matrices are large.
struct MatrixSource {
  let shape: Shape
  let load: () throws(BenchError) -> SourceMatrix
}

/// The linear layers in a file of weights.
struct LayerFile {
  let source: any WeightSource

  struct Layer {
    let name: String
    let shape: Shape
  }

  init(_ path: String) throws(BenchError) {
    source = try LayerFile.reading { () throws(WeightFileError) in try openWeights(path) }
  }

  /// Without folders and extension.
  var name: String {
    let file = source.path.split(separator: "/").last.map(String.init) ?? source.path
    return file.lastIndex(of: ".").map { String(file[..<$0]) } ?? file
  }

  /// The matrices of the model's blocks, in the order of the file.
  var blockLayers: [Layer] {
    get throws(BenchError) {
      var layers: [Layer] = []
      for name in source.names where (name.contains("blk.") || name.contains("layers.")) && name.hasSuffix("weight") {
        if let layer = try layer(name) { layers.append(layer) }
      }
      guard !layers.isEmpty else { throw BenchError.failed("\(source.path) holds no matrices named as layers of blocks") }
      return layers
    }
  }

  /// The output layer, or the token embedding that stands in for it.
  var head: Layer? {
    get throws(BenchError) {
      let known = ["output.weight", "lm_head.weight", "token_embd.weight", "model.embed_tokens.weight"]
      guard let name = known.first(where: source.names.contains) else { return nil }
      return try layer(name)
    }
  }

  func matrix(_ layer: Layer) throws(BenchError) -> SourceMatrix {
    let values = try LayerFile.reading { () throws(WeightFileError) in try source.bfloat16(layer.name) }
    return SourceMatrix(shape: layer.shape, tensor: layer.name, values: values)
  }

  private func layer(_ name: String) throws(BenchError) -> Layer? {
    let shape = try LayerFile.reading { () throws(WeightFileError) in try source.shape(of: name) }
    guard shape.count == 2, shape[0] > 1, shape[1] > 1 else { return nil }
    return Layer(name: name, shape: Shape(outputs: shape[0], inputs: shape[1]))
  }

  private static func reading<Value>(_ body: () throws(WeightFileError) -> Value) throws(BenchError) -> Value {
    do throws(WeightFileError) {
      return try body()
    } catch {
      throw BenchError.failed("\(error)")
    }
  }
}

extension Bench {
  /// Random matrices of the shapes asked for, or of each shape in the file the first matrix.
  func matrixSources(in file: LayerFile?) throws(BenchError) -> [MatrixSource] {
    let (seed, pool) = (settings.seed, executor.pool)
    guard let file else {
      return settings.shapes.map { shape in
        MatrixSource(shape: shape) { SourceMatrix(random: shape, seed: seed, on: pool) }
      }
    }
    var sources: [MatrixSource] = []
    for layer in try file.blockLayers
    where (settings.shapes.isEmpty || settings.shapes.contains(layer.shape))
      && !sources.contains(where: { $0.shape == layer.shape })
    {
      sources.append(MatrixSource(shape: layer.shape) { () throws(BenchError) in try file.matrix(layer) })
    }
    guard !sources.isEmpty else {
      throw BenchError.failed(
        "\(file.source.path) holds no block layer of the shapes \(settings.shapes.map(\.description).joined(separator: ", "))")
    }
    return sources
  }
}
