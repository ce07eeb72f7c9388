package import CKernels

/// One kernel of one operation for one instruction set.
public struct KernelVariant: Sendable, CustomStringConvertible {
  /// The kernel's symbol and file name: `bitmap_gemm_bf16_avx512bf16`.
  public let name: String
  /// What it computes.
  public let operation: Operation
  /// The formats of weights that it reads.
  public let formats: [WeightFormat]
  /// The rows of x that it reads.
  public let activations: ActivationType
  /// Every instruction-set extension that it needs.
  public let instructionSets: InstructionSet
  /// It computes any number of rows of x, and is chosen from this many on.
  public let minRows: Int
  package let kernel: Kernel

  package enum Kernel: Sendable {
    case dense(ck_dense_gemm_variant)
    case bitmap(ck_bitmap_gemm_variant)
    case code4(ck_code4_gemm_variant)
  }

  package init(_ variant: ck_dense_gemm_variant) {
    self.init(.denseGEMM, variant.name, [.bf16], .CK_BF16, variant.isa, variant.min_m, .dense(variant))
  }

  package init(_ variant: ck_bitmap_gemm_variant) {
    let format: WeightFormat = variant.type == .CK_INT8 ? .bitmapInt8 : .bitmapBF16
    self.init(.bitmapGEMM, variant.name, [format], variant.type, variant.isa, variant.min_m, .bitmap(variant))
  }

  package init(_ variant: ck_code4_gemm_variant) {
    let type = ActivationType(variant.x_type)
    let formats = WeightFormat.allCases.filter { format in
      format.code4.map { $0.group >= Int(variant.min_group) } == true && format.activations.contains(type)
    }
    self.init(.code4GEMM, variant.name, formats, variant.x_type, variant.isa, variant.min_m, .code4(variant))
  }

  private init(
    _ operation: Operation, _ name: UnsafePointer<CChar>, _ formats: [WeightFormat], _ xType: ck_type, _ isa: ck_isa,
    _ minRows: UInt32, _ kernel: Kernel
  ) {
    self.name = String(cString: name)
    self.operation = operation
    self.formats = formats
    activations = ActivationType(xType)
    instructionSets = InstructionSet(rawValue: isa)
    self.minRows = Int(minRows)
    self.kernel = kernel
  }

  /// The last part of the name: `scalar`, `avx2`, `avx512bf16`, ...
  public var isaTag: String { String(name[name.index(after: name.lastIndex(of: "_") ?? name.startIndex)...]) }

  /// Its name.
  public var description: String { name }

  /// Whether it multiplies rows of x of this type by weights of this format.
  public func multiplies(_ activations: ActivationType, by format: WeightFormat) -> Bool {
    self.activations == activations && formats.contains(format)
  }

  /// Every kernel in the library, best first for each format and type of activations, whether this machine can run it or not.
  public static let all: [KernelVariant] = {
    var denseCount = 0
    var bitmapCount = 0
    var code4Count = 0
    let dense = UnsafeBufferPointer(start: ck_dense_gemm_variants(&denseCount), count: denseCount)
    let bitmap = UnsafeBufferPointer(start: ck_bitmap_gemm_variants(&bitmapCount), count: bitmapCount)
    let code4 = UnsafeBufferPointer(start: ck_code4_gemm_variants(&code4Count), count: code4Count)
    return dense.map { KernelVariant($0) } + bitmap.map { KernelVariant($0) } + code4.map { KernelVariant($0) }
  }()

  /// The kernels that read a format, best first; the scalar reference is last.
  /// - Parameter activations: nil means the first type that the format's kernels read.
  public static func all(for format: WeightFormat, activations: ActivationType? = nil) -> [KernelVariant] {
    all.filter { $0.multiplies(activations ?? format.activations[0], by: format) }
  }
}
