internal import CKernelChecks
internal import CKernels
internal import Foundation
@testable internal import KernelChecks
internal import Testing

@testable internal import Tessera

/// One call of a latent_keys kernel: operands between inaccessible pages, and what each score must be, in double from absolute
/// positions.
struct LatentKeysCase: CustomStringConvertible {
  /// What the numbers are.
  enum Numbers: Sendable {
    /// Nearly normal ones; pairs turn by theta 10000.
    case random
    /// Small integers, whose sums are exact in fp32; nothing turns.
    case integers
  }

  var rank = 64
  var dim = 128
  var heads = 1
  /// Query rows of a head.
  var rows = 4
  var tokens = 65
  /// Position of the first token.
  var first = 0
  /// Whether the tokens were gathered from anywhere behind it.
  var isGathered = false
  var rotated: Int?
  var pairing = ck_pairing.CK_PAIRS_HALVES
  var hasBias = false
  var numbers = Numbers.random
  /// How latents are stored.
  var type = ck_kv_type.CK_KV_LATENT_BF16
  var seed: UInt64 = 1

  var description: String {
    "type \(type.rawValue), rank \(rank), dim \(dim), heads \(heads), rows \(rows), tokens \(tokens), first \(first), "
      + "gathered \(isGathered), rotated \(rotated ?? dim), "
      + "pairing \(pairing.rawValue), bias \(hasBias), \(numbers), seed \(seed)"
  }

  var frequencies: [Double] {
    let rotated = rotated ?? dim
    return (0..<rotated / 2).map { numbers == .integers ? 0 : pow(10000, -2 * Double($0) / Double(rotated)) }
  }

  /// Of each token, in rising order.
  var positions: [UInt32] {
    var random = Random(seed: seed)
    var next = first
    return (0..<tokens).map { _ in
      defer { next += isGathered ? random.integer(1, random.isTrue(0.9) ? 40 : 2000) : 1 }
      return UInt32(next)
    }
  }

  /// The elements of pair `pair`: of those that turn, then neighbours.
  func elements(ofPair pair: Int) -> (Int, Int) {
    let turning = (rotated ?? dim) / 2
    return pair < turning && pairing == .CK_PAIRS_HALVES ? (pair, pair + turning) : (2 * pair, 2 * pair + 1)
  }
}

/// The operands of a case.
final class LatentKeysOperands {
  let at: LatentKeysCase
  /// Latents as they are held; tokens x rank, heads * dim x rank, heads * dim, heads * rows x dim.
  let latents, w, bias, queries: [Float]
  let parts: [GuardedBuffer]
  let b, packedBias, table, origin, gathered, q: GuardedBuffer
  let positions: [UInt32]
  let queryStride: Int

