internal import CKernelChecks
internal import CKernels
internal import Tessera

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

extension Oracle {
  /// Scores, or sums of values, from what the cache holds and what the kernel makes of its other operand (Docs/Numerics.md).
  init(_ operands: AttentionOperands, kernel: AttentionKernel) {
    let attentionCase = operands.attentionCase
    let (rows, tokens, dimension) = (attentionCase.rows, attentionCase.tokens, attentionCase.dimension)
    let isKeys = kernel.step == .keys
    let terms = isKeys ? dimension : tokens
    let count = isKeys ? tokens : dimension
    var exact = [Double](repeating: 0, count: rows * count)
    var (magnitude, flushed) = (exact, exact)
    let met = Oracle.operands(operands, kernel)
    for part in met {
      var (sums, sizes) = ([Double](repeating: 0, count: rows * part.columns.count), exact)
      ck_check_dot_f64(part.left, part.right, rows, part.columns.count, terms, &sums, &sizes)
      let leftSum = Oracle.sums(of: part.left.map { Float($0) }, rows: rows)
      let rightSum = Oracle.sums(of: part.right, rows: part.columns.count)
      for row in 0..<rows {
        for (index, column) in part.columns.enumerated() {
          exact[row * count + column] = sums[row * part.columns.count + index]
          magnitude[row * count + column] = sizes[row * part.columns.count + index]
          flushed[row * count + column] = 0x1p-126 * part.largestCode * (Double(terms) + leftSum[row] + rightSum[index])
        }
      }
    }

    // Rows of whole numbers that are held as they were written have exact sums, where the kernel takes them as they are. Sparse
    // rows hold such numbers, though not all of them.
    let isHeld = kernel.format?.isSparse == true || operands.held == operands.elements.stored
    let isExact =
      [.integers, .extremes].contains(attentionCase.elements) && isHeld && !met.contains(where: \.hasSteps)
    let d = Double(Oracle.attentionRoundings(kernel, terms: terms))
    let worst = isExact ? 0 : d * Oracle.roundoff / (1 - d * Oracle.roundoff)
    let likely = min(worst, 4 * d.squareRoot() * Oracle.roundoff)
    if isExact { flushed = flushed.map { _ in 0 } }
    self.init(
      exact: exact, hard: magnitude.indices.map { worst * magnitude[$0] + flushed[$0] },
      alarm: magnitude.indices.map { likely * magnitude[$0] + flushed[$0] },
      measuresRounding: attentionCase.elements != .denormals)
  }

  /// The two operands of some columns as the kernel multiplies them, each with a row for each of its rows or columns.
  private struct Operands {
    let columns: Range<Int>
    let left: [Double]
    let right: [Float]
    /// Whether `left` is integers of steps.
    var hasSteps = false
    /// What a flushed element of `left` may be multiplied by, where `right` is codes.
    var largestCode = 1.0
  }

  private static func operands(_ operands: AttentionOperands, _ kernel: AttentionKernel) -> [Operands] {
    if let bits = kernel.format?.affineBits { return [affine(operands, kernel, bits: bits)] }
    let (left, attentionCase) = (operands.elements.left, operands.attentionCase)
    let isKeys = kernel.step == .keys
    let columns = 0..<(isKeys ? attentionCase.tokens : attentionCase.dimension)
    let held = isKeys ? operands.held : transposed(operands.held, rows: attentionCase.tokens)
    let multipliesFP32 = kernel.format?.isSparse == true && !isKeys && kernel.isaTag == "avx512bf16"
    let roundsToBFloat16 = ["avx512bf16", "amxbf16"].contains(kernel.isaTag) && !multipliesFP32
    switch (kernel.format, kernel.step) {
    case (.int8, .keys) where kernel.isaTag != "scalar":
      let steps = left.chunks(of: attentionCase.dimension).flatMap(steps)
      return [Operands(columns: columns, left: steps, right: held, hasSteps: true)]
    case (.int8, .values) where kernel.isaTag != "scalar":
      // p times the scale of its token, in steps of each part.
      let tokens = operands.elements.stored.chunks(of: attentionCase.dimension).map(quantized)
      let weights = left.chunks(of: attentionCase.tokens).flatMap { row in
        zip(row, tokens).map { $0.0 * $0.1.scale }.chunks(of: Int(CK_KV_TOKENS)).flatMap(steps)
      }
      let codes = transposed(tokens.flatMap { $0.codes.map { Float($0) } }, rows: attentionCase.tokens)
      return [Operands(columns: columns, left: weights, right: codes, hasSteps: true)]
    case (.razerG16, .values) where roundsToBFloat16:
      return stride(from: 0, to: attentionCase.dimension, by: 16).map { first in
        razerOperands(operands, columns: first..<min(first + 16, attentionCase.dimension))
      }
    default:
      let left = left.map { Double(roundsToBFloat16 ? Float(BFloat16($0)) : $0) }
      return [Operands(columns: columns, left: left, right: held)]
    }
  }

