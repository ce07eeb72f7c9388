import Tessera
import TesseraLayers
import TesseraModels

/// Reads linear layers of a GGUF or safetensors checkpoint, drops the smaller half of each row, and writes a packed file.
func compress(_ names: [String], of checkpoint: String, into path: String) throws {
  let source = try openWeights(checkpoint)
  let executor = try Executor()
  let tensors = try names.map { name in
    let (shape, weights) = (try source.shape(of: name), try source.bfloat16(name))
    let layer = try SparAMXLinear(
      weights.span, outputs: shape[0], inputs: shape[1], pruning: Pruning(sparsity: 0.5), on: executor)
    return layer.packedTensor(named: name)
  }
  try PackedFile.write(tensors, to: path)
}

/// A layer of the packed file. Its weights stay where they are mapped.
func layer(named name: String, in path: String) throws -> any PackedLinearLayer {
  try PackedFile.open(path).linearLayer(named: name)
}
