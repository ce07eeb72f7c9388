internal import CKernelChecks
internal import Tessera

/// What each output must be, and how far from it a kernel may land. From the matrices before packing (Docs/Numerics.md).
struct Oracle {
  /// The result before its last rounding; NaN and infinities where the definition gives them.
  private let exact: [Double]
  /// int8: the one right result.
  private let right: [Float]
  /// The bounds on |result - exact|; 0 for exact data.
  private let hard: [Double]
  private let alarm: [Double]
  private let output: KernelCase.Output
  /// Denormals are about flushing; they would hide how much of the bound rounding uses.
  private let measuresRounding: Bool

  /// Half a unit in the last place of 1 in fp32.
  static let roundoff = 0x1p-24

  /// The largest number of roundings that any product passes through on its way into an fp32 output.
  static func roundings(isaTag: String, k: Int) -> Int {
    let padded = (k + 31) / 32 * 32
    switch isaTag {
    case "scalar": return 2
    case "avx2": return padded + 1
    case "avx512bf16": return padded / 2 + 2
    case "amxbf16": return padded / 32 + 18
    default: return padded + 2  // any order of additions
    }
  }

  /// The same for 4-bit weights: products within a group, in any order and at most as many as AMX makes of 32, then one fused
  /// multiply-add for each group, and two roundings for the tensor's scale and the row's. Scalar references sum in double.
  static func code4Roundings(isaTag: String, type: ActivationType, group: Int, k: Int) -> Int {
    if isaTag == "scalar" { return 3 }
    let groups = (k + 63) / 16 + 1
    return switch type {
    case .bfloat16: max(group, 32) + groups + 22
    case .int16: groups + 4
    case .int8: groups + 3
    }
  }

  init(_ kernelCase: KernelCase, elements: Elements, isaTag: String) {
    output = kernelCase.output
    measuresRounding = kernelCase.elements != .denormals
    let bias = elements.bias ?? [Float](repeating: 0, count: kernelCase.n)
    switch (elements.x, elements.w) {
    case (.bfloat16(let x), .matrix(.bfloat16(let w))):
      (exact, hard, alarm) = Oracle.bounded(
        kernelCase, x: widen(x), w: widen(w), bias: bias, roundings: Oracle.roundings(isaTag: isaTag, k: kernelCase.k))
      right = []
    case (.bfloat16(let x), .code4(let w)):
      (exact, hard, alarm) = Oracle.bounded(
        kernelCase, x: widen(x), w: w.weights(n: kernelCase.n, k: kernelCase.k), bias: bias,
        roundings: Oracle.code4Roundings(isaTag: isaTag, type: .bfloat16, group: w.code4.group, k: kernelCase.k),
        isExact: w.code4.hasIntegerValues, largestScale: 512)
      right = []
    case (.int16(let x), .code4(let w)):
      (exact, hard, alarm) = Oracle.bounded(
        kernelCase, x: x.map { Float($0) }, xScale: elements.xScale, w: w, .int16, isaTag: isaTag, bias: bias)
      right = []
    case (.int8(let x), .code4(let w)):
      (exact, hard, alarm) = Oracle.bounded(
        kernelCase, x: x.map { Float($0) }, xScale: elements.xScale, w: w, .int8, isaTag: isaTag, bias: bias)
      right = []
    case (.int8(let x), .matrix(.int8(let w))):
      right = Oracle.scaled(kernelCase, x: x, w: w, bias: bias, elements)
      (exact, hard, alarm) = ([], [], [])
    default: preconditionFailure("x and w of \(kernelCase) have different types")
    }
  }

  /// 4-bit weights by integers, which are scaled.
  private static func bounded(
    _ kernelCase: KernelCase, x: [Float], xScale: [Float], w: Code4Elements, _ type: ActivationType, isaTag: String, bias: [Float]
  ) -> ([Double], [Double], [Double]) {
    bounded(
      kernelCase, x: x, xScale: xScale, w: w.weights(n: kernelCase.n, k: kernelCase.k), bias: bias,
      roundings: code4Roundings(isaTag: isaTag, type: type, group: w.code4.group, k: kernelCase.k), isExact: false,
      leastStep: Double(w.code4.unit) * Elements.leastExactXScale / 2)
  }

  /// fp32 outputs, from elsewhere.
  init(exact: [Double], hard: [Double], alarm: [Double], measuresRounding: Bool) {
    (self.exact, self.hard, self.alarm, right) = (exact, hard, alarm, [])
    self.measuresRounding = measuresRounding
    output = .float32
  }