  /// Of a group of channels: p times what 1 is worth in the codes of each token, rounded to bf16, and the codes.
  private static func razerOperands(_ operands: AttentionOperands, columns: Range<Int>) -> Operands {
    let (tokens, dimension) = (operands.attentionCase.tokens, operands.attentionCase.dimension)
    let slots = Int(CK_KV_TOKENS)
    let scales = (0..<tokens).map { token in
      ck_kv_scale(.CK_KV_RAZER_VALUES, dimension, operands.parts[token / slots].base, token % slots, columns.lowerBound)
    }
    let weights = operands.elements.left.enumerated().map { Double(Float(BFloat16($0.element * scales[$0.offset % tokens]))) }
    let codes = columns.flatMap { channel in (0..<tokens).map { operands.held[$0 * dimension + channel] / scales[$0] } }
    return Operands(columns: columns, left: weights, right: codes, largestCode: 6)
  }

  /// p times the scale of its token, rounded as p is, and codes less their zeros.
  private static func affine(_ operands: AttentionOperands, _ kernel: AttentionKernel, bits: Int) -> Operands {
    let attentionCase = operands.attentionCase
    let scales = operands.elements.stored.chunks(of: attentionCase.dimension).map { row -> Float in
      let range = row.reduce(0) { max($0, $1) } - row.reduce(0) { min($0, $1) }
      return row.allSatisfy(\.isFinite) && range.isFinite ? max(range, 1e-5) / Float(1 << bits - 1) : .nan
    }
    let rounds = ["avx512bf16", "amxbf16"].contains(kernel.isaTag)
    let weights = operands.elements.left.chunks(of: attentionCase.tokens).flatMap { row in
      zip(row, scales).map { p, scale in Double(rounds ? Float(BFloat16(p * scale)) : p * scale) }
    }
    let codes = operands.held.chunks(of: attentionCase.dimension).enumerated().flatMap { token, row in
      row.map { scales[token].isNaN ? 0 : ($0 / scales[token]).rounded() }
    }
    return Operands(
      columns: 0..<attentionCase.dimension, left: weights, right: transposed(codes, rows: attentionCase.tokens), hasSteps: true)
  }

  /// A row as int16 of one step.
  private static func steps(_ row: [Float]) -> [Double] {
    var high = [Int8](repeating: 0, count: row.count)
    var low = high
    let step = Double(ck_x_quantize16_f32(row, row.count, row.count, &high, &low))
    return zip(high, low).map { step * Double(256 * Int($0.0) + Int($0.1)) }
  }

  /// A row as an int8 cache holds it.
  private static func quantized(_ row: [Float]) -> (scale: Float, codes: [Int8]) {
    var codes = [Int8](repeating: 0, count: row.count)
    let scale = ck_x_quantize_f32(row, row.count, row.count, &codes)
    return (scale, codes)
  }

  /// The largest number of roundings that a product passes through. What the cache holds is itself read with one.
  private static func attentionRoundings(_ kernel: AttentionKernel, terms: Int) -> Int {
    switch (kernel.format, kernel.isaTag) {
    case (_, "scalar"): 3
    case (.int8, _): kernel.step == .keys ? (terms + 511) / 512 + 4 : (terms + 63) / 64 + 2
    case (_, "amxbf16") where !kernel.name.contains("_few_"): (terms + 31) / 32 + 19
    default: (terms + 63) / 64 * 64 + 3  // any order of additions
    }
  }

