/// e^x for x <= 0, with the same bits on every machine, which the C libraries do not promise. 0 below -708; relative error below
/// 2^-52.
///
/// x = k ln 2 + r with |r| <= 0.3466, and the terms of the series up to r^13 leave less than 2^-57 of e^r.
@inline(__always)
func exponential(_ x: Double) -> Double {
  guard x >= -708 else { return 0 }
  // Adding 1.5 * 2^52 rounds to an integer, ties to even.
  let k = (x * 1.4426950408889634 + 0x1.8p52) - 0x1.8p52
  // ln 2 in two parts, the first of them short enough that its product with k is exact.
  let r = (x - k * 0x1.62e42feep-1) - k * 0x1.a39ef35793c76p-33
  var sum = 1 / 6_227_020_800.0
  sum = sum * r + 1 / 479_001_600.0
  sum = sum * r + 1 / 39_916_800.0
  sum = sum * r + 1 / 3_628_800.0
  sum = sum * r + 1 / 362_880.0
  sum = sum * r + 1 / 40_320.0
  sum = sum * r + 1 / 5_040.0
  sum = sum * r + 1 / 720.0
  sum = sum * r + 1 / 120.0
  sum = sum * r + 1 / 24.0
  sum = sum * r + 1 / 6.0
  sum = sum * r + 1 / 2.0
  sum = (sum * r + 1) * r + 1
  return sum * Double(bitPattern: UInt64(1023 + Int(k)) << 52)
}
