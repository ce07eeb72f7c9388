package import CKernels

/// A weight matrix W of `outputs` rows and `inputs` columns in packed form: immutable, shareable, the same for every kernel,
/// thread count and number of rows of x.
public protocol PackedWeights: Sendable {
  /// N: rows of W, elements of a row of y.
  var outputs: Int { get }
  /// K: columns of W, elements of a row of x.
  var inputs: Int { get }
  /// How the elements are stored, and so which kernels can read them.
  var format: WeightFormat { get }
  /// The bytes that one multiplication reads: everything but the bias.
  var byteCount: Int { get }
  /// `outputs` floats added to each row of y, or nil.
  var bias: MemoryRegion? { get }

  /// Everything that a multiplication reads but the bias, for placing and copying it panel by panel.
  var parts: [WeightPart] { get }

  /// The weights of a tensor, using its parts in place after a check of everything that kernels rely on.
  /// - Throws: `WeightFileError.unsupportedType` when the tensor has another format, `corruptTensor` when its contents contradict
  ///   themselves; with the file and the tensor.
  init(_ tensor: PackedTensor) throws(WeightFileError)

  /// The weights under a name, ready to be written; the parts are shared, not copied.
  func packedTensor(named name: String) -> PackedTensor

  /// The bytes of panels 0 ..< panel, by which work is split between threads; `panel` lies in 0...panelCount.
  func bytes(beforePanel panel: Int) -> Int

  /// How its kernels want rows of x.
  var activationLayout: ActivationLayout { get }

  /// What each thread of a call needs beside its operands.
  func scratchByteCount(_ variant: KernelVariant, _ call: GEMMCall) -> Int

  /// Computes outputs 16 * panels.lowerBound ..< min(16 * panels.upperBound, outputs) of every row of x, with a kernel of this
  /// format. For `Executor`, which makes the call and the scratch memory.
  func run(_ variant: KernelVariant, _ call: GEMMCall, panels: Range<Int>, scratch: UnsafeMutableRawPointer?)
}

/// x, y and their sizes as kernels see them. Made by `Executor`; opaque to everyone else.
public struct GEMMCall {
  package var operands: ck_gemm_call
  package init(_ operands: ck_gemm_call) { self.operands = operands }
}

extension PackedWeights {
  /// The number of panels of 16 rows of W, the last of which may be incomplete.
  public var panelCount: Int { ck_panels(outputs) }

  /// How many times less this reads than dense bfloat16: the best speed-up that memory bandwidth allows.
  public var bestSpeedup: Double {
    Double(WeightFormat.denseByteCount(outputs: outputs, inputs: inputs)) / Double(byteCount)
  }

  /// The first panel that begins at or after a fraction of the bytes.
  package func panel(at fraction: Double) -> Int {
    let target = Double(bytes(beforePanel: panelCount)) * fraction
    var low = 0
    var high = panelCount
    while low < high {
      let middle = (low + high) / 2
      if Double(bytes(beforePanel: middle)) < target { low = middle + 1 } else { high = middle }
    }
    return low
  }
}

/// Sizes that come from outside: positive, and small enough that every byte count fits an Int.
func checkShape(_ what: String, rows: Int, columns: Int) throws(TesseraError) {
  guard rows > 0, columns > 0, ck_dense_packed_bytes(rows, columns) > 0, ck_dense_packed_bytes(rows, columns) <= Int.max / 4
  else { throw .invalidShape(what: what, rows: rows, columns: columns) }
}

/// The bias as packed weights keep it.
func biasRegion(_ bias: [Float]?, outputs: Int) throws(TesseraError) -> MemoryRegion? {
  guard let bias else { return nil }
  guard bias.count == outputs else { throw .sizeMismatch(what: "bias", expected: outputs, got: bias.count) }
  return try MemoryRegion(byteCount: outputs * MemoryLayout<Float>.stride) { bytes in
    bias.withUnsafeBytes { bytes.copyMemory(from: $0) }
  }
}