  private static func transposed(_ matrix: [Float], rows: Int) -> [Float] {
    let columns = matrix.count / rows
    return (0..<matrix.count).map { matrix[$0 % rows * columns + $0 / rows] }
  }
}

/// What the softmax must give of a row.
struct SoftmaxOracle {
  private let operands: AttentionOperands
  private let isExact: Bool

  init(_ operands: AttentionOperands) {
    self.operands = operands
    isExact = operands.attentionCase.elements == .integers
  }

  func check(_ output: AttentionOutput) throws(CheckFailure) -> Oracle.Shares {
    var worst = Oracle.Shares()
    for row in 0..<operands.attentionCase.rows { try check(row: row, of: output, &worst) }
    return worst
  }

  private func check(row: Int, of output: AttentionOutput, _ worst: inout Oracle.Shares) throws(CheckFailure) {
    let (tokens, view) = (operands.attentionCase.tokens, operands.elements.view)
    let scores = (0..<tokens).map { operands.elements.left[row * tokens + $0] }
    let seen = (0..<tokens).filter { view.sees(row: row, token: $0) }
    for column in 0..<output.extent where column >= tokens || !view.sees(row: row, token: column) {
      let p = output.value(row: row, column)
      guard p.bitPattern == 0 else { throw CheckFailure(reason: "p[\(row), \(column)] is \(p) though the row does not see it") }
    }
    let numbers = seen.map { scores[$0] }.filter { !$0.isNaN }
    let largest = numbers.max() ?? -.infinity
    let (max, sum) = (output.max.pointer(to: Float.self)[row], output.sum.pointer(to: Float.self)[row])
    guard max == largest else { throw CheckFailure(reason: "max[\(row)] is \(max) instead of \(largest)") }
    if seen.isEmpty {
      guard sum == 0 else { throw CheckFailure(reason: "sum[\(row)] is \(sum), but the row sees nothing") }
    } else if numbers.count < seen.count || !largest.isFinite {
      guard sum.isNaN else { throw CheckFailure(reason: "sum[\(row)] is \(sum) instead of nan") }
    } else {
      var total = 0.0
      for token in seen {
        let p = output.value(row: row, token)
        let x = Double(view.scale) * (Double(scores[token]) - Double(max))
        if let complaint = complaint(p, power: x, &worst) {
          throw CheckFailure(reason: "p[\(row), \(token)] is \(complaint)")
        }
        total += Double(p)
      }
      let allowed = isExact ? 0 : Double(seen.count) * Oracle.roundoff * total
      guard abs(Double(sum) - total) <= allowed else {
        throw CheckFailure(reason: "sum[\(row)] is \(sum), but the probabilities add up to \(total)")
      }
    }
  }

  /// x is rounded twice, which moves 2^x by at most 2 ln 2 |x| roundoffs; the power is within two units in the last place.
  private func complaint(_ p: Float, power x: Double, _ worst: inout Oracle.Shares) -> String? {
    let exact = exp2(x)
    let allowed = isExact ? 0 : (min(abs(x), 1000) * 1.3864 + 4.1) * Oracle.roundoff * exact + 0x1p-126
    let error = abs(Double(p) - exact)
    guard error <= allowed else { return "\(p) instead of \(exact): the error \(error) exceeds the bound, \(allowed)" }
    if allowed > 0, exact > 0x1p-100 { worst.add(Oracle.Shares(hard: error / allowed, alarm: error / allowed)) }
    return nil
  }
}

extension Array {
  /// Pieces of `count` elements, the last one shorter where they do not divide.
  fileprivate func chunks(of count: Int) -> [[Element]] {
    stride(from: 0, to: self.count, by: count).map { Array(self[$0..<Swift.min($0 + count, self.count)]) }
  }
}

extension KVFormat {
  /// Whether the smallest elements of a row are left out.
  fileprivate var isSparse: Bool { self == .sparse50 || self == .sparse70 }

  /// Of a code with a scale and a zero point.
  fileprivate var affineBits: Int? {
    switch self {
    case .bf16, .int8, .razerG16, .sparse50, .sparse70: nil
    case .affine8: 8
    case .affine4: 4
    case .affine3: 3
    case .affine2: 2
    }
  }
}
