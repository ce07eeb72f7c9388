import Tessera

/// y = x W^T for `rows` rows of x. The weights are packed once and kept in a file, which any CPU can map and use in place.
func product(
  of x: [Float], rows: Int, by weights: [BFloat16], outputs: Int, inputs: Int, keptIn path: String
) throws -> [Float] {
  let packed = try BitmapWeights(packing: weights.span, outputs: outputs, inputs: inputs)
  try PackedFile.write([packed.packedTensor(named: "gate")], to: path)

  let mapped = try BitmapWeights(PackedFile.open(path).tensor(named: "gate"))
  let executor = try Executor()
  var y = [Float](repeating: 0, count: rows * outputs)
  var target = y.mutableSpan
  try executor.multiply(x.span, rows: rows, by: mapped, into: &target)
  return y
}
