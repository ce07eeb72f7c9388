package import CKernels

/// The element type of rows of x as kernels read them.
public enum ActivationType: String, Sendable, CaseIterable, Codable, CustomStringConvertible {
  /// Rounded to bfloat16.
  case bfloat16 = "bf16"
  /// Quantised row by row, symmetrically, with step max|row| / 32639: closer to the row than bfloat16, and integers to kernels.
  case int16
  /// Quantised row by row, symmetrically, with step max|row| / 127.
  case int8

  public var description: String { rawValue }
}

/// How packed weights want a row of x: its element type, and where zeros stand between the elements.
public struct ActivationLayout: Sendable, Hashable {
  public let type: ActivationType
  /// The elements of a row before padding; a multiple of `blockInputs`.
  public let inputs: Int
  /// Elements are padded block by block: the heads of a prefix view, or the whole row.
  public let blockInputs: Int
  /// Each block is padded with zeros to a multiple of this.
  public let step: Int
  /// In every 8 elements those with even index come first (`ck_x_even_odd`).
  public let isEvenOdd: Bool

  /// Rows without blocks in natural order, padded to the kernels' steps of 64 bytes.
  package init(_ type: ActivationType, inputs: Int) {
    self.init(type, inputs: inputs, blockInputs: inputs, step: ck_k_step(type.cType), isEvenOdd: false)
  }

  package init(_ type: ActivationType, inputs: Int, blockInputs: Int, step: Int, isEvenOdd: Bool) {
    self.type = type
    self.inputs = inputs
    self.blockInputs = blockInputs
    self.step = step
    self.isEvenOdd = isEvenOdd
  }

  /// Elements of a block with its zeros.
  package var paddedBlock: Int { (blockInputs + step - 1) / step * step }
  /// Bytes of a row with its zeros, or of each of its planes.
  package var planeByteCount: Int { inputs / blockInputs * paddedBlock * type.planeElementByteCount }

  /// Where an input's element lies in a row or a plane.
  package func position(of input: Int) -> Int {
    let place = input / blockInputs * paddedBlock + input % blockInputs
    return isEvenOdd ? ck_x_even_odd(place) : place
  }

  /// Writes one row in this layout: zeros included, `planeByteCount` bytes, for each plane, which are `stride` bytes apart.
  /// - Returns: what one step of an integer is worth; 1 for bfloat16.
  package func fill(
    _ target: UnsafeMutableRawPointer, stride: Int, from row: MatrixRow, with converter: ck_x_converter
  ) -> Float {
    switch type {
    case .bfloat16:
      for block in 0..<inputs / blockInputs {
        let place = (target + block * paddedBlock * 2).assumingMemoryBound(to: UInt16.self)
        round(place, from: row.advanced(by: block * blockInputs), with: converter)
      }
      return 1
    case .int16, .int8:
      let scale = quantize(target.assumingMemoryBound(to: Int8.self), stride: stride, from: row, with: converter)
      if inputs > blockInputs {
        for plane in 0..<type.planes { spreadBlocks(target + plane * stride) }
      }
      return scale
    }
  }

  private func round(_ target: UnsafeMutablePointer<UInt16>, from row: MatrixRow, with converter: ck_x_converter) {
    switch row {
    case .float32(let source): converter.from_f32(source, blockInputs, paddedBlock, target)
    case .bfloat16(let source): converter.from_bf16(source, blockInputs, paddedBlock, target)
    }
    if isEvenOdd { converter.to_even_odd(target, paddedBlock) }
  }

  /// The whole row in one go, because it has one step; padded where it is one block.
  private func quantize(
    _ target: UnsafeMutablePointer<Int8>, stride: Int, from row: MatrixRow, with converter: ck_x_converter
  ) -> Float {
    let padded = inputs == blockInputs ? paddedBlock : inputs
    return switch (row, type) {
    case (.float32(let source), .int16): converter.quantize16_f32(source, inputs, padded, target, target + stride)
    case (.float32(let source), _): converter.quantize_f32(source, inputs, padded, target)
    case (.bfloat16(let source), .int16): converter.quantize16_bf16(source, inputs, padded, target, target + stride)
    case (.bfloat16(let source), _): converter.quantize_bf16(source, inputs, padded, target)
    }
  }

  /// Moves the blocks of bytes at `row` to their places, the last one first: none lands on one that has yet to move.
  private func spreadBlocks(_ row: UnsafeMutableRawPointer) {
    for block in (0..<inputs / blockInputs).reversed() {
      let place = row + block * paddedBlock
      place.copyMemory(from: row + block * blockInputs, byteCount: blockInputs)
      (place + blockInputs).initializeMemory(as: UInt8.self, repeating: 0, count: paddedBlock - blockInputs)
    }
  }
}

extension ActivationType {
  package init(_ type: ck_type) {
    switch type {
    case .CK_INT16: self = .int16
    case .CK_INT8: self = .int8
    default: self = .bfloat16
    }
  }

  package var cType: ck_type {
    switch self {
    case .bfloat16: .CK_BF16
    case .int16: .CK_INT16
    case .int8: .CK_INT8
    }
  }

  /// How many rows of memory, one behind the other, hold a row of x: an int16 has its upper and its lower byte in different ones.
  package var planes: Int { ck_x_planes(cType) }
  package var planeElementByteCount: Int { self == .bfloat16 ? 2 : 1 }
}

/// A row of x as a caller has it.
package enum MatrixRow {
  case float32(UnsafePointer<Float>)
  case bfloat16(UnsafePointer<UInt16>)

  func advanced(by elements: Int) -> MatrixRow {
    switch self {
    case .float32(let source): .float32(source + elements)
    case .bfloat16(let source): .bfloat16(source + elements)
    }
  }
}
