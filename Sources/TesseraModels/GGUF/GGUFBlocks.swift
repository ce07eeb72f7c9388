internal import Tessera

// Unquantised types. `decode` takes any number of weights.

enum F32Block: GGUFBlock {
  static var type: GGUFTensorType { .f32 }

  static func decode<Element: WeightElement>(_ block: RawSpan, into weights: inout MutableSpan<Element>) {
    for i in weights.indices { weights[i] = Element(Float(bitPattern: block.load(at: 4 * i))) }
  }
}

enum F16Block: GGUFBlock {
  static var type: GGUFTensorType { .f16 }

  static func decode<Element: WeightElement>(_ block: RawSpan, into weights: inout MutableSpan<Element>) {
    for i in weights.indices { weights[i] = Element(block.binary16(at: 2 * i)) }
  }
}

enum BF16Block: GGUFBlock {
  static var type: GGUFTensorType { .bf16 }

  static func decode<Element: WeightElement>(_ block: RawSpan, into weights: inout MutableSpan<Element>) {
    for i in weights.indices { weights[i] = Element(BFloat16(bits: block.load(at: 2 * i))) }
  }
}

// Blocks of 32 weights. Byte i of the nibbles holds weight i in its low half and weight i + 16 in its high half.

/// `h(0) = d; 32 signed bytes q`, weight = d q.
enum Q8_0Block: GGUFBlock {
  static var type: GGUFTensorType { .q8_0 }

  static func decode<Element: WeightElement>(_ block: RawSpan, into weights: inout MutableSpan<Element>) {
    let d = block.binary16(at: 0)
    for i in 0..<32 { weights[i] = Element(d * Float(Int8(bitPattern: block[2 + i]))) }
  }
}

/// `h(0) = d; 16 nibble bytes q`, weight = d (q - 8).
enum Q4_0Block: GGUFBlock {
  static var type: GGUFTensorType { .q4_0 }

  static func decode<Element: WeightElement>(_ block: RawSpan, into weights: inout MutableSpan<Element>) {
    let d = block.binary16(at: 0)
    for i in 0..<16 {
      let q = Int32(block[2 + i])
      weights[i] = Element(d * Float(q & 15 - 8))
      weights[i + 16] = Element(d * Float(q >> 4 - 8))
    }
  }
}

/// `h(0) = d; h(2) = m; 16 nibble bytes q`, weight = d q + m.
enum Q4_1Block: GGUFBlock {
  static var type: GGUFTensorType { .q4_1 }

  static func decode<Element: WeightElement>(_ block: RawSpan, into weights: inout MutableSpan<Element>) {
    let d = block.binary16(at: 0)
    let m = block.binary16(at: 2)
    for i in 0..<16 {
      let q = Int32(block[4 + i])
      weights[i] = Element(d * Float(q & 15) + m)
      weights[i + 16] = Element(d * Float(q >> 4) + m)
    }
  }
}

/// `h(0) = d; 32 fifth bits; 16 nibble bytes`, weight = d (q - 16).
enum Q5_0Block: GGUFBlock {
  static var type: GGUFTensorType { .q5_0 }

  static func decode<Element: WeightElement>(_ block: RawSpan, into weights: inout MutableSpan<Element>) {
    let d = block.binary16(at: 0)
    let fifth = block.load(at: 2, as: UInt32.self)
    for i in 0..<16 {
      let (low, high) = fiveBits(block[6 + i], fifth, i)
      weights[i] = Element(d * Float(low - 16))
      weights[i + 16] = Element(d * Float(high - 16))
    }
  }
}

/// `h(0) = d; h(2) = m; 32 fifth bits; 16 nibble bytes`, weight = d q + m.
enum Q5_1Block: GGUFBlock {
  static var type: GGUFTensorType { .q5_1 }

  static func decode<Element: WeightElement>(_ block: RawSpan, into weights: inout MutableSpan<Element>) {
    let d = block.binary16(at: 0)
    let m = block.binary16(at: 2)
    let fifth = block.load(at: 4, as: UInt32.self)
    for i in 0..<16 {
      let (low, high) = fiveBits(block[8 + i], fifth, i)
      weights[i] = Element(d * Float(low) + m)
      weights[i + 16] = Element(d * Float(high) + m)
    }
  }
}

/// Weights i and i + 16 of a 5-bit block: the halves of a nibble byte, with bits i and i + 16 of `fifth` above them.
@inline(__always)
private func fiveBits(_ nibbles: UInt8, _ fifth: UInt32, _ i: Int) -> (low: Int32, high: Int32) {
  let bits = fifth >> UInt32(i)
  let low = UInt32(nibbles & 15) | (bits & 1) << 4
  let high = UInt32(nibbles >> 4) | (bits >> 16 & 1) << 4
  return (Int32(bitPattern: low), Int32(bitPattern: high))
}

// 4-bit floating point. Codes are E2M1; values are kept doubled, as integers, and scales halved.

/// `E8M0 scale; 16 nibble bytes`, weight = 2^(scale - 128) x doubled value.
///
/// Scale 255, a NaN in the OCP microscaling specification, is 2^127 here as in the format's reference implementation.
enum MXFP4Block: GGUFBlock {
  static var type: GGUFTensorType { .mxfp4 }

  static func decode<Element: WeightElement>(_ block: RawSpan, into weights: inout MutableSpan<Element>) {
    let exponent = UInt32(block[0])
    // 2^-128 and 2^-127 are subnormal Floats.
    let d = Float(bitPattern: exponent < 2 ? 0x0020_0000 << exponent : (exponent - 1) << 23)
    for i in 0..<16 {
      let q = block[1 + i]
      weights[i] = Element(d * doubledE2M1(q & 15))
      weights[i + 16] = Element(d * doubledE2M1(q >> 4))
    }
  }
}

/// `4 scales; 4 x 8 nibble bytes`: scale g belongs to weights 16 g ..< 16 g + 16, whose first eight lie in low halves. The scale
/// of the whole tensor, where a model has one, is another tensor.
enum NVFP4Block: GGUFBlock {
  static var type: GGUFTensorType { .nvfp4 }

  static func decode<Element: WeightElement>(_ block: RawSpan, into weights: inout MutableSpan<Element>) {
    for group in 0..<4 {
      let d = halvedE4M3(block[group])
      for i in 0..<8 {
        let q = block[4 + 8 * group + i]
        weights[16 * group + i] = Element(d * doubledE2M1(q & 15))
        weights[16 * group + i + 8] = Element(d * doubledE2M1(q >> 4))
      }
    }
  }
}

/// Twice the value of an E2M1 code: 0, 1, 2, 3, 4, 6, 8, 12 with the sign in bit 3. Code 8 is a plain zero.
@inline(__always)
private func doubledE2M1(_ code: UInt8) -> Float {
  let magnitude = Int32(bitPattern: (0xC864_3210 as UInt32) >> UInt32(4 * (code & 7)) & 15)
  return Float(code & 8 == 0 ? magnitude : -magnitude)
}

/// Half the value of an unsigned E4M3 scale (bias 7). 0x7F, the NaN, counts as 0 and bit 7 is ignored, as in the format's
/// reference implementation.
@inline(__always)
private func halvedE4M3(_ code: UInt8) -> Float {
  if code == 0x7F { return 0 }
  let exponent = UInt32(code >> 3 & 15)
  let mantissa = Float(code & 7)
  return exponent == 0 ? mantissa * 0x1p-10 : (8 + mantissa) * Float(bitPattern: (exponent + 127 - 7 - 3 - 1) << 23)
}
