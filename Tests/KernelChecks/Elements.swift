internal import Tessera

/// The unpacked matrices of a case, row after row: what the oracle multiplies.
struct Elements {
  let x: Matrix
  let w: Weights
  let bias: [Float]?
  /// int8 and int16: what one step of each row is worth.
  let xScale: [Float]
  let wScale: [Float]

  enum Matrix {
    /// Exact values of bfloat16 bit patterns.
    case bfloat16(bits: [UInt16])
    /// -32639...32639.
    case int16([Int16])
    case int8([Int8])
  }

  enum Weights {
    case matrix(Matrix)
    case code4(Code4Elements)
  }

  init(_ kernelCase: KernelCase, of variant: KernelVariant) {
    var random = Random(seed: kernelCase.seed)
    let (m, n, k) = (kernelCase.m, kernelCase.n, kernelCase.k)
    let isInt8 = variant.activations == .int8
    let isCode4 = variant.operation == .code4GEMM
    let special = kernelCase.elements == .special
    // 4-bit sums are scaled afterwards, so huge elements and scales would overflow on the way or not, as a kernel has it.
    let specialScales: [Float] = isCode4 ? [0, .nan] : [0, 0x1p-140, .greatestFiniteMagnitude, .infinity, .nan]
    if variant.activations == .bfloat16 {
      xScale = []
    } else if isCode4, kernelCase.elements == .integers {
      xScale = (0..<m).map { _ in random.pick([1, Float(Elements.leastExactXScale)]) }
    } else {
      xScale = Elements.scales(m, special: special ? specialScales : [], &random)
    }
    if isCode4 {
      switch variant.activations {
      case .bfloat16:
        let specialX = special ? Elements.specialBits.filter { $0 & 0x7FFF != 0x7F7F } : []
        x = .bfloat16(bits: Elements.xBits(kernelCase, special: specialX, &random))
      case .int16:
        // Of the smaller ones sums are exact in fp32, too, and the lower plane is as full as ever.
        let largest: Int16 = kernelCase.elements == .integers ? random.pick([400, 32639]) : 32639
        x = .int16(Elements.codes(kernelCase, rows: m, fractions: [1], largest: largest, &random))
      case .int8: x = .int8(Elements.codes(kernelCase, rows: m, fractions: [1], largest: 127, &random))
      }
      w = .code4(Code4Elements(kernelCase, &random))
      wScale = []
    } else if isInt8 {
      x = .int8(Elements.codes(kernelCase, rows: m, fractions: [1], largest: 127, &random))
      let fractions = kernelCase.density.fractions(rows: n, &random)
      w = .matrix(.int8(Elements.codes(kernelCase, rows: n, fractions: fractions, largest: 127, &random)))
      wScale = Elements.scales(n, special: [], &random)
    } else {
      let specialX = special && random.isTrue(0.5)
      let xBits = Elements.xBits(kernelCase, special: specialX ? Elements.specialBits : [], &random)
      var wBits = Elements.bits(
        kernelCase, largestInteger: 8, rows: n, fractions: kernelCase.density.fractions(rows: n, &random), &random)
      if special, !specialX {
        wBits[random.index(below: n) * k + random.pick([0, k / 2, k - 1])] = random.pick(Elements.specialBits)
      }
      (x, w, wScale) = (.bfloat16(bits: xBits), .matrix(.bfloat16(bits: wBits)), [])
    }
    guard kernelCase.hasBias else {
      bias = nil
      return
    }
    let whole = kernelCase.elements == .integers
    bias = (0..<n).map { _ in whole ? Float(random.integer(-99, 99)) : random.unit() * 2 - 1 }
  }

  /// A negative zero, the smallest and largest denormals, the smallest and largest normals, infinities, a quiet and a signalling
  /// NaN.
  static let specialBits: [UInt16] = [
    0x8000, 0x0001, 0x807F, 0x0080, 0x7F7F, 0xFF7F, 0x7F80, 0xFF80, 0x7FC0, 0x7F81,
  ]

  /// What a step of x is worth at least where sums of integers are to be exact.
  static let leastExactXScale = 0.25

  private static func xBits(_ kernelCase: KernelCase, special: [UInt16], _ random: inout Random) -> [UInt16] {
    let k = kernelCase.k
    var bits = bits(kernelCase, largestInteger: 4, rows: kernelCase.m, fractions: [1], &random)
    if !special.isEmpty { bits[random.index(below: kernelCase.m) * k + random.pick([0, k / 2, k - 1])] = random.pick(special) }
    return bits
  }

  private static func bits(
    _ kernelCase: KernelCase, largestInteger: Int, rows: Int, fractions: [Double], _ random: inout Random
  ) -> [UInt16] {
    let k = kernelCase.k
    var bits = [UInt16](repeating: 0, count: rows * k)
    bits.withUnsafeMutableBufferPointer { bits in
      for row in 0..<rows {
        let fraction = fractions[row % fractions.count]
        for at in row * k..<row * k + k where fraction == 1 || random.isTrue(fraction) {
          bits[at] = BFloat16(number(kernelCase.elements, largestInteger: largestInteger, &random)).bits
        }
      }
    }
    return bits
  }

  static func number(_ elements: KernelCase.Elements, largestInteger: Int, _ random: inout Random) -> Float {
    switch elements {
    case .integers, .extremes: Float(random.integer(-largestInteger, largestInteger))
    case .uniform: random.unit() * 2 - 1
    case .positive: random.unit()
    case .outliers: random.normal() * (random.index(below: 500) == 0 ? 200 : 1)
    // The products of x near 2^-64 and w near 2^-62 lie around 2^-126; elements near 2^-126 are denormal themselves.
    case .denormals: (random.unit() * 2 - 1) * random.pick([0x1p-125, 0x1p-64, 0x1p-62, 1])
    case .special: random.unit() - 0.5
    }
  }

  private static func codes<Code: FixedWidthInteger & SignedInteger>(
    _ kernelCase: KernelCase, rows: Int, fractions: [Double], largest: Code, _ random: inout Random
  ) -> [Code] {
    let k = kernelCase.k
    var codes = [Code](repeating: 0, count: rows * k)
    codes.withUnsafeMutableBufferPointer { codes in
      for row in 0..<rows {
        let fraction = fractions[row % fractions.count]
        for at in row * k..<row * k + k where fraction == 1 || random.isTrue(fraction) {
          let isExtreme = kernelCase.elements == .extremes
          codes[at] = isExtreme ? random.pick([-largest, largest]) : Code(random.integer(-Int(largest), Int(largest)))
        }
      }
    }
    return codes
  }

  private static func scales(_ count: Int, special: [Float], _ random: inout Random) -> [Float] {
    var scales = (0..<count).map { _ in random.unit() * 0.01 }
    if !special.isEmpty { scales[random.index(below: count)] = random.pick(special) }
    return scales
  }
}

extension KernelCase.Density {
  /// The fraction for each row; the list repeats when it is shorter.
  func fractions(rows: Int, _ random: inout Random) -> [Double] {
    switch self {
    case .all(let fraction): [fraction]
    case .ragged: (0..<rows).map { _ in random.pick([0, 0.02, 0.3, 1]) }
    }
  }
}
