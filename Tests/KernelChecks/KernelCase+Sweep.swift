internal import Tessera

// Which cases a kernel meets: a sweep by construction, then random ones.

extension KernelCase {
  // Around each block size of the kernels: 4 and 12 rows in registers, tiles of 16, 32 and 64 rows, 512 rows of prefill; panels
  // of 16 rows, 4 or 8 of them at a time; steps of 32 or 64 elements of k, blocks of 16 steps.
  private static let everyM = Array(1...13) + [15, 16, 17, 31, 32, 33, 34, 47, 48, 49, 63, 64, 65, 96, 127]
  private static let everyN = [1, 15, 16, 17, 31, 33, 48, 127]
  private static let everyK = [1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 127, 128, 511, 513, 1031]
  private static let everyDensity: [Density] = [.all(0), .all(0.05), .all(0.5), .all(0.95), .all(1), .ragged]
  private static let largeShapes = [(513, 33, 65), (66, 273, 97), (97, 145, 1031), (12, 16, 5003)]

  /// The cases that every run has. A kernel of several formats gets them in turn.
  static func sweep(of variant: KernelVariant, seed: UInt64) -> [KernelCase] {
    var random = Random(seed: seed)
    var cases: [KernelCase] = []
    func add(_ check: Check, _ m: Int, _ n: Int, _ k: Int, _ elements: Elements, threads: Int = 1) {
      let format = variant.formats[cases.count % variant.formats.count]
      cases.append(
        KernelCase(check, of: variant, format, m: m, n: n, k: k, elements: elements, threads: threads, &random))
    }
    let kinds = elements(for: variant.activations)
    // Every m with every kind of elements, every k with every n; the third size goes round.
    for (index, m) in everyM.enumerated() {
      for (offset, elements) in kinds.enumerated() {
        add(.values, m, everyN[(index + offset) % everyN.count], everyK[(index * 5 + offset * 3) % everyK.count], elements)
      }
    }
    for (index, k) in everyK.enumerated() {
      for (offset, n) in everyN.enumerated() {
        add(.values, everyM[(index + offset * 7) % 16], n, k, kinds[(index + offset) % kinds.count])
      }
    }
    for (m, n, k) in largeShapes {
      for elements in [Elements.integers, variant.activations == .bfloat16 ? .positive : .extremes] {
        add(.values, m, n, k, elements)
      }
    }
    let drifting: Elements = variant.activations == .bfloat16 ? .uniform : .integers
    for m in Array(1...33) + [48, 49, 64, 65, 127] {
      add(.rows, m, random.pick([1, 17, 40]), random.pick([33, 130, 513]), drifting)
    }
    for n in everyN + [273] { add(.splits, random.pick([1, 4, 13, 65]), n, random.pick([33, 130, 513]), drifting) }
    for threads in [1, 2, 3, 5] {
      for m in [1, 4, 33, 65] {
        add(.threads, m, random.pick([1, 31, 100, 273]), random.pick([33, 513]), drifting, threads: threads)
      }
    }
    return cases
  }

  /// Sizes up to about the square root of what the sweep has, and every choice at random.
  static func random(of variant: KernelVariant, seed: UInt64) -> KernelCase {
    var random = Random(seed: seed)
    let check: Check = random.isTrue(0.6) ? .values : random.pick(Check.allCases)
    let m = random.isTrue(0.5) ? random.integer(1, 16) : random.integer(1, 130)
    let n = random.isTrue(0.5) ? random.integer(1, 40) : random.integer(1, 160)
    let k = random.isTrue(0.5) ? random.integer(1, 130) : random.integer(1, 700)
    let kind = random.pick(elements(for: variant.activations))
    return KernelCase(
      check, of: variant, random.pick(variant.formats), m: m, n: n, k: k, elements: kind,
      threads: check == .threads ? random.integer(1, 6) : 1, &random)
  }

  private static func elements(for activations: ActivationType) -> [Elements] {
    activations == .bfloat16
      ? [.integers, .uniform, .positive, .outliers, .denormals, .special] : [.integers, .extremes, .special]
  }

  private init(
    _ check: Check, of variant: KernelVariant, _ format: WeightFormat, m: Int, n: Int, k: Int, elements: Elements, threads: Int,
    _ random: inout Random
  ) {
    self.init(
      variant: variant.name, format: format.rawValue, check: check, seed: random.bits() >> 16, m: m, n: n, k: k,
      elements: elements,
      density: random.pick(KernelCase.everyDensity), hasBias: random.isTrue(0.5), output: random.pick(Output.allCases),
      yGap: random.pick([0, 1, 16]), xGap: random.pick([0, 1, 2]), guardPage: random.pick(Guard.allCases), threads: threads)
  }
}
