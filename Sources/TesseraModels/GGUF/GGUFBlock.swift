internal import Tessera

/// What weights are dequantised to: `Float` or `BFloat16`.
protocol WeightElement: BitwiseCopyable, Sendable {
  init(_ value: Float)
  init(_ value: BFloat16)
}

extension Float: WeightElement {}

extension BFloat16: WeightElement {
  /// Keeps every bit, signalling NaNs included.
  init(_ value: BFloat16) { self = value }
}

/// A rule that turns one block of a GGUF type into its weights.
///
/// All fields are little-endian. `h(k)` in the drawings is the binary16 number at byte k. Products are formed in Float and in the
/// order written, which gives the bits of the format's reference implementation.
protocol GGUFBlock {
  static var type: GGUFTensorType { get }

  /// Writes the weights of `block`, which holds `type.block.bytes` bytes, to `weights`, which holds `type.block.weights`
  /// elements.
  static func decode<Element: WeightElement>(_ block: RawSpan, into weights: inout MutableSpan<Element>)
}

extension GGUFBlock {
  /// Decodes a whole number of blocks; the caller has checked that the sizes match.
  static func decodeAll<Element: WeightElement>(_ bytes: RawSpan, into weights: UnsafeMutableBufferPointer<Element>) {
    let block = type.block
    for index in 0..<weights.count / block.weights {
      let target = weights[index * block.weights..<(index + 1) * block.weights]
      var span = UnsafeMutableBufferPointer(rebasing: target).mutableSpan
      decode(bytes.extracting(index * block.bytes..<(index + 1) * block.bytes), into: &span)
    }
  }
}

extension RawSpan {
  /// Bounds-checked loads of little-endian fields.
  @inline(__always)
  func load<Integer: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as: Integer.Type = Integer.self) -> Integer {
    Integer(littleEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: Integer.self))
  }

  @inline(__always)
  subscript(offset: Int) -> UInt8 { unsafeLoadUnaligned(fromByteOffset: offset, as: UInt8.self) }

  @inline(__always)
  func binary16(at offset: Int) -> Float { Float(binary16: load(at: offset)) }
}

extension Float {
  /// The value of an IEEE binary16 bit pattern. Written out because `Float16` does not exist on every platform and converts
  /// through a function call where it does.
  @inline(__always)
  init(binary16 bits: UInt16) {
    let sign = UInt32(bits & 0x8000) << 16
    let magnitude = UInt32(bits & 0x7FFF)
    let rebias: UInt32 = (127 - 15) << 23
    let normal = magnitude << 13 &+ rebias
    // Infinity and NaN have the largest exponent in both formats, so the bias is added once more.
    let finite = magnitude < 0x7C00 ? normal : normal &+ rebias
    let subnormal = (Float(magnitude) * 0x1p-24).bitPattern
    self.init(bitPattern: sign | (magnitude < 0x0400 ? subnormal : finite))
  }
}
