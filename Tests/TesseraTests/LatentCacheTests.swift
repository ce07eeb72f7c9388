internal import Foundation
internal import Testing

@testable internal import Tessera

/// A sequence of latents, what lifts them, and attention over them in double.
private struct LatentSequence {
  let shape: AttentionShape
  let keyRanks: [Int]?
  let valueRanks: [Int]?
  let hasBias: Bool
  let tokens: Int
  let keyMatrices: [[Float]]
  let valueMatrices: [[Float]]
  let keyBias: [Float]
  let valueBias: [Float]
  let keys: [Float]
  let values: [Float]
  let queries: [Float]
  let rotary: RotaryEmbedding

  init(
    _ shape: AttentionShape, keyRanks: [Int]?, valueRanks: [Int]?, hasBias: Bool = false, tokens: Int,
    pairing: RotaryEmbedding.Pairing = .halves,
    seed: UInt64
  ) throws {
    var random = SeededGenerator(seed: seed)
    func numbers(_ count: Int, _ most: Float = 1) -> [Float] {
      (0..<count).map { _ in Float(BFloat16(Float.random(in: -most...most, using: &random))) }
    }
    self.shape = shape
    self.keyRanks = keyRanks
    self.valueRanks = valueRanks
    self.hasBias = hasBias
    self.tokens = tokens
    func matrices(_ ranks: [Int]?, _ width: Int) -> [[Float]] {
      (ranks ?? []).map { numbers(width / (ranks ?? []).count * $0, 1 / Float($0).squareRoot()) }
    }
    keyMatrices = matrices(keyRanks, shape.keyWidth)
    valueMatrices = matrices(valueRanks, shape.valueWidth)
    keyBias = numbers(shape.keyWidth)
    valueBias = numbers(shape.valueWidth)
    keys = numbers(tokens * (keyRanks?.reduce(0, +) ?? shape.keyWidth))
    values = numbers(tokens * (valueRanks?.reduce(0, +) ?? shape.valueWidth))
    queries = numbers(tokens * shape.queryWidth, 3)
    rotary = try RotaryEmbedding(rotated: shape.keyDimension, theta: 10000, pairing: pairing)
  }

  /// - Parameter tokens: the first of them, appended at once; nil takes all.
  func cache(lifting: Bool = true, format: KVFormat = .bf16, tokens: Int? = nil) throws -> KVCache {
    let latentKeys = try keyRanks.map {
      try LatentKeys(keyMatrices, ranks: $0, bias: hasBias ? keyBias : nil, rotary: rotary, shape: shape)
    }
    let latentValues = try valueRanks.map {
      lifting
        ? try LatentValues(valueMatrices, ranks: $0, bias: hasBias ? valueBias : nil, shape: shape)
        : try LatentValues(fusedRanks: $0, shape: shape)
    }
    var cache = try KVCache(
      shape, keys: keyRanks == nil ? .bf16 : format, latentKeys: latentKeys, values: format, latentValues: latentValues)
    try append(0..<(tokens ?? self.tokens), to: &cache)
    return cache
  }

  func append(_ range: Range<Int>, to cache: inout KVCache) throws {
    let (keyWidth, valueWidth) = (cache.keyWidth, cache.valueWidth)
    let newKeys = Array(keys[range.lowerBound * keyWidth..<range.upperBound * keyWidth])
    let newValues = Array(values[range.lowerBound * valueWidth..<range.upperBound * valueWidth])
    try cache.append(keys: newKeys.span, values: newValues.span)
  }

