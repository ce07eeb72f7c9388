internal import CKernels
internal import Tessera

/// The numbers of a case, row after row: what the oracle computes with.
struct AttentionElements {
  /// Queries (rows x dimension), probabilities or scores (rows x tokens).
  let left: [Float]
  /// The rows to be stored, tokens x dimension; none for the softmax.
  let stored: [Float]
  /// What the softmax's rows see.
  let view: SoftmaxView
  /// How many of the tokens a row looks at in `prefix` checks.
  let prefix: Int

  init(_ attentionCase: AttentionCase, _ kernel: AttentionKernel) {
    let step = kernel.step
    // Sums of 4-bit rows are scaled afterwards, so the largest elements would overflow on the way or not.
    let specialBits = Elements.specialBits.filter { kernel.format != .razerG16 || $0 & 0x7FFF != 0x7F7F }
    var random = Random(seed: attentionCase.seed)
    let (rows, tokens, dimension) = (attentionCase.rows, attentionCase.tokens, attentionCase.dimension)
    prefix = attentionCase.check == .prefix ? random.integer(1, tokens) : tokens
    view = SoftmaxView(attentionCase, tokens: prefix, &random)
    // A denormal may count as 0, which infinity must not meet: only one side has special elements.
    let specialLeft = attentionCase.elements == .special && random.isTrue(0.4)
    stored = step == .softmax ? [] : AttentionElements.stored(attentionCase, specialBits: specialLeft ? [] : specialBits, &random)
    let elements = attentionCase.elements
    switch step {
    case .keys, .latentKeys:
      var q = (0..<rows * dimension).map { _ in Elements.number(elements, largestInteger: 4, &random) }
      if specialLeft { q[random.index(below: q.count)] = AttentionElements.special(specialBits, &random) }
      left = q
    case .softmax:
      left = (0..<rows * tokens).map { _ in AttentionElements.score(elements, &random) }
    case .values:
      let prefix = prefix
      var p = (0..<rows * tokens).map { $0 % tokens < prefix ? AttentionElements.probability(elements, &random) : 0 }
      if specialLeft { p[random.index(below: p.count)] = random.pick([.nan, 0x1p-149, 0x1p-126]) }
      left = p
    }
  }

  private static func special(_ bits: [UInt16], _ random: inout Random) -> Float { Float(BFloat16(bits: random.pick(bits))) }

  /// Integers come with one of the largest magnitude in each row, so that an 8-bit row has step 1.
  private static func stored(_ attentionCase: AttentionCase, specialBits: [UInt16], _ random: inout Random) -> [Float] {
    let (tokens, dimension, elements) = (attentionCase.tokens, attentionCase.dimension, attentionCase.elements)
    var stored = (0..<tokens * dimension).map { _ in
      elements == .extremes ? random.pick([-127, 127]) : Elements.number(elements, largestInteger: 127, &random)
    }
    if elements == .integers {
      for token in 0..<tokens { stored[token * dimension + random.index(below: dimension)] = random.pick([-127, 127]) }
    }
    if elements == .special, !specialBits.isEmpty {
      stored[random.index(below: stored.count)] = special(specialBits, &random)
    }
    return stored
  }

  private static func probability(_ elements: KernelCase.Elements, _ random: inout Random) -> Float {
    switch elements {
    case .integers, .extremes: Float(random.index(below: 5)) / 4
    case .uniform, .positive: random.isTrue(0.2) ? 0 : random.unit()
    case .outliers: random.isTrue(0.02) ? random.unit() : random.unit() * 0x1p-12
    case .denormals: random.unit() * random.pick([0x1p-125, 0x1p-64, 1])
    case .special: random.unit()
    }
  }

  /// Integers 0...8 at scale 1: powers are exact, and so are their sums.
  private static func score(_ elements: KernelCase.Elements, _ random: inout Random) -> Float {
    switch elements {
    case .integers, .extremes: Float(random.index(below: 9))
    case .uniform, .positive: random.normal() * 10
    case .outliers: random.normal() * (random.isTrue(0.02) ? 2000 : 10)
    // Powers on both sides of 2^-126, and scores that are next to nothing.
    case .denormals: random.isTrue(0.5) ? -random.unit() * 160 : random.unit() * 0x1p-126
    case .special:
      random.isTrue(0.01) ? random.pick([.nan, .infinity, -.infinity, 1e5, -1e5, 1e12, 3e38, -3e38]) : random.normal()
    }
  }
}

/// The softmax's arguments beside the scores.
struct SoftmaxView {
  let scale: Float
  let first: Int
  let visible: [UInt32]
  let treeFirst: Int
  let tree: [UInt64]?

  fileprivate init(_ attentionCase: AttentionCase, tokens: Int, _ random: inout Random) {
    let exact = attentionCase.elements == .integers || attentionCase.elements == .denormals
    // The last one takes large scores beyond the range.
    scale = exact ? 1 : random.pick([1, 0.5, 0.1275] + (attentionCase.elements == .special ? [8] : []))
    let first = random.pick([0, 1, 64, 512, 70000])
    let end = first + tokens
    let mask = attentionCase.mask
    self.first = first
    visible = (0..<attentionCase.rows).map { _ in
      switch mask {
      case .all: UInt32(end)
      // A row may end before the chunk, within it, or beyond it, unless that would show it what `prefix` takes away.
      case .causal, .tree: UInt32(min(max(first - 2, 0) + random.index(below: tokens + 5), end))
      }
    }
    treeFirst = max(0, first - 70 + random.index(below: tokens + 80))
    tree = mask == .tree ? (0..<attentionCase.rows).map { _ in random.pick([0, .max, random.bits()]) } : nil
  }

  /// Whether a row sees a token of the chunk: the definition.
  func sees(row: Int, token: Int) -> Bool {
    let position = first + token
    guard position < visible[row] else { return false }
    guard let tree, position >= treeFirst, position < treeFirst + 64 else { return true }
    return tree[row] >> UInt64(position - treeFirst) & 1 == 1
  }
}
