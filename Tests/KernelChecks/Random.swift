/// Numbers that look random and repeat from a seed: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014).
struct Random {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func bits() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// 0..<count.
  mutating func index(below count: Int) -> Int { Int(truncatingIfNeeded: bits() >> 33) % count }

  /// A whole number of a closed range.
  mutating func integer(_ low: Int, _ high: Int) -> Int { low + index(below: high - low + 1) }

  /// 0..<1.
  mutating func unit() -> Float { Float(bits() >> 40) * 0x1p-24 }

  mutating func isTrue(_ probability: Double) -> Bool { Double(bits() >> 11) * 0x1p-53 < probability }

  mutating func pick<Element>(_ choices: [Element]) -> Element { choices[index(below: choices.count)] }

  /// Nearly normal with mean 0 and deviation 1: twelve uniform numbers of 21 bits, four draws of 64.
  mutating func normal() -> Float {
    var sum: UInt64 = 0
    for _ in 0..<4 {
      let draw = bits()
      sum += (draw & 0x1F_FFFF) + (draw >> 21 & 0x1F_FFFF) + (draw >> 42 & 0x1F_FFFF)
    }
    return Float(sum) * 0x1p-21 - 6
  }
}