  /// A head's rows of a group's matrix times a latent, or what is stored where there are no groups.
  private func lifted(_ row: [Float], _ matrices: [[Float]], _ ranks: [Int]?, head: Int, dimension: Int) -> [Double] {
    guard let ranks else { return row.map(Double.init) }
    let headsPerGroup = shape.keyValueHeads / ranks.count
    let (group, index) = head.quotientAndRemainder(dividingBy: headsPerGroup)
    return (0..<dimension).map { element in
      let first = (index * dimension + element) * ranks[group]
      return zip(matrices[group][first..<first + ranks[group]], row).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
  }

  private func key(_ token: Int, head: Int, of cache: KVCache) -> [Double] {
    let row = cache.key(at: token, head: head)
    var key = lifted(row, keyMatrices, keyRanks, head: head, dimension: shape.keyDimension)
    guard keyRanks != nil else { return key }
    if hasBias { for element in key.indices { key[element] += Double(keyBias[head * shape.keyDimension + element]) } }
    for (pair, frequency) in rotary.frequencies.enumerated() {
      let (low, high) = rotary.pairing == .halves ? (pair, pair + rotary.rotated / 2) : (2 * pair, 2 * pair + 1)
      let (u, v, angle) = (key[low], key[high], Double(token) * frequency)
      key[low] = u * cos(angle) - v * sin(angle)
      key[high] = v * cos(angle) + u * sin(angle)
    }
    return key
  }

  func lastQueries() -> [Float] { Array(queries.suffix(shape.queryWidth)) }

  /// Attention of the last token.
  func reference(of cache: KVCache) -> [Double] {
    (0..<shape.keyValueHeads).flatMap { head -> [Double] in
      let keys = (0..<tokens).map { key($0, head: head, of: cache) }
      let values = (0..<tokens).map { token in
        let plain = lifted(
          cache.value(at: token, head: head), valueMatrices, valueRanks, head: head, dimension: shape.valueDimension)
        guard hasBias, valueRanks != nil else { return plain }
        return plain.enumerated().map { $1 + Double(valueBias[head * shape.valueDimension + $0]) }
      }
      return (0..<shape.queriesPerHead).flatMap { index -> [Double] in
        let first = (tokens - 1) * shape.queryWidth + (head * shape.queriesPerHead + index) * shape.keyDimension
        let q = queries[first..<first + shape.keyDimension].map(Double.init)
        let scores = keys.map { key in Double(shape.scale) * zip(q, key).reduce(0) { $0 + $1.0 * $1.1 } }
        let most = scores.max() ?? 0
        let powers = scores.map { exp($0 - most) }
        let sum = powers.reduce(0, +)
        return (0..<shape.valueDimension).map { channel in
          zip(powers, values).reduce(0) { $0 + $1.0 / sum * $1.1[channel] }
        }
      }
    }
  }
}

@Suite struct LatentCacheTests {
  private static func shape(_ queryHeads: Int, _ keyValueHeads: Int) throws -> AttentionShape {
    try AttentionShape(queryHeads: queryHeads, keyValueHeads: keyValueHeads, keyDimension: 32, valueDimension: 48)
  }

  /// Groups of one, two and all heads on either side; whole keys or values beside latents; ranks that differ.
  static let forms: [(keys: [Int]?, values: [Int]?)] = [
    ([32, 16, 8, 24], [16, 16, 16, 16]), ([32, 64], [33, 40]), ([16, 16, 16, 16], [96]), ([70], [40, 20]), (nil, [64]),
    ([40], nil), (nil, [16, 20, 24, 28]),
  ]

  @Test(arguments: forms.indices, [1, 65, 700])
  func latentsAgreeWithTheDefinition(form: Int, tokens: Int) throws {
    let (keyRanks, valueRanks) = LatentCacheTests.forms[form]
    for (queryHeads, hasBias) in [(4, true), (8, false)] {
      let shape = try LatentCacheTests.shape(queryHeads, 4)
      let sequence = try LatentSequence(
        shape, keyRanks: keyRanks, valueRanks: valueRanks, hasBias: hasBias, tokens: tokens,
        pairing: form % 2 == 0 ? .halves : .interleaved, seed: UInt64(form))
      let cache = try sequence.cache()
      let y = try attend(Executor(threads: 2), sequence.lastQueries(), to: [cache.contents])
      let reference = sequence.reference(of: cache)
      let size = reference.reduce(0) { $0 + $1 * $1 }.squareRoot()
      let error = zip(y, reference).reduce(0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }.squareRoot()
      #expect(y.count == reference.count)
      // Queries, probabilities and sums of latents in bf16 at most: the relative error in the Euclidean norm stays below 1%.
      #expect(error < 0.01 * size, "\(queryHeads) query heads, \(tokens) tokens")
    }
  }

  static let codes: [KVFormat] = [.affine8, .affine4, .affine3, .affine2]