  init(_ at: LatentKeysCase) throws {
    var random = Random(seed: at.seed)
    func numbers(_ count: Int, _ deviation: Float) -> [Float] {
      (0..<count).map { _ in
        at.numbers == .integers
          ? Float(random.integer(-3, 3)) : Float(BFloat16(random.normal() * deviation))
      }
    }
    self.at = at
    let written = numbers(at.tokens * at.rank, 1)
    w = numbers(at.heads * at.dim * at.rank, 1 / Float(at.rank).squareRoot())
    bias = at.hasBias ? numbers(at.heads * at.dim, 1) : []
    queries = numbers(at.heads * at.rows * at.dim, 1.5).map { at.numbers == .integers ? $0 : $0 * 1.0001 }

    (parts, latents) = try LatentKeysOperands.store(at, written)
    var group = LatentKeysOperands.shape(at)
    try #require(ck_latent_validate(&group) == .CK_OK, "\(at)")
    b = try #require(GuardedBuffer(byteCount: ck_latent_packed_bytes(&group), guardPage: .after))
    ck_latent_pack(&group, w, at.rank, b.base)
    packedBias = try #require(GuardedBuffer(byteCount: ck_latent_packed_bias_bytes(&group), guardPage: .after))
    if at.hasBias { ck_latent_pack_bias(&group, bias, packedBias.pointer(to: Float.self)) }
    table = try #require(GuardedBuffer(byteCount: ck_latent_table_bytes(at.dim), guardPage: .after))
    origin = try #require(GuardedBuffer(byteCount: ck_latent_origin_bytes(at.dim), guardPage: .after))
    let rotated = at.rotated ?? at.dim
    ck_latent_make_table(at.frequencies, rotated, at.dim, table.pointer(to: Float.self))
    ck_latent_make_origin(at.frequencies, rotated, at.dim, at.isGathered ? 0 : at.first, origin.pointer(to: Float.self))
    positions = at.positions
    gathered = try #require(GuardedBuffer(byteCount: ck_latent_gathered_bytes(at.dim), guardPage: .after))
    if at.isGathered {
      let floats = ck_latent_origin_bytes(at.dim) / 4, chunk = Int(CK_ATTENTION_CHUNK)
      var origins = [Float](repeating: .nan, count: (Int(positions.last ?? 0) / chunk + 1) * floats)
      for index in 0..<origins.count / floats {
        origins.withUnsafeMutableBufferPointer { all in
          guard let base = all.baseAddress else { return }
          ck_latent_make_origin(at.frequencies, rotated, at.dim, index * chunk, base + index * floats)
        }
      }
      ck_latent_gather_angles(
        table.pointer(to: Float.self), origins, at.dim, positions, at.tokens, gathered.pointer(to: Float.self))
    }

    queryStride = at.dim + Int(at.seed % 3)
    var spread = [Float](repeating: .nan, count: at.heads * at.rows * queryStride - (queryStride - at.dim))
    for row in 0..<at.heads * at.rows {
      for c in 0..<at.dim { spread[row * queryStride + c] = queries[row * at.dim + c] }
    }
    q = try #require(GuardedBuffer(copying: spread, guardPage: .after))
    for buffer in parts + [b, packedBias, table, origin, gathered, q] { buffer.freeze() }
  }

  private static func shape(_ at: LatentKeysCase) -> ck_latent_group {
    ck_latent_group(
      rank: at.rank, dim: at.dim, heads: at.heads, rotated: at.rotated ?? at.dim, pairing: at.pairing, b: nil, bias: nil)
  }

  /// The parts, and what reading them gives. Slots that hold no token of the chunk keep a pattern that is NaN as bf16 and in
  /// scales.
  private static func store(_ at: LatentKeysCase, _ latents: [Float]) throws -> ([GuardedBuffer], [Float]) {
    let bytes = ck_kv_part_bytes(at.type, at.rank), perPart = Int(CK_KV_TOKENS)
    var held: [Float] = []
    let parts = try (0..<(at.tokens + perPart - 1) / perPart).map { part in
      let buffer = try #require(GuardedBuffer(byteCount: bytes, guardPage: .after))
      for token in part * perPart..<min((part + 1) * perPart, at.tokens) {
        let row = Array(latents[token * at.rank..<(token + 1) * at.rank])
        ck_kv_write(at.type, at.rank, buffer.base, token % perPart, row)
        var back = [Float](repeating: .nan, count: at.rank)
        ck_kv_read(at.type, at.rank, buffer.base, token % perPart, &back)
        held += back
      }
      return buffer
    }
    return (parts, held)
  }

