internal import Tessera
public import TesseraModels

extension Code4Matrix {
  /// Takes over a 4-bit tensor of a GGUF file bit for bit: q4_0 as int4-g32, iq4_nl, mxfp4 and nvfp4. `dequantized()` gives the
  /// numbers that the file's own formulas give; a zero is always +0.
  ///
  ///     q4_0, iq4_nl   fp16 scale; 16 bytes       weight i in the low half of byte i, weight i + 16 in its high half
  ///     mxfp4          E8M0 scale; 16 bytes       the same
  ///     nvfp4          4 E4M3 scales; 32 bytes    the same for each 16 weights, in 8 bytes
  ///
  /// - Parameter tensorScale: of an nvfp4 tensor, which its file holds as another tensor.
  /// - Throws: `unsupportedType` for other types; `invalidOption` for a tensor scale that is not finite, or other than 1 where
  ///   the type has none; `unrepresentable` for scales that are not finite and for mxfp4 exponents that span more than 64;
  ///   `WeightFileError.missingTensor`.
  public init(importing name: String, of file: GGUFFile, tensorScale: Float = 1) throws {
    let tensor = try file.tensor(named: name)
    let region = try file.bytes(of: name)
    guard tensorScale.isFinite, tensorScale == 1 || tensor.type == .nvfp4 else {
      throw CompressionError.invalidOption(name: "the tensor scale", value: Double(tensorScale))
    }
    let blocks = GGUFBlocks(tensor: tensor, bytes: region.bytes)
    self = try withExtendedLifetime(region) {
      switch tensor.type {
      case .q4_0: try blocks.halves(.int4G32)
      case .iq4_nl: try blocks.halves(.iq4NL)
      case .mxfp4: try blocks.powersOfTwo()
      case .nvfp4: try blocks.smallFloats(tensorScale: tensorScale)
      default: throw CompressionError.unsupportedType(tensor.type.name)
      }
    }
  }
}

/// The blocks of one tensor. The reader of the file has checked that they cover its rows.
private struct GGUFBlocks {
  let tensor: GGUFTensor
  let bytes: UnsafeRawBufferPointer

  private var blockBytes: Int { tensor.type.block.bytes }
  private var rowBlocks: Int { tensor.columns / tensor.type.block.weights }
  private var count: Int { tensor.rows * rowBlocks }

  private func error(group: Int, groups: Int, _ detail: String) -> CompressionError {
    .unrepresentable(what: tensor.name, row: group / groups, group: group % groups, detail: detail)
  }

  /// Codes of groups whose `size` weights lie in the halves of size / 2 bytes. `zero` is a code for which 0 is put.
  private func codes(size: Int, dropping zero: UInt8?, at offset: (_ group: Int) -> Int) -> [UInt8] {
    var codes = [UInt8](repeating: 0, count: tensor.weightCount)
    for group in 0..<tensor.weightCount / size {
      let start = offset(group)
      for i in 0..<size / 2 {
        let (low, high) = (bytes[start + i] & 15, bytes[start + i] >> 4)
        codes[group * size + i] = low == zero ? 0 : low
        codes[group * size + size / 2 + i] = high == zero ? 0 : high
      }
    }
    return codes
  }

  private func matrix(
    _ format: WeightFormat, _ codes: [UInt8], _ scales: [UInt16], tensorScale: Float = 1
  ) throws(CompressionError) -> Code4Matrix {
    try Code4Matrix(
      format: format, outputs: tensor.rows, inputs: tensor.columns, codes: codes, scales: scales, tensorScale: tensorScale)
  }

  /// q4_0 and iq4_nl: everything stays as it is.
  func halves(_ format: WeightFormat) throws(CompressionError) -> Code4Matrix {
    var scales: [UInt16] = []
    for block in 0..<count {
      let bits = UInt16(bytes[block * blockBytes]) | UInt16(bytes[block * blockBytes + 1]) << 8
      guard bits & 0x7C00 != 0x7C00 else { throw error(group: block, groups: rowBlocks, "its scale is not finite") }
      scales.append(bits)
    }
    return try matrix(format, codes(size: 32, dropping: nil) { $0 * blockBytes + 2 }, scales)
  }

  /// mxfp4: the largest exponent becomes 63 of 0...63, or less where the tensor's scale would be denormal otherwise. Groups of
  /// zeros have no exponent.
  func powersOfTwo() throws(CompressionError) -> Code4Matrix {
    let codes = codes(size: 32, dropping: 8) { $0 * blockBytes + 1 }
    let used = (0..<count).map { block in codes[block * 32..<block * 32 + 32].contains { $0 != 0 } }
    let exponents = (0..<count).map { Int(bytes[$0 * blockBytes]) - 127 }
    for block in 0..<count where used[block] && exponents[block] == 128 {
      throw error(group: block, groups: rowBlocks, "its scale is NaN")
    }
    let largest = (0..<count).filter { used[$0] }.map { exponents[$0] }.max() ?? 0
    let base = max(-126, largest - 31)
    var scales: [UInt16] = []
    for block in 0..<count {
      let bits = used[block] ? exponents[block] - base + 32 : 0
      guard bits >= 0 else {
        throw error(
          group: block, groups: rowBlocks,
          "its scale is 2^\(exponents[block]), the largest of the tensor 2^\(largest): at most 2^63 lie between them")
      }
      scales.append(UInt16(bits))
    }
    return try matrix(.mxfp4, codes, scales, tensorScale: Float(sign: .plus, exponent: base, significand: 1))
  }

  /// nvfp4: bit 7 of a scale means nothing. 0x7F, a NaN, counts as 0 in the format's reference implementation.
  func smallFloats(tensorScale: Float) throws(CompressionError) -> Code4Matrix {
    var scales: [UInt16] = []
    for group in 0..<count * 4 {
      let bits = bytes[group / 4 * blockBytes + group % 4]
      guard bits != 0xFF else { throw error(group: group, groups: rowBlocks * 4, "its scale is -NaN") }
      scales.append(bits == 0x7F ? 0 : UInt16(bits & 0x7F))
    }
    let codes = codes(size: 16, dropping: 8) { $0 / 4 * blockBytes + 4 + $0 % 4 * 8 }
    return try matrix(.nvfp4, codes, scales, tensorScale: tensorScale)
  }
}