  /// Attention over what is held in codes is attention over the numbers that they stand for.
  @Test(arguments: codes, forms.indices)
  func codesAgreeWithTheDefinition(format: KVFormat, form: Int) throws {
    let (keyRanks, valueRanks) = LatentCacheTests.forms[form]
    for (tokens, hasBias) in [(65, true), (600, false)] {
      let sequence = try LatentSequence(
        LatentCacheTests.shape(8, 4), keyRanks: keyRanks, valueRanks: valueRanks, hasBias: hasBias, tokens: tokens,
        seed: UInt64(form))
      let cache = try sequence.cache(format: format)
      let y = try attend(Executor(threads: 2), sequence.lastQueries(), to: [cache.contents])
      let reference = sequence.reference(of: cache)
      let size = reference.reduce(0) { $0 + $1 * $1 }.squareRoot()
      let error = zip(y, reference).reduce(0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }.squareRoot()
      #expect(error < 0.01 * size, "\(tokens) tokens")
    }
  }

  /// One by one, in bulk, after forgetting others, and in a fork whose parent stays as it is: the same bits.
  @Test(arguments: codes)
  func codesAreAppendedInAnyWay(format: KVFormat) throws {
    let sequence = try LatentSequence(
      LatentCacheTests.shape(8, 4), keyRanks: [32, 48], valueRanks: [40, 33], hasBias: true, tokens: 131, seed: 5)
    let executor = try Executor(threads: 1)
    let bulk = try sequence.cache(format: format)
    let y = try attend(executor, sequence.lastQueries(), to: [bulk.contents])
    var single = try sequence.cache(format: format, tokens: 1)
    for token in 1..<131 { try sequence.append(token..<token + 1, to: &single) }
    #expect(try attend(executor, sequence.lastQueries(), to: [single.contents]) == y)
    let parent = try sequence.cache(format: format, tokens: 100)
    let before = (0..<100).map { parent.key(at: $0, head: 3) }
    var child = parent
    try child.truncate(to: 70)
    let badKeys = [Float](repeating: .nan, count: 5 * child.keyWidth)
    let badValues = [Float](repeating: .nan, count: 5 * child.valueWidth)
    try child.append(keys: badKeys.span, values: badValues.span)
    try child.truncate(to: 70)
    try sequence.append(70..<131, to: &child)
    #expect(try attend(executor, sequence.lastQueries(), to: [child.contents]) == y)
    #expect((0..<100).map { parent.key(at: $0, head: 3) } == before)
  }

  /// With ranks as large as the heads, latents can hold the keys and values themselves.
  @Test func fullRankIsDenseAttention() throws {
    let shape = try AttentionShape(queryHeads: 6, keyValueHeads: 2, keyDimension: 32)
    let sequence = try LatentSequence(shape, keyRanks: [32, 32], valueRanks: [32, 32], tokens: 600, seed: 1)
    let identity: [Float] = (0..<32 * 32).map { $0 % 33 == 0 ? 1 : 0 }
    var latent = try KVCache(
      shape, latentKeys: LatentKeys([identity, identity], ranks: [32, 32], rotary: sequence.rotary, shape: shape),
      latentValues: LatentValues([identity, identity], ranks: [32, 32], shape: shape))
    try latent.append(keys: sequence.keys.span, values: sequence.values.span)
    var rotated = sequence.keys
    var span = rotated.mutableSpan
    try sequence.rotary.angles(at: 0..<600).rotate(&span, heads: 2, dimension: 32)
    var dense = KVCache(shape)
    try dense.append(keys: rotated.span, values: sequence.values.span)
    let executor = try Executor(threads: 1)
    let y = try attend(executor, sequence.lastQueries(), to: [dense.contents])
    #expect(distance(try attend(executor, sequence.lastQueries(), to: [latent.contents]), y.map(Double.init)) < 0.02)
    #expect(latent.bytesPerToken == dense.bytesPerToken)
  }

  /// Sums of latents, lifted afterwards, are what lifting gives.
  @Test func fusedValuesAreSumsOfLatents() throws {
    let shape = try LatentCacheTests.shape(8, 4)
    let sequence = try LatentSequence(shape, keyRanks: [64, 64], valueRanks: [40, 24], tokens: 90, seed: 2)
    let executor = try Executor(threads: 1)
    let (lifted, fused) = (try sequence.cache(), try sequence.cache(lifting: false))
    #expect(fused.contents.outputWidth == 4 * 40 + 4 * 24)
    let sums = try attend(executor, sequence.lastQueries(), to: [fused.contents])
    let y = try attend(executor, sequence.lastQueries(), to: [lifted.contents])
    for head in 0..<8 {
      let group = head / 4
      let rank = [40, 24][group]
      let latent = sums[group * 160 + head % 4 * rank..<group * 160 + (head % 4 + 1) * rank]
      for channel in [0, 17, 47] {
        let first = (head / 2 % 2 * 48 + channel) * rank
        let row = sequence.valueMatrices[group][first..<first + rank]
        let value = zip(row, latent).reduce(0) { $0 + $1.0 * $1.1 }
        #expect(abs(value - y[head * 48 + channel]) < 0.02)
      }
    }
  }

