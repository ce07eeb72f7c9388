// Blocks of 256 weights with scales that are quantised themselves.

/// `h(0) = d; h(2) = dmin; 12 bytes of scales and minima; 128 nibble bytes`, weight = d s q - dmin m.
///
/// Group g of 32 weights has its own 6-bit scale s and minimum m. Groups 2k and 2k + 1 share the k-th run of 32 bytes: the even
/// group in the low halves, the odd one in the high halves.
enum Q4_KBlock: GGUFBlock {
  static var type: GGUFTensorType { .q4_K }

  static func decode<Element: WeightElement>(_ block: RawSpan, into weights: inout MutableSpan<Element>) {
    for group in 0..<8 {
      let (scale, minimum) = scaleAndMinimum(of: group, in: block)
      let shift = UInt8(4 * (group & 1))
      for i in 0..<32 {
        let q = block[16 + 32 * (group / 2) + i] >> shift & 15
        weights[32 * group + i] = Element(scale * Float(q) - minimum)
      }
    }
  }
}

/// As Q4_K, with 32 bytes of fifth bits before the nibbles: bit g of byte i belongs to weight i of group g.
enum Q5_KBlock: GGUFBlock {
  static var type: GGUFTensorType { .q5_K }

  static func decode<Element: WeightElement>(_ block: RawSpan, into weights: inout MutableSpan<Element>) {
    for group in 0..<8 {
      let (scale, minimum) = scaleAndMinimum(of: group, in: block)
      let shift = UInt8(4 * (group & 1))
      for i in 0..<32 {
        let fifth = block[16 + i] >> UInt8(group) & 1
        let q = block[48 + 32 * (group / 2) + i] >> shift & 15 | fifth << 4
        weights[32 * group + i] = Element(scale * Float(q) - minimum)
      }
    }
  }
}

/// `d s` and `dmin m` of one group of a Q4_K or Q5_K block. The twelve bytes b at byte 4 hold eight scales and eight minima of 6
/// bits:
///
///     group 0...3   s = low 6 bits of b[g]                        m = low 6 bits of b[g + 4]
///     group 4...7   s = low half of b[g + 4], top 2 of b[g - 4]   m = high half of b[g + 4], top 2 of b[g]
@inline(__always)
private func scaleAndMinimum(of group: Int, in block: RawSpan) -> (scale: Float, minimum: Float) {
  let scale: UInt8
  let minimum: UInt8
  if group < 4 {
    scale = block[4 + group] & 63
    minimum = block[8 + group] & 63
  } else {
    scale = block[8 + group] & 15 | (block[group] & 0xC0) >> 2
    minimum = block[8 + group] >> 4 | (block[4 + group] & 0xC0) >> 2
  }
  return (block.binary16(at: 0) * Float(scale), block.binary16(at: 2) * Float(minimum))
}

/// `128 nibble bytes; 64 bytes of upper bit pairs; 16 signed scales; h(208) = d`, weight = d s (q - 32).
///
/// Each half of 128 weights has four runs k of 32. Run k takes bits 2k and 2k + 1 of the half's 32 upper bytes; runs 0 and 2
/// share 32 nibble bytes (low and high halves), runs 1 and 3 the next 32. A scale covers 16 weights.
enum Q6_KBlock: GGUFBlock {
  static var type: GGUFTensorType { .q6_K }

  static func decode<Element: WeightElement>(_ block: RawSpan, into weights: inout MutableSpan<Element>) {
    let d = block.binary16(at: 208)
    for run in 0..<8 {
      let half = run / 4
      let k = run % 4
      for part in 0..<2 {
        let scale = d * Float(Int8(bitPattern: block[192 + 2 * run + part]))
        for i in 16 * part..<16 * part + 16 {
          let lower = block[64 * half + 32 * (k & 1) + i] >> UInt8(4 * (k >> 1)) & 15
          let upper = block[128 + 32 * half + i] >> UInt8(2 * k) & 3
          weights[32 * run + i] = Element(scale * Float(Int32(lower | upper << 4) - 32))
        }
      }
    }
  }
}