  /// heads * rows x tokens. `only`: of one row of each head, computed alone; `tokens`: of a prefix of the chunk.
  func run(_ variant: ck_latent_keys_variant, onlyRow only: Int? = nil, tokens prefix: Int? = nil) throws -> [Float] {
    let name = String(cString: variant.name)
    let tokens = prefix ?? at.tokens
    let rows = at.heads * (only == nil ? at.rows : 1)
    var group = LatentKeysOperands.shape(at)
    group.b = UnsafeRawPointer(b.base)
    group.bias = at.hasBias ? UnsafePointer(packedBias.pointer(to: Float.self)) : nil
    var angles = ck_latent_angles(
      table: table.pointer(to: Float.self), origin: origin.pointer(to: Float.self),
      gathered: at.isGathered ? UnsafePointer(gathered.pointer(to: Float.self)) : nil)
    // A row of each head: every head's rows are that far apart.
    let stride = only == nil ? queryStride : at.rows * queryStride
    var queries = ck_attention_queries(
      rows: rows, q: UnsafePointer(q.pointer(to: Float.self)) + (only ?? 0) * queryStride, stride: stride)

    let scoreStride = (tokens + 15) / 16 * 16 + 16 * Int(at.seed % 2)
    let scores = try #require(
      GuardedBuffer(byteCount: ((rows - 1) * scoreStride + (tokens + 15) / 16 * 16) * 4, guardPage: .after))
    let scratch = try #require(GuardedBuffer(byteCount: variant.scratch_bytes(&group, rows), guardPage: .after))
    let pointers = parts.map { UnsafeRawPointer($0.base) }
    var address: UInt = 0
    let failure = pointers.withUnsafeBufferPointer { pointers -> String? in
      guard let base = pointers.baseAddress else { return "no parts" }
      var span = ck_kv_span(parts: base, tokens: tokens, dim: at.rank, next: nil)
      return withUnsafePointer(to: variant) { variant in
        ck_check_run_latent_keys(
          variant, &group, &angles, &span, &queries, scores.pointer(to: Float.self), scoreStride, scratch.base, &address
        ).map { String(cString: $0) }
      }
    }
    let places = [
      ("b", b), ("the table", table), ("origin", origin), ("gathered", gathered), ("q", q), ("scores", scores),
      ("scratch", scratch),
    ]
    let place = (places + parts.map { ("a part", $0) }).compactMap { $0.1.place(of: address, name: $0.0) }.first ?? "elsewhere"
    #expect(failure == nil, "\(name), \(at): \(place)")
    #expect(scores.surroundingsAreUntouched && scratch.surroundingsAreUntouched, "\(name), \(at)")
    return (0..<rows).flatMap { row in
      (0..<tokens).map { scores.pointer(to: Float.self)[row * scoreStride + $0] }
    }
  }

  /// What the scores are, and the sums of the magnitudes that go into them.
  func expected() -> (exact: [Double], magnitude: [Double]) {
    let (width, tokens) = (at.heads * at.dim, at.tokens)
    var keys = [Double](repeating: 0, count: tokens * width)
    var sizes = keys
    ck_check_dot(latents, w, tokens, width, at.rank, &keys, &sizes)
    if at.hasBias {
      for i in keys.indices {
        keys[i] += Double(bias[i % width])
        sizes[i] += Double(abs(bias[i % width]))
      }
    }
    var exact = [Double](repeating: 0, count: at.heads * at.rows * tokens)
    var magnitude = exact
    let frequencies = at.frequencies
    for token in 0..<tokens {
      for pair in 0..<at.dim / 2 {
        let angle = pair < frequencies.count ? frequencies[pair] * Double(positions[token]) : 0
        let (cosine, sine) = (cos(angle), sin(angle))
        let (low, high) = at.elements(ofPair: pair)
        for head in 0..<at.heads {
          let (u, v) = (keys[token * width + head * at.dim + low], keys[token * width + head * at.dim + high])
          let size = sizes[token * width + head * at.dim + low] + sizes[token * width + head * at.dim + high]
          for row in head * at.rows..<(head + 1) * at.rows {
            let (a, b) = (Double(queries[row * at.dim + low]), Double(queries[row * at.dim + high]))
            exact[row * tokens + token] += a * (u * cosine - v * sine) + b * (v * cosine + u * sine)
            magnitude[row * tokens + token] += (abs(a) + abs(b)) * size
          }
        }
      }
    }
    return (exact, magnitude)
  }
}