  @Test func bitsDependOnTheRowAlone() throws {
    let shape = try LatentCacheTests.shape(8, 4)
    let sequence = try LatentSequence(shape, keyRanks: [32, 48], valueRanks: [64], tokens: 1100, seed: 3)
    let contents = try sequence.cache().contents
    let alone = try attend(Executor(threads: 1, pinnedRows: 1), sequence.lastQueries(), to: [contents])
    for threads in [1, 2] {
      let executor = try Executor(threads: threads, pinnedRows: 1)
      #expect(try attend(executor, sequence.lastQueries(), to: [contents]) == alone)
      let queries = Array(sequence.queries.suffix(20 * shape.queryWidth))
      let bulk = try attend(executor, queries, to: [contents], tokens: [20])
      #expect(Array(bulk.suffix(shape.outputWidth)) == alone)
    }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    let shape = try LatentCacheTests.shape(8, 4)
    let rotary = try RotaryEmbedding(rotated: 32, theta: 10000)
    func keys(_ b: [[Float]], _ ranks: [Int], bias: [Float]? = nil, shape: AttentionShape) throws -> LatentKeys {
      try LatentKeys(b, ranks: ranks, bias: bias, rotary: rotary, shape: shape)
    }
    let matrix = [Float](repeating: 0, count: 64 * 16)
    #expect(throws: TesseraError.invalidShape(what: "key-value heads by groups", rows: 4, columns: 3)) {
      try keys([matrix, matrix, matrix], [16, 16, 16], shape: shape)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "matrices of groups", expected: 2, got: 1)) {
      try keys([matrix], [16, 16], shape: shape)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "matrix of a group", expected: 64 * 17, got: 64 * 16)) {
      try keys([matrix, matrix], [16, 17], shape: shape)
    }
    #expect(throws: TesseraError.invalidShape(what: "a group's latent", rows: 64, columns: 0)) {
      try keys([matrix, []], [16, 0], shape: shape)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "bias of the keys", expected: 128, got: 1)) {
      try keys([matrix, matrix], [16, 16], bias: [0], shape: shape)
    }
    let odd = try AttentionShape(queryHeads: 4, keyValueHeads: 4, keyDimension: 33)
    #expect(throws: TesseraError.self) { try keys([[Float](repeating: 0, count: 4 * 33 * 2)], [2], shape: odd) }
    #expect(throws: TesseraError.sizeMismatch(what: "bias of the values", expected: 192, got: 2)) {
      try LatentValues([[Float](repeating: 0, count: 192 * 8)], ranks: [8], bias: [0, 0], shape: shape)
    }
    #expect(throws: TesseraError.self) { try LatentValues(fusedRanks: [8, 0], shape: shape) }
    #expect(throws: TesseraError.unsupportedLatents(.int8)) {
      try KVCache(shape, keys: .int8, latentKeys: keys([matrix, matrix], [16, 16], shape: shape), latentValues: nil)
    }
    #expect(throws: TesseraError.unsupportedLatents(.affine4)) {
      try KVCache(
        shape, keys: .affine4, latentKeys: nil, values: .affine4, latentValues: LatentValues(fusedRanks: [8], shape: shape))
    }
    var cache = try KVCache(shape, latentKeys: keys([matrix, matrix], [16, 16], shape: shape), latentValues: nil)
    let rows = [Float](repeating: 1, count: 192)
    #expect(cache.keyWidth == 32)
    #expect(throws: TesseraError.sizeMismatch(what: "keys", expected: 32, got: 31)) {
      try cache.append(keys: rows.span.extracting(0..<31), values: rows.span)
    }
    try cache.append(keys: rows.span.extracting(0..<32), values: rows.span)
    #expect(throws: TesseraError.unsupportedSelection) { try cache.contents.selecting([[0], [0], [0], [0]]) }
  }
}
