internal import CKernels

extension DenseWeights {
  /// Row `row` of the matrix as floats: a token's embedding, where the packed matrix is also the head.
  /// - Parameters:
  ///   - target: where it goes.
  ///   - place: the first of its `inputs` elements there.
  /// - Precondition: the row lies in 0..<`outputs`, and its elements in the target.
  public func copyRow(_ row: Int, into target: inout MutableSpan<Float>, at place: Int) {
    precondition((0..<outputs).contains(row), "row \(row) of \(outputs)")
    precondition(place >= 0 && target.count - place >= inputs, "\(inputs) elements at \(place) of \(target.count)")
    let rows = Int(CK_PANEL_ROWS)
    let panel = row / rows * rows * ck_k_padded(inputs, .CK_BF16) + row % rows * 2
    target.withUnsafeMutableBufferPointer { target in
      let elements = values.base.assumingMemoryBound(to: UInt16.self) + panel
      for column in 0..<inputs {
        target[place + column] = Float(BFloat16(bits: elements[column / 2 * rows * 2 + column % 2]))
      }
    }
    withExtendedLifetime(values) {}
  }
}