  private static func bounded(
    _ kernelCase: KernelCase, x: [Float], xScale: [Float] = [], w: [Float], bias: [Float], roundings: Int, isExact: Bool = true,
    largestScale: Double = 1, leastStep: Double? = nil
  ) -> ([Double], [Double], [Double]) {
    let (m, n, k) = (kernelCase.m, kernelCase.n, kernelCase.k)
    var exact = [Double](repeating: 0, count: m * n)
    var magnitude = exact
    ck_check_dot(x, w, m, n, k, &exact, &magnitude)
    for at in exact.indices {
      if !xScale.isEmpty {
        exact[at] *= Double(xScale[at / n])
        magnitude[at] *= Double(xScale[at / n])
      }
      exact[at] += Double(bias[at % n])
      magnitude[at] += Double(abs(bias[at % n]))
    }
    if kernelCase.elements == .integers, isExact {
      let zeros = [Double](repeating: 0, count: m * n)
      return (exact, zeros, zeros)
    }
    let d = Double(roundings)
    let worst = d * roundoff / (1 - d * roundoff)
    let likely = min(worst, 4 * d.squareRoot() * roundoff)
    let xSum = sums(of: x, rows: m)
    let wSum = sums(of: w, rows: n)
    let flushed = magnitude.indices.map { 0x1p-126 * largestScale * (Double(k) + xSum[$0 / n] + wSum[$0 % n]) }
    let hard = magnitude.indices.map { worst * magnitude[$0] + flushed[$0] }
    let alarm = magnitude.indices.map { likely * magnitude[$0] + flushed[$0] }
    guard kernelCase.elements == .integers, let leastStep else { return (exact, hard, alarm) }
    // Everything is a multiple of that step, and sums of few enough of them are exact in fp32.
    let isSmall = magnitude.map { $0 / leastStep < 0x1p24 }
    return (exact, hard.indices.map { isSmall[$0] ? 0 : hard[$0] }, alarm.indices.map { isSmall[$0] ? 0 : alarm[$0] })
  }

  static func sums(of matrix: [Float], rows: Int) -> [Double] {
    let k = matrix.count / rows
    return (0..<rows).map { row in matrix[row * k..<row * k + k].reduce(0) { $0 + Double(abs($1)) } }
  }

  private static func scaled(_ kernelCase: KernelCase, x: [Int8], w: [Int8], bias: [Float], _ elements: Elements) -> [Float] {
    let (m, n) = (kernelCase.m, kernelCase.n)
    var sum = [Int64](repeating: 0, count: m * n)
    ck_check_dot_int8(x, w, m, n, kernelCase.k, &sum)
    return sum.indices.map { at in
      bias[at % n].addingProduct(Float(sum[at]), elements.xScale[at / n] * elements.wScale[at % n])
    }
  }

  /// What is wrong with `value` as the output at `index`; nil when it is right. Adds the share of the bounds that it uses.
  func complaint(at index: Int, value: Float, worst: inout Shares) -> String? {
    if !right.isEmpty { return exactComplaint(value, output == .float32 ? right[index] : rounded(Double(right[index]))) }
    let expected = exact[index]
    if !expected.isFinite || hard[index] == 0 { return exactComplaint(value, rounded(expected)) }
    guard value.isFinite else { return "\(value) instead of \(expected)" }
    switch output {
    case .float32:
      let error = abs(Double(value) - expected)
      if measuresRounding { worst.add(Shares(hard: error / hard[index], alarm: error / alarm[index])) }
      if error <= alarm[index] { return nil }
      let tier = error <= hard[index] ? "alarm, \(alarm[index])" : "bound, \(hard[index])"
      return "\(value) instead of \(expected): the error \(error) exceeds the \(tier)"
    case .bfloat16:
      let (low, high) = (rounded(expected - alarm[index]), rounded(expected + alarm[index]))
      return (low...high).contains(value) ? nil : "\(value) outside \(low)...\(high)"
    }
  }

  private func exactComplaint(_ value: Float, _ expected: Float) -> String? {
    value == expected || (value.isNaN && expected.isNaN) ? nil : "\(value) instead of exactly \(expected)"
  }

  /// As the last rounding of a kernel does it.
  private func rounded(_ value: Double) -> Float { output == .float32 ? Float(value) : Float(BFloat16(Float(value))) }

  /// The largest error seen, as a fraction of the proved bound and of the alarm below it.
  struct Shares {
    var hard = 0.0
    var alarm = 0.0

    mutating func add(_ other: Shares) {
      hard = max(hard, other.hard)
      alarm = max(alarm, other.alarm)
    }
  }
}

private func widen(_ bits: [UInt16]) -> [Float] { bits.map { Float(BFloat16(bits: $0)) } }
