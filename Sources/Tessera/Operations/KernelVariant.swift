package import CKernels

/// One kernel of one operation for one instruction set.
public struct KernelVariant: Sendable, CustomStringConvertible {
  /// The kernel's symbol and file name: `bitmap_gemm_bf16_avx512bf16`.
  public let name: String
  /// The weights that it reads.
  public let format: WeightFormat
  /// Every instruction-set extension that it needs.
  public let instructionSets: InstructionSet
  /// It computes any number of rows of x, and is chosen from this many on.
  public let minRows: Int
  package let kernel: Kernel

  package enum Kernel: Sendable {
    case dense(ck_dense_gemm_variant)
    case bitmap(ck_bitmap_gemm_variant)
  }

  package init(_ variant: ck_dense_gemm_variant) {
    name = String(cString: variant.name)
    format = .bf16
    instructionSets = InstructionSet(rawValue: variant.isa)
    minRows = Int(variant.min_m)
    kernel = .dense(variant)
  }

  package init(_ variant: ck_bitmap_gemm_variant) {
    name = String(cString: variant.name)
    format = variant.type == .CK_INT8 ? .bitmapInt8 : .bitmapBF16
    instructionSets = InstructionSet(rawValue: variant.isa)
    minRows = Int(variant.min_m)
    kernel = .bitmap(variant)
  }

  /// What it computes.
  public var operation: Operation { format.operation }

  /// The last part of the name: `scalar`, `avx2`, `avx512bf16`, ...
  public var isaTag: String { String(name[name.index(after: name.lastIndex(of: "_") ?? name.startIndex)...]) }

  /// Its name.
  public var description: String { name }

  /// Every kernel in the library, best first for each format, whether this machine can run it or not.
  public static let all: [KernelVariant] = {
    var denseCount = 0
    var bitmapCount = 0
    let dense = UnsafeBufferPointer(start: ck_dense_gemm_variants(&denseCount), count: denseCount)
    let bitmap = UnsafeBufferPointer(start: ck_bitmap_gemm_variants(&bitmapCount), count: bitmapCount)
    return dense.map { KernelVariant($0) } + bitmap.map { KernelVariant($0) }
  }()

  /// The kernels that read a format, best first; the scalar reference is last.
  public static func all(for format: WeightFormat) -> [KernelVariant] { all.filter { $0.format == format } }

  package func scratchByteCount(for call: GEMMCall) -> Int {
    withUnsafePointer(to: call.operands) { operands in
      switch kernel {
      case .dense(let variant): variant.scratch_bytes(operands)
      case .bitmap(let variant): variant.scratch_bytes(operands)
      }
    }
  }
}
