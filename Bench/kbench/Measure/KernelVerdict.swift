internal import CKernels
internal import Tessera

/// Compares a kernel, run as it will be timed, with the scalar reference on some panels and rows of x.
enum KernelVerdict {
  private static let mostPanels = 4
  private static let mostRows = 16

  /// The largest error and its bound. Panels and rows are random but for the last of each, where tails are.
  static func check(
    _ variant: KernelVariant, on weights: any CopyableWeights, x: TestActivations, executor: Executor, seed: UInt64
  ) throws(TesseraError) -> Accuracy {
    var y = [Float](repeating: .nan, count: x.rows * weights.outputs)
    var target = y.mutableSpan
    try executor.multiply(x.values.span, rows: x.rows, by: weights, into: &target, variant: variant)

    var generator = SplitMix64(seed: seed)
    let rows = sample(of: x.rows, count: mostRows, &generator)
    let packed = try x.packed(rows: rows, layout: weights.activationLayout)
    let scaleBound = bound(of: variant, inputs: weights.inputs)
    var accuracy = Accuracy(error: 0, bound: scaleBound)
    for panel in sample(of: weights.panelCount, count: mostPanels, &generator) {
      let outputs = weights.rows(of: panel..<panel + 1)
      let reference = reference(weights, packed, rows: rows.count, panel: panel)
      let magnitudes = magnitudes(weights, packed, rows: rows.count, panel: panel)
      for (index, row) in rows.enumerated() {
        for output in outputs {
          let place = index * weights.outputs + output
          let difference = abs(Double(y[row * weights.outputs + output]) - Double(reference[place]))
          // Products below the smallest normal number may be flushed to zero.
          let flushed = Double(weights.inputs) * 0x1p-126
          let error = difference <= flushed ? 0 : difference / magnitudes[index * outputs.count + output - outputs.lowerBound]
          accuracy.error = error.isNaN ? .infinity : max(accuracy.error, error)
        }
      }
    }
    return accuracy
  }

  /// In units of sum |w||x|, by Docs/Numerics.md: K + 2 roundings are enough for any order of additions, and the reference adds
  /// two of its own. Of the worst case gamma(d) and the alarm 4 sqrt(d) u the smaller one holds, because the worst case of a long
  /// row would let a dropped element pass. int8 results and their reference are each within gamma(3).
  static func bound(of variant: KernelVariant, inputs: Int) -> Double {
    let unit = 0x1p-24
    let roundings = variant.formats == [.bitmapInt8] ? 6.0 : Double(inputs + 4)
    return min(roundings * unit / (1 - roundings * unit), 4 * roundings.squareRoot() * unit)
  }

  /// `count` different numbers below `total`, the last among them.
  private static func sample(of total: Int, count: Int, _ generator: inout SplitMix64) -> [Int] {
    guard total > count else { return Array(0..<total) }
    var chosen: Set<Int> = [total - 1]
    while chosen.count < count { chosen.insert(Int.random(in: 0..<total, using: &generator)) }
    return chosen.sorted()
  }

  /// What the scalar kernel says about one panel, in an array of all outputs.
  private static func reference(
    _ weights: some PackedWeights, _ x: PackedActivations, rows: Int, panel: Int
  ) -> [Float] {
    guard let scalar = KernelVariant.all(for: weights.format, activations: x.layout.type).last else {
      preconditionFailure("the list of \(weights.format) kernels is empty")
    }
    var y = [Float](repeating: .nan, count: rows * weights.outputs)
    y.withUnsafeMutableBytes { y in
      x.scales.withUnsafeBufferPointer { scales in
        guard let target = y.baseAddress else { return }
        let call = GEMMCall(
          ck_gemm_call(
            m: rows, n: weights.outputs, k: weights.inputs, x: x.region.base, x_stride: x.stride, x_scale: scales.baseAddress,
            bias: nil, y: target, y_stride: weights.outputs, y_type: .CK_F32))
        withUnsafeTemporaryAllocation(byteCount: max(1, weights.scratchByteCount(scalar, call)), alignment: 64) { scratch in
          weights.run(scalar, call, panels: panel..<panel + 1, scratch: scratch.baseAddress)
        }
      }
    }
    return y
  }

  /// sum |w||x| for each row of x and output of a panel.
  private static func magnitudes(_ weights: any CopyableWeights, _ x: PackedActivations, rows: Int, panel: Int) -> [Double] {
    let matrix = weights.dequantized(panels: panel..<panel + 1)
    let inputs = weights.inputs
    var sums: [Double] = []
    for row in 0..<rows {
      let values = x.row(row)
      for output in 0..<matrix.count / inputs {
        var sum = 0.0
        for column in 0..<inputs { sum += abs(matrix[output * inputs + column] * values[column]) }
        sums.append(sum)
      }
    }
    return sums
  }
}
