internal import CKernels
internal import Tessera

// Which cases a kernel meets: a sweep by construction, then random ones.

extension AttentionCase {
  static let mostTokens = Int(CK_ATTENTION_CHUNK)

  // Around each block size of the kernels: 4 rows in registers, tiles of 16 and 32 rows; parts of 64 tokens, tiles of 16; lines
  // of 32 or 64 elements.
  private static let everyRows = Array(1...20) + [31, 32, 33, 47, 48, 63, 64, 65, 70]
  private static let everyTokens = [
    1, 2, 3, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 79, 100, 127, 128, 129, 255, 257, 511, 512,
  ]
  private static let everyDimension = [
    1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 80, 96, 97, 112, 127, 128, 129, 160, 192, 256,
  ]

  /// The cases that every run has.
  static func sweep(of kernel: AttentionKernel, seed: UInt64) -> [AttentionCase] {
    var random = Random(seed: seed)
    var cases: [AttentionCase] = []
    func add(_ check: Check, _ rows: Int, _ tokens: Int, _ dimension: Int, _ elements: KernelCase.Elements) {
      cases.append(
        AttentionCase(check, of: kernel, rows: rows, tokens: tokens, dimension: dimension, elements: elements, &random))
    }
    let kinds = elements(for: kernel.step)
    // Every number of rows with every kind of elements; every dimension with several numbers of tokens.
    for (index, rows) in everyRows.enumerated() {
      for (offset, elements) in kinds.enumerated() {
        let tokens = everyTokens[(index * 7 + offset * 3) % everyTokens.count]
        add(.values, rows, tokens, everyDimension[(index * 5 + offset) % everyDimension.count], elements)
      }
    }
    for (index, tokens) in everyTokens.enumerated() {
      for offset in 0..<6 {
        let dimension = everyDimension[(index + offset * 4) % everyDimension.count]
        add(.values, everyRows[(index + offset * 5) % 20], tokens, dimension, kinds[(index + offset) % kinds.count])
      }
    }
    for elements in kinds { add(.values, 70, 512, 256, elements) }
    for rows in everyRows { add(.rows, rows, random.pick([1, 17, 100, 130]), random.pick([1, 33, 64, 80, 128]), .uniform) }
    for tokens in everyTokens { add(.prefix, random.pick([1, 4, 17]), tokens, random.pick([1, 33, 64, 80, 128]), .uniform) }
    return cases
  }

  /// Every choice at random.
  static func random(of kernel: AttentionKernel, seed: UInt64) -> AttentionCase {
    var random = Random(seed: seed)
    let check: Check = random.isTrue(0.6) ? .values : random.pick(Check.allCases)
    let rows = random.isTrue(0.5) ? random.integer(1, 8) : random.integer(1, 70)
    let tokens = random.isTrue(0.5) ? random.integer(1, 70) : random.integer(1, mostTokens)
    let dimension = random.isTrue(0.5) ? random.integer(1, 64) : random.integer(1, 160)
    return AttentionCase(
      check, of: kernel, rows: rows, tokens: tokens, dimension: dimension, elements: random.pick(elements(for: kernel.step)),
      &random)
  }

  private static func elements(for step: AttentionKernel.Step) -> [KernelCase.Elements] {
    step == .softmax
      ? [.integers, .uniform, .outliers, .denormals, .special]
      : [.integers, .extremes, .uniform, .positive, .outliers, .denormals, .special]
  }

  private init(
    _ check: Check, of kernel: AttentionKernel, rows: Int, tokens: Int, dimension: Int, elements: KernelCase.Elements,
    _ random: inout Random
  ) {
    let isSoftmax = kernel.step == .softmax
    // What a row does not see adds 0 times itself: NaN beyond the prefix would change it.
    let elements = check == .prefix && elements == .special ? .uniform : elements
    self.init(
      variant: kernel.name, check: check, seed: random.bits() >> 16, rows: rows, tokens: tokens,
      dimension: isSoftmax ? 1 : dimension, elements: elements, mask: isSoftmax ? random.pick(Mask.allCases) : .all,
      gap: random.pick([0, 1, 16]), guardPage: random.pick(KernelCase.Guard.allCases))
  }
}
