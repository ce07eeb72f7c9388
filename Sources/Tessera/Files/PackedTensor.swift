/// One weight matrix in packed form: its description, and its parts where they lie in memory or in a mapped file.
public struct PackedTensor: Sendable {
  /// Where the parts come from, and so whether kernels may believe them.
  public enum Origin: Sendable, Equatable {
    /// Packed by this process.
    case memory
    /// Read from a file. Sizes and types are checked, the contents are not, and kernels trust them: they advance through the
    /// values by counting bitmap bits. `weights()` is the way to a kernel and checks them; whoever builds weights from the parts
    /// in another way must do so through the validating initialisers of `DenseWeights` and `BitmapWeights`, and there are no
    /// others.
    case file(path: String)
  }

  /// What the tensor is called in its file; its parts are called `name.PART`.
  public let name: String
  /// How it is stored.
  public let format: PackedFormat
  /// n, the outputs.
  public let rows: Int
  /// k, the inputs.
  public let columns: Int
  /// How many values are stored, in bitmap-razer-g128 how many bytes of codes; rows x columns in formats that store every
  /// element.
  public let nonZeroCount: Int
  /// By name, as `PackedFormat.parts` lists them; the optional ones may be absent.
  public let parts: [String: MemoryRegion]
  /// Who made the parts.
  public let origin: Origin

  /// A matrix that this process packed.
  ///
  /// The parts must be those that `format.parts(rows:columns:nonZeroCount:)` lists, with those sizes; anything else is a
  /// precondition.
  public init(
    name: String, format: PackedFormat, rows: Int, columns: Int, nonZeroCount: Int, parts: [String: MemoryRegion]
  ) {
    guard let layout = format.parts(rows: rows, columns: columns, nonZeroCount: nonZeroCount) else {
      preconditionFailure("'\(name)': no \(format.rawValue) matrix is \(rows) x \(columns) with \(nonZeroCount) stored values")
    }
    for part in layout {
      let byteCount = parts[part.name]?.byteCount
      precondition(
        byteCount == part.byteCount || (byteCount == nil && part.isOptional),
        "'\(name).\(part.name)' has \(byteCount ?? 0) bytes, needs \(part.byteCount)")
    }
    for part in parts.keys {
      precondition(layout.contains { $0.name == part }, "'\(name).\(part)' is no part of \(format.rawValue)")
    }
    self.init(
      name: name, format: format, rows: rows, columns: columns, nonZeroCount: nonZeroCount, parts: parts, origin: .memory)
  }

  init(
    name: String, format: PackedFormat, rows: Int, columns: Int, nonZeroCount: Int, parts: [String: MemoryRegion], origin: Origin
  ) {
    self.name = name
    self.format = format
    self.rows = rows
    self.columns = columns
    self.nonZeroCount = nonZeroCount
    self.parts = parts
    self.origin = origin
  }

  /// The bytes of all parts.
  public var byteCount: Int { parts.values.reduce(0) { $0 + $1.byteCount } }
}
