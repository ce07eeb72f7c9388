internal import Tessera

/// One tensor of a GGUF file: its name, shape, type and place.
public struct GGUFTensor: Sendable {
  /// 1 to 63 bytes: `blk.0.ffn_gate.weight`.
  public let name: String
  /// How its weights are stored.
  public let type: GGUFTensorType
  /// The sizes in PyTorch's order: the outermost first, the contiguous one last. The file has them the other way round.
  public var shape: [Int] { Array([sizes.3, sizes.2, sizes.1, sizes.0].suffix(rank)) }
  /// The number of contiguous runs of `columns` weights: the product of all sizes but the last.
  public var rows: Int { sizes.1 * sizes.2 * sizes.3 }
  /// The size of the last, contiguous dimension: the inputs of a linear layer.
  public var columns: Int { sizes.0 }
  /// The product of all sizes.
  public var weightCount: Int { rows * columns }
  /// Where the tensor begins, counted from the data section.
  public let offset: Int
  /// Its size in the file, without padding.
  public let byteCount: Int

  /// The sizes in the file's order, 1 beyond the rank. Inline, because a file may have thousands of tensors of a few bytes.
  private let sizes: (Int, Int, Int, Int)
  private let rank: Int

  /// The bytes of one row. Blocks never cross rows.
  var rowBytes: Int { columns / type.block.weights * type.block.bytes }
}

extension GGUFTensor {
  static let maximumRank = 4
  /// The format's own limit, without a terminator.
  static let maximumNameBytes = 63
  /// A name of one byte and one dimension.
  static let minimumRecordBytes = 8 + 1 + 4 + 8 + 4 + 8

  /// Reads the record of one tensor: `string name; UInt32 rank; UInt64 sizes[rank]; UInt32 type; UInt64 offset`.
  ///
  /// Everything is checked that the record alone shows; `offset` still has to be compared with the tensors before it.
  init(reading reader: inout GGUFReader) throws(WeightFileError) {
    let file = reader.file
    let name = try reader.string("a tensor's name")
    try reader.checkName(name, limit: GGUFTensor.maximumNameBytes)
    let rank: UInt32 = try reader.integer("the rank of \(name)")
    guard (1...GGUFTensor.maximumRank).contains(Int(rank)) else {
      throw WeightFileError.badShape(
        file: file, tensor: name, shape: [], detail: "rank \(rank) is outside 1...\(GGUFTensor.maximumRank)")
    }
    var sizes: [UInt64] = []
    for _ in 0..<rank { sizes.append(try reader.integer("the shape of \(name)")) }
    let typeID: UInt32 = try reader.integer("the type of \(name)")
    guard let type = GGUFTensorType(rawValue: typeID) else {
      throw WeightFileError.unknownType(file: file, tensor: name, type: "\(typeID)")
    }
    let offset: UInt64 = try reader.integer("the offset of \(name)")
    guard let start = Int(exactly: offset) else {
      throw WeightFileError.badExtent(
        file: file, tensor: name, offset: offset, byteCount: 0, available: UInt64(reader.remaining))
    }
    self.byteCount = try GGUFTensor.byteCount(of: type, sizes: sizes, tensor: name, file: file)
    self.name = name
    self.type = type
    self.offset = start
    self.rank = Int(rank)
    let padded = sizes.map { Int($0) } + [1, 1, 1]
    self.sizes = (padded[0], padded[1], padded[2], padded[3])
  }

  /// The size formula of every type: blocks that divide the rows, without overflow of the weights or of the bytes.
  /// - Parameter sizes: in the file's order, the contiguous one first.
  private static func byteCount(
    of type: GGUFTensorType, sizes: [UInt64], tensor: String, file: String
  ) throws(WeightFileError) -> Int {
    func badShape(_ detail: String) -> WeightFileError {
      .badShape(file: file, tensor: tensor, shape: sizes.reversed(), detail: detail)
    }
    var weights = 1
    for size in sizes {
      guard size > 0 else { throw badShape("a size is 0") }
      guard let size = Int(exactly: size) else { throw badShape("a size does not fit an Int") }
      let (product, overflow) = weights.multipliedReportingOverflow(by: size)
      guard !overflow else { throw badShape("the product of the sizes does not fit an Int") }
      weights = product
    }
    let block = type.block
    guard sizes[0] % UInt64(block.weights) == 0 else {
      throw badShape("rows are not a multiple of the \(block.weights) weights of a \(type.name) block")
    }
    let (bytes, overflow) = (weights / block.weights).multipliedReportingOverflow(by: block.bytes)
    guard !overflow else { throw badShape("the bytes of a \(type.name) tensor do not fit an Int") }
    return bytes
  }
}

extension GGUFReader {
  /// Names are not empty, at most `limit` bytes long, and hold no NUL.
  func checkName(_ name: String, limit: Int) throws(WeightFileError) {
    let bytes = name.utf8.count
    if bytes == 0 { throw WeightFileError.invalidName(file: file, name: name, detail: "is empty") }
    if bytes > limit {
      throw WeightFileError.invalidName(
        file: file, name: String(name.unicodeScalars.prefix(32)) + "...", detail: "has \(bytes) bytes, more than \(limit)")
    }
    if name.utf8.contains(0) { throw WeightFileError.invalidName(file: file, name: name, detail: "contains NUL") }
  }
}
