internal import CKernelChecks
internal import CKernels
internal import EmulatedKernels
internal import Foundation
internal import Testing

@testable internal import Tessera

/// Scores of keys that are rebuilt from latents: every kernel that this machine runs, and those for AVX-512 and AMX over models
/// of their instructions, against sums in double.
@Suite struct LatentKeysTests {
  struct Kernel: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let variant: ck_latent_keys_variant

    var readsCodes: Bool { variant.type != .CK_KV_LATENT_BF16 }

    static let all: [Kernel] = {
      var (shipped, emulated) = (0, 0)
      let real = UnsafeBufferPointer(start: ck_latent_keys_variants(&shipped), count: shipped)
      let models = UnsafeBufferPointer(start: ck_latent_keys_emulated(&emulated), count: emulated)
      return real.filter { InstructionSet.detect().isSuperset(of: InstructionSet(rawValue: $0.isa)) }.map {
        Kernel(testDescription: String(cString: $0.name), variant: $0)
      } + models.map { Kernel(testDescription: String(cString: $0.name) + " over models", variant: $0) }
    }()
  }

  /// Positions of the first token: at, before and behind the border of a block, and far out.
  static let cases: [LatentKeysCase] = {
    var cases = [0, 31, 32, 65504].map { LatentKeysCase(tokens: 40, first: $0) }
    cases += [1, 15, 16, 17, 63, 64, 65, 200].map { LatentKeysCase(rank: 32, dim: 64, rows: 1, tokens: $0, first: 512) }
    cases += [1, 31, 32, 33, 96, 160, 256].map { LatentKeysCase(rank: $0, dim: 64, rows: 2, tokens: 33, hasBias: true) }
    cases += [1, 2, 3, 4, 5, 7, 9, 33].map { LatentKeysCase(rank: 32, dim: 32, heads: 2, rows: $0, tokens: 50) }
    cases += [2, 30, 34, 80, 96, 128].map { LatentKeysCase(rank: 40, dim: $0, heads: 3, rows: 2, tokens: 70, hasBias: true) }
    for pairing in [ck_pairing.CK_PAIRS_HALVES, .CK_PAIRS_INTERLEAVED] {
      cases += [0, 2, 32, 64].map {
        LatentKeysCase(rank: 32, dim: 64, heads: 4, rows: 7, tokens: 65, first: 100, rotated: $0, pairing: pairing)
      }
    }
    cases.append(LatentKeysCase(rank: 256, dim: 128, heads: 4, rows: 4, tokens: 65, first: 65472, hasBias: true))
    cases += [1, 31, 33, 64, 65, 200].map {
      LatentKeysCase(
        rank: 40, dim: 64, heads: $0 % 3 + 1, rows: 4, tokens: $0, first: 1000 * $0, isGathered: true,
        rotated: $0 == 33 ? 32 : nil, pairing: $0 % 2 == 0 ? .CK_PAIRS_HALVES : .CK_PAIRS_INTERLEAVED, hasBias: $0 > 60)
    }
    cases += [2, 80, 128].map { LatentKeysCase(rank: 64, dim: $0, rows: 5, tokens: 70, isGathered: true) }
    for i in cases.indices { cases[i].seed = UInt64(i + 1) }
    return cases
  }()

  /// A product of q, B and a latent meets at most rank + dim roundings in its two sums, and a few where pairs turn and angles are
  /// rounded. Sums of random errors stay below 4 sqrt of that.
  ///
  /// AMX kernels round the queries' side of slow strips to bf16 twice, G and y, and take polynomials for cosines: 2^-9, 2^-9 and
  /// 2^-13 of numbers whose signs are random, as are those of the rank * dim products that they go through. What is left of them
  /// is some 2^-8 / sqrt(rank * dim) of the sum of magnitudes, and here a fourfold of it.
  private func bound(_ at: LatentKeysCase, _ kernel: Kernel) -> Double {
    // Two more for codes: latents are read with one, a score is multiplied with its token's scale.
    let roundings = Double((at.rank + 31) / 32 * 32 + at.dim + 26)
    let rounded = String(cString: kernel.variant.name).contains("amx") ? 0x1p-6 / Double(at.rank * at.dim).squareRoot() : 0
    return min(roundings, 4 * roundings.squareRoot()) * 0x1p-24 + rounded
  }

  private func expectNoFault(_ kernel: Kernel, _ at: LatentKeysCase) {
    let fault = ck_model_take_fault().map { String(cString: $0) }
    #expect(fault == nil, "\(kernel.testDescription), \(at)")
  }

  @Test(arguments: Kernel.all, cases)
  func scoresLieWithinTheBound(kernel: Kernel, at: LatentKeysCase) throws {
    // Kernels for codes are those for bf16 behind an expansion: a third of the cases for each.
    guard !kernel.readsCodes || at.seed % 3 == UInt64(kernel.variant.type.rawValue) % 3 else { return }
    var at = at
    at.type = kernel.variant.type
    let operands = try LatentKeysOperands(at)
    let scores = try operands.run(kernel.variant)
    expectNoFault(kernel, at)
    let (exact, magnitude) = operands.expected()
    var worst = 0.0
    for i in exact.indices {
      let share = abs(Double(scores[i]) - exact[i]) / (magnitude[i] * bound(at, kernel) + 0x1p-120)
      worst = share.isNaN ? .infinity : max(worst, share)
    }
    #expect(worst <= 1, "\(kernel.testDescription), \(at)")
  }

  @Test(arguments: Kernel.all)
  func integersAreExact(kernel: Kernel) throws {
    guard !kernel.readsCodes else { return }
    var seed: UInt64 = 100
    for (rank, tokens) in [(1, 1), (32, 16), (33, 65), (160, 31), (256, 130)] {
      for rows in [1, 4, 7] {
        seed += 1
        let at = LatentKeysCase(
          rank: rank, dim: 34, heads: 2, rows: rows, tokens: tokens,
          pairing: seed % 2 == 0 ? .CK_PAIRS_HALVES : .CK_PAIRS_INTERLEAVED,
          hasBias: seed % 3 == 0, numbers: .integers, seed: seed)
        let operands = try LatentKeysOperands(at)
        let scores = try operands.run(kernel.variant)
        expectNoFault(kernel, at)
        #expect(scores.map { Double($0) } == operands.expected().exact, "\(kernel.testDescription), \(at)")
      }
    }
  }

  /// The bits of a score depend neither on the rows beside it nor on the tokens behind it.
  @Test(arguments: Kernel.all, [false, true])
  func aScoreDependsOnItsRowAndTokenAlone(kernel: Kernel, isGathered: Bool) throws {
    let at = LatentKeysCase(
      rank: 96, dim: 64, heads: 2, rows: 7, tokens: 100, first: 1000, isGathered: isGathered, hasBias: true,
      type: kernel.variant.type, seed: 7)
    let operands = try LatentKeysOperands(at)
    let whole = try operands.run(kernel.variant).map(\.bitPattern)
    for row in 0..<at.rows {
      let alone = try operands.run(kernel.variant, onlyRow: row).map(\.bitPattern)
      for head in 0..<at.heads {
        let place = (head * at.rows + row) * at.tokens
        #expect(Array(alone[head * at.tokens..<(head + 1) * at.tokens]) == Array(whole[place..<place + at.tokens]))
      }
    }
    for tokens in [1, 16, 17, 32, 33, 64, 65, 99] {
      let prefix = try operands.run(kernel.variant, tokens: tokens).map(\.bitPattern)
      for row in 0..<at.heads * at.rows {
        let place = row * at.tokens
        #expect(Array(prefix[row * tokens..<(row + 1) * tokens]) == Array(whole[place..<place + tokens]), "\(tokens) tokens")
      }
    }
    expectNoFault(kernel, at)
  }

  /// The definition turns keys by three angles; one angle, the query turned back, sums split by phase, and the distance alone all
  /// give the same.
  @Test func formsOfAScoreAgree() {
    var random = SeededGenerator(seed: 3)
    let (pairs, rank, origin, token, position) = (32, 48, 65504, 65530, 65535)
    func numbers(_ count: Int) -> [Double] { (0..<count).map { _ in Double.random(in: -1...1, using: &random) } }
    let (h, b1, b2) = (numbers(rank), (0..<pairs).map { _ in numbers(rank) }, (0..<pairs).map { _ in numbers(rank) })
    let (q1, q2) = (numbers(pairs), numbers(pairs))
    func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
    func turn(_ u: Double, _ v: Double, _ angle: Double) -> (Double, Double) {
      (u * cos(angle) - v * sin(angle), v * cos(angle) + u * sin(angle))
    }
    var (rebuilt, split, blocked, relative) = (0.0, 0.0, 0.0, 0.0)
    for i in 0..<pairs {
      let w = pow(10000, -Double(i) / Double(pairs))
      let (k1, k2) = (dot(h, b1[i]), dot(h, b2[i]))
      let q = turn(q1[i], q2[i], w * Double(position))
      let k = turn(k1, k2, w * Double(token))
      rebuilt += q.0 * k.0 + q.1 * k.1
      split += cos(w * Double(token)) * (q.0 * k1 + q.1 * k2) + sin(w * Double(token)) * (q.1 * k1 - q.0 * k2)
      let back = turn(q.0, q.1, -w * Double(origin))
      let within = turn(k1, k2, w * Double(token - origin))
      blocked += back.0 * within.0 + back.1 * within.1
      let distance = turn(k1, k2, w * Double(token - position))
      relative += q1[i] * distance.0 + q2[i] * distance.1
    }
    for form in [split, blocked, relative] { #expect(abs(form - rebuilt) < 1e-9) }
  }

  static let codes: [ck_kv_type] = [
    .CK_KV_LATENT_AFFINE8, .CK_KV_LATENT_AFFINE4, .CK_KV_LATENT_AFFINE3, .CK_KV_LATENT_AFFINE2, .CK_KV_AFFINE8, .CK_KV_AFFINE4,
    .CK_KV_AFFINE3, .CK_KV_AFFINE2,
  ]

  /// A token's codes share bytes with its neighbours', which must stay; whatever was there before.
  @Test(arguments: codes, [1, 31, 32, 33, 160])
  func codesAreStoredAndCopied(type: ck_kv_type, rank: Int) throws {
    let bits = [8, 4, 3, 2][Int(type.rawValue) & 3]
    let bytes = ck_kv_part_bytes(type, rank)
    #expect(bytes == 64 * ((rank + 31) / 32 * 4 * bits + 5))
    let part = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
    let other = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
    defer {
      part.deallocate()
      other.deallocate()
    }
    part.initializeMemory(as: UInt8.self, repeating: 0xFF, count: bytes)
    other.initializeMemory(as: UInt8.self, repeating: 0x5A, count: bytes)
    var random = SeededGenerator(seed: UInt64(rank * bits))
    let rows = (0..<64).map { slot in (0..<rank).map { _ in Float.random(in: -4...Float(1 + slot % 5), using: &random) } }
    for slot in (0..<64).shuffled(using: &random) { ck_kv_write(type, rank, part, slot, rows[slot]) }
    for slot in 0..<64 { ck_kv_copy(type, rank, part, slot, other, 63 - slot) }
    for slot in 0..<64 {
      let (low, high) = (min(rows[slot].min() ?? 0, 0), max(rows[slot].max() ?? 0, 0))
      let scale = (high - low) / Float(1 << bits - 1)
      var (row, copy) = ([Float](repeating: .nan, count: rank), [Float](repeating: .nan, count: rank))
      ck_kv_read(type, rank, part, slot, &row)
      ck_kv_read(type, rank, other, 63 - slot, &copy)
      #expect(row == copy)
      #expect(zip(row, rows[slot]).allSatisfy { abs($0 - $1) <= scale * 0.5001 })
    }
  }

  @Test(arguments: [1, 2, 31, 32, 33, 160])
  func latentsAreStoredAndCopied(rank: Int) throws {
    let bytes = ck_kv_part_bytes(.CK_KV_LATENT_BF16, rank)
    #expect(bytes == 64 * 64 * ((rank + 31) / 32))
    let part = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
    let other = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
    defer {
      part.deallocate()
      other.deallocate()
    }
    part.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    other.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    var random = SeededGenerator(seed: UInt64(rank))
    let rows = (0..<64).map { _ in (0..<rank).map { _ in Float.random(in: -4...4, using: &random) } }
    for slot in 0..<64 { ck_kv_write(.CK_KV_LATENT_BF16, rank, part, slot, rows[slot]) }
    for slot in 0..<64 { ck_kv_copy(.CK_KV_LATENT_BF16, rank, part, slot, other, 63 - slot) }
    var row = [Float](repeating: .nan, count: rank)
    for slot in 0..<64 {
      let rounded = rows[slot].map { Float(BFloat16($0)) }
      ck_kv_read(.CK_KV_LATENT_BF16, rank, part, slot, &row)
      #expect(row == rounded)
      ck_kv_read(.CK_KV_LATENT_BF16, rank, other, 63 - slot, &row)
      #expect(row == rounded)
    }
  }

  @Test(arguments: [(1, 2, 0), (33, 34, 16), (256, 128, 128)], [ck_pairing.CK_PAIRS_HALVES, .CK_PAIRS_INTERLEAVED])
  func packedMatricesComeBack(_ shape: (rank: Int, dim: Int, rotated: Int), pairing: ck_pairing) {
    var group = ck_latent_group(
      rank: shape.rank, dim: shape.dim, heads: 3, rotated: shape.rotated, pairing: pairing, b: nil, bias: nil)
    var random = SeededGenerator(seed: UInt64(shape.rank))
    let stride = shape.rank + 3
    let w = (0..<3 * shape.dim * stride).map { _ in Float.random(in: -1...1, using: &random) }
    let b = UnsafeMutableRawPointer.allocate(byteCount: ck_latent_packed_bytes(&group), alignment: 64)
    defer { b.deallocate() }
    ck_latent_pack(&group, w, stride, b)
    group.b = UnsafeRawPointer(b)
    var back = [UInt16](repeating: 0, count: w.count)
    ck_latent_unpack(&group, &back, stride)
    for i in w.indices { #expect(back[i] == (i % stride < shape.rank ? BFloat16(w[i]).bits : 0)) }
  }

  @Test func shapesThatDoNotFitAreRefused() throws {
    let good = ck_latent_group(rank: 64, dim: 128, heads: 4, rotated: 128, pairing: .CK_PAIRS_HALVES, b: nil, bias: nil)
    func status(_ change: (inout ck_latent_group) -> Void) -> ck_status {
      var group = good
      change(&group)
      return ck_latent_validate(&group)
    }
    #expect(status { _ in } == .CK_OK)
    #expect(status { $0.rank = 0 } == .CK_ERR_SHAPE)
    #expect(status { $0.dim = 0 } == .CK_ERR_SHAPE)
    #expect(status { $0.heads = 0 } == .CK_ERR_SHAPE)
    #expect(status { $0.dim = 127 } == .CK_ERR_SHAPE)
    #expect(status { $0.rotated = 63 } == .CK_ERR_SHAPE)
    #expect(status { $0.rotated = 130 } == .CK_ERR_SHAPE)
    let unknown = try #require(ck_pairing(rawValue: 2))
    #expect(status { $0.pairing = unknown } == .CK_ERR_SHAPE)
    #expect(status { $0.rank = .max } == .CK_ERR_SHAPE)
    #expect(status { $0.dim = .max - 1 } == .CK_ERR_SHAPE)
    #expect(status { $0.heads = .max } == .CK_ERR_SHAPE)
    #expect(status { ($0.rank, $0.heads) = (1 << 30, 1 << 30) } == .CK_ERR_SHAPE)
  }

  @Test func everyShippedKernelOfAVX512AndAMXHasATwin() {
    let names = Set(Kernel.all.map(\.testDescription))
    var count = 0
    let shipped = ck_latent_keys_variants(&count)
    for i in 0..<count where !InstructionSet(rawValue: shipped[i].isa).isDisjoint(with: [.avx512, .amxtile]) {
      #expect(names.contains(String(cString: shipped[i].name) + " over models"))
    }
  }
}
