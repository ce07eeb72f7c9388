internal import CKernels

/// How a matrix is stored in a packed file: as packed weights, under the name of their `WeightFormat`, or plainly.
public enum PackedFormat: String, Sendable, Hashable, CaseIterable {
  /// Panels of bf16 (CKernels/include/ck_dense_gemm.h).
  case bf16
  /// Bitmap and the non-zero bf16 (CKernels/include/ck_bitmap_gemm.h).
  case bitmapBF16 = "bitmap-bf16"
  /// Bitmap and the non-zero int8, with a scale and a sum per row (CKernels/include/ck_bitmap_gemm.h).
  case bitmapInt8 = "bitmap-int8"
  /// Row-major bf16, not packed: embeddings.
  case plainBF16 = "plain-bf16"
  /// Row-major Float, not packed: norms.
  case plainF32 = "plain-f32"
}

/// One safetensors tensor that a packed tensor consists of.
public struct PackedPart: Sendable, Equatable {
  /// `values`, `bitmap`, `offsets`, `row_scale`, `row_sum` or `bias`.
  public let name: String
  /// The type of its elements.
  public let type: SafetensorsType
  /// Its exact size.
  public let byteCount: Int
  /// Whether a tensor is whole without it, as without a bias.
  public let isOptional: Bool

  /// Every part is one-dimensional.
  var shape: [Int] { [byteCount / (type.bitCount / 8)] }
}

extension PackedFormat {
  /// Whether every element is stored, so that the count of stored values is rows x columns.
  public var storesEveryElement: Bool {
    switch self {
    case .bf16, .plainBF16, .plainF32: true
    case .bitmapBF16, .bitmapInt8: false
    }
  }

  /// The parts of a matrix in the order of the file, with their exact sizes: the one size formula for packer, writer and reader.
  /// - Returns: nil when a size is not positive, does not fit, or when no such matrix can have that many stored values.
  public func parts(rows: Int, columns: Int, nonZeroCount: Int) -> [PackedPart]? {
    guard rows > 0, columns > 0, nonZeroCount >= 0 else { return nil }
    let (elements, wraps) = rows.multipliedReportingOverflow(by: columns)
    guard !wraps, storesEveryElement ? nonZeroCount == elements : nonZeroCount <= elements else { return nil }
    guard
      let required = requiredParts(rows: rows, columns: columns, elements: elements, nonZeroCount: nonZeroCount),
      let bias = PackedPart("bias", .f32, count: rows, isOptional: true)
    else { return nil }
    return required + [bias]
  }

  private func requiredParts(rows: Int, columns: Int, elements: Int, nonZeroCount: Int) -> [PackedPart]? {
    let parts: [PackedPart?]
    switch self {
    case .bf16:
      parts = [PackedPart("values", .bf16, byteCount: ck_dense_packed_bytes(rows, columns))]
    case .bitmapBF16:
      parts = PackedFormat.bitmapParts(rows, columns, nonZeroCount, type: .CK_BF16, bitmap: .u32, values: .bf16)
    case .bitmapInt8:
      parts =
        PackedFormat.bitmapParts(rows, columns, nonZeroCount, type: .CK_INT8, bitmap: .u64, values: .i8)
        + [PackedPart("row_scale", .f32, count: rows), PackedPart("row_sum", .i32, count: rows)]
    case .plainBF16:
      parts = [PackedPart("values", .bf16, count: elements)]
    case .plainF32:
      parts = [PackedPart("values", .f32, count: elements)]
    }
    let sized = parts.compactMap(\.self)
    return sized.count == parts.count ? sized : nil
  }

  private static func bitmapParts(
    _ rows: Int, _ columns: Int, _ nonZeroCount: Int, type: ck_type, bitmap: SafetensorsType, values: SafetensorsType
  ) -> [PackedPart?] {
    [
      PackedPart("values", values, byteCount: ck_bitmap_values_bytes(UInt64(nonZeroCount), type)),
      PackedPart("bitmap", bitmap, byteCount: ck_bitmap_bytes(rows, columns, type)),
      PackedPart("offsets", .u64, count: (rows - 1) / Int(CK_PANEL_ROWS) + 2),
    ]
  }
}

extension PackedPart {
  /// nil for the 0 or the negative number by which the C formulas say that a size does not fit.
  fileprivate init?(_ name: String, _ type: SafetensorsType, byteCount: Int) {
    guard byteCount > 0 else { return nil }
    self.init(name: name, type: type, byteCount: byteCount, isOptional: false)
  }

  fileprivate init?(_ name: String, _ type: SafetensorsType, count: Int, isOptional: Bool = false) {
    let (byteCount, wraps) = count.multipliedReportingOverflow(by: type.bitCount / 8)
    guard !wraps else { return nil }
    self.init(name: name, type: type, byteCount: byteCount, isOptional: isOptional)
  }
}
