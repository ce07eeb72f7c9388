/// How a weight matrix is stored. The raw value is the name used in files, tables and reports.
public enum WeightFormat: String, Sendable, CaseIterable, Codable, CustomStringConvertible {
  /// Every element, bfloat16: 2 bytes per weight.
  case bf16
  /// A bit per element and the non-zero bfloat16 values: 2 (1 - sparsity) + 1/8 bytes per weight.
  case bitmapBF16 = "bitmap-bf16"
  /// A bit per element and the non-zero int8 values with one scale per row: (1 - sparsity) + 1/8 bytes per weight.
  case bitmapInt8 = "bitmap-int8"

  /// The raw value.
  public var description: String { rawValue }

  /// The operation that multiplies by it.
  public var operation: Operation {
    switch self {
    case .bf16: .denseGEMM
    case .bitmapBF16, .bitmapInt8: .bitmapGEMM
    }
  }

  /// The bytes that a dense bfloat16 matrix of this shape has, without padding: what one multiplication by it reads.
  public static func denseByteCount(outputs: Int, inputs: Int) -> Int { outputs * inputs * 2 }
}

/// A family of kernels that computes one thing. The raw value is the name of its folder in CKernels.
public enum Operation: String, Sendable, CaseIterable, Codable, CustomStringConvertible {
  /// Y = X W^T with every element of W stored.
  case denseGEMM = "dense_gemm"
  /// Y = X W^T with a bit for every element of W and the values that are not zero.
  case bitmapGEMM = "bitmap_gemm"

  /// The raw value.
  public var description: String { rawValue }
}
