/// How a weight matrix is stored. The raw value is the name used in files, tables and reports.
public enum WeightFormat: String, Sendable, CaseIterable, Codable, CustomStringConvertible {
  /// Every element, bfloat16: 2 bytes per weight.
  case bf16
  /// A bit per element and the non-zero bfloat16 values: 2 (1 - sparsity) + 1/8 bytes per weight.
  case bitmapBF16 = "bitmap-bf16"
  /// A bit per element and the non-zero int8 values with one scale per row: (1 - sparsity) + 1/8 bytes per weight.
  case bitmapInt8 = "bitmap-int8"
  /// RaZeR, groups of 16, a byte of scale and selector for each: 4.5 bits per weight.
  case razerG16 = "razer-g16"
  /// RaZeR, groups of 32, a byte of scale and selector for each: 4.25 bits per weight.
  case razerG32 = "razer-g32"
  /// RaZeR, groups of 64, fp16 scales that hold the selector: 4.25 bits per weight.
  case razerG64 = "razer-g64"
  /// RaZeR, groups of 128, fp16 scales that hold the selector: 4.125 bits per weight.
  case razerG128 = "razer-g128"
  /// `razerG128` with a bit per weight, the codes of zeros left out: 1.125 + 4 (1 - sparsity) bits per weight.
  case bitmapRazerG128 = "bitmap-razer-g128"
  /// FP4 (E2M1), groups of 32, fp16 scales: 4.5 bits per weight.
  case fp4G32 = "fp4-g32"
  /// FP4, groups of 128, fp16 scales: 4.125 bits per weight.
  case fp4G128 = "fp4-g128"
  /// FP4, groups of 16, E4M3 scales and one for the tensor: 4.5 bits per weight.
  case nvfp4
  /// FP4, groups of 32, powers of two as scales: 4.25 bits per weight.
  case mxfp4
  /// NormalFloat, groups of 64, fp16 scales: 4.25 bits per weight.
  case nf4G64 = "nf4-g64"
  /// The non-linear table of IQ4_NL, groups of 32, fp16 scales: 4.5 bits per weight.
  case iq4NL = "iq4-nl"
  /// -8...7, groups of 32, fp16 scales (Q4_0): 4.5 bits per weight.
  case int4G32 = "int4-g32"
  /// -8...7, groups of 128, fp16 scales: 4.125 bits per weight.
  case int4G128 = "int4-g128"

  /// The raw value.
  public var description: String { rawValue }

  /// The operation that multiplies by it.
  public var operation: Operation {
    switch self {
    case .bf16: .denseGEMM
    case .bitmapBF16, .bitmapInt8: .bitmapGEMM
    case .razerG16, .razerG32, .razerG64, .razerG128, .bitmapRazerG128, .fp4G32, .fp4G128, .nvfp4, .mxfp4, .nf4G64, .iq4NL,
      .int4G32, .int4G128:
      .code4GEMM
    }
  }

  /// What rows of x its kernels can read; the first is taken when nobody says.
  public var activations: [ActivationType] {
    switch self {
    case .bf16, .bitmapBF16: [.bfloat16]
    case .bitmapInt8: [.int8]
    default: code4?.hasIntegerValues == true ? [.bfloat16, .int16, .int8] : [.bfloat16]
    }
  }

  /// Whether every element is stored, zeros too; otherwise the size depends on how many there are.
  public var storesEveryElement: Bool {
    switch self {
    case .bitmapBF16, .bitmapInt8, .bitmapRazerG128: false
    default: true
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
  case code4GEMM = "code4_gemm"

  /// The raw value.
  public var description: String { rawValue }
}
