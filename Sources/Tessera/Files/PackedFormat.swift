internal import CKernels

/// How a matrix is stored in a packed file: as packed weights, under the name of their `WeightFormat`, or plainly.
public enum PackedFormat: Sendable, Hashable, CaseIterable, RawRepresentable {
  /// As the header of the format's operation in CKernels/include lays it out.
  case weights(WeightFormat)
  /// Row-major bf16, not packed: embeddings.
  case plainBF16
  /// Row-major Float, not packed: norms.
  case plainF32
  /// Bytes: the small files that belong to a model.
  case plainU8

  public static let bf16 = PackedFormat.weights(.bf16)
  public static let bitmapBF16 = PackedFormat.weights(.bitmapBF16)
  public static let bitmapInt8 = PackedFormat.weights(.bitmapInt8)

  public static var allCases: [PackedFormat] { WeightFormat.allCases.map { .weights($0) } + [.plainBF16, .plainF32, .plainU8] }

  public init?(rawValue: String) {
    guard let format = PackedFormat.allCases.first(where: { $0.rawValue == rawValue }) else { return nil }
    self = format
  }

  public var rawValue: String {
    switch self {
    case .weights(let format): format.rawValue
    case .plainBF16: "plain-bf16"
    case .plainF32: "plain-f32"
    case .plainU8: "plain-u8"
    }
  }

  /// nil for the plain formats, which no kernel reads.
  public var weightFormat: WeightFormat? {
    if case .weights(let format) = self { format } else { nil }
  }
}

/// One safetensors tensor that a packed tensor consists of.
public struct PackedPart: Sendable, Equatable {
  /// `values`, `bitmap`, `offsets`, `row_scale`, `row_sum`, `codes`, `scales`, `tensor_scale`, `special_values` or `bias`.
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
  public var storesEveryElement: Bool { weightFormat?.storesEveryElement ?? true }

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
    return self == .plainU8 ? required : required + [bias]
  }

  private func requiredParts(rows: Int, columns: Int, elements: Int, nonZeroCount: Int) -> [PackedPart]? {
    let parts: [PackedPart?]
    switch self {
    case .weights(.bf16):
      parts = [PackedPart("values", .bf16, byteCount: ck_dense_packed_bytes(rows, columns))]
    case .weights(.bitmapBF16):
      parts = PackedFormat.bitmapParts(rows, columns, nonZeroCount, type: .CK_BF16, bitmap: .u32, values: .bf16)
    case .weights(.bitmapInt8):
      parts =
        PackedFormat.bitmapParts(rows, columns, nonZeroCount, type: .CK_INT8, bitmap: .u64, values: .i8)
        + [PackedPart("row_scale", .f32, count: rows), PackedPart("row_sum", .i32, count: rows)]
    case .weights(let format):
      guard let code4 = format.code4 else { return nil }
      parts = PackedFormat.code4Parts(rows, columns, code4, storedCount: storesEveryElement ? nil : nonZeroCount)
    case .plainBF16:
      parts = [PackedPart("values", .bf16, count: elements)]
    case .plainF32:
      parts = [PackedPart("values", .f32, count: elements)]
    case .plainU8:
      parts = [PackedPart("values", .u8, count: elements)]
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

  /// - Parameter storedCount: nil without a bitmap.
  private static func code4Parts(
    _ rows: Int, _ columns: Int, _ format: Code4Format, storedCount: Int?
  ) -> [PackedPart?] {
    let scaleBytes = ck_code4_scales_bytes(rows, columns, format.group, format.scale.cType)
    var parts: [PackedPart?] = []
    if let storedCount {
      parts = [
        PackedPart("codes", .u8, byteCount: ck_code4_stored_bytes(UInt64(storedCount))),
        PackedPart("bitmap", .u64, byteCount: ck_bitmap_bytes(rows, columns, .CK_INT8)),
        PackedPart("offsets", .u64, count: (rows - 1) / Int(CK_PANEL_ROWS) + 2),
      ]
    } else {
      parts = [PackedPart("codes", .u8, byteCount: ck_code4_codes_bytes(rows, columns))]
    }
    parts += [
      PackedPart("scales", format.scale.byteCount == 1 ? .u8 : .f16, byteCount: scaleBytes),
      PackedPart("tensor_scale", .f32, count: 1),
    ]
    return format.specialValues.isEmpty ? parts : parts + [PackedPart("special_values", .f32, count: 4)]
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
