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
    let (group, index) = head.quotientAndRemainder(dividingBy: shape.keyValueHeads / ranks.count)
    let wide = row.map(Double.init)
    return (0..<dimension).map { dot(matrices[group], at: (index * dimension + $0) * ranks[group], wide) }
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

  /// Attention of a token, the last one by default, to the positions for which `sees` holds, for each key-value head.
  func reference(
    of cache: KVCache, query: Int? = nil, sees: (_ head: Int, _ position: Int) -> Bool = { _, _ in true }
  ) -> [Double] {
    (0..<shape.keyValueHeads).flatMap { head -> [Double] in
      let seen = (0...(query ?? tokens - 1)).filter { sees(head, $0) }
      let keys = seen.map { key($0, head: head, of: cache) }
      let values = seen.map { token in
        let plain = lifted(
          cache.value(at: token, head: head), valueMatrices, valueRanks, head: head, dimension: shape.valueDimension)
        guard hasBias, valueRanks != nil else { return plain }
        return plain.enumerated().map { $1 + Double(valueBias[head * shape.valueDimension + $0]) }
      }
      return (0..<shape.queriesPerHead).flatMap { index -> [Double] in
        let row = (query ?? tokens - 1) * shape.queryWidth
        let first = row + (head * shape.queriesPerHead + index) * shape.keyDimension
        let scores = keys.map { Double(shape.scale) * dot(queries, at: first, $0) }
        let most = scores.max() ?? 0
        let powers = scores.map { exp($0 - most) }
        let sum = powers.reduce(0, +)
        var y = [Double](repeating: 0, count: shape.valueDimension)
        for (power, value) in zip(powers, values) {
          for channel in y.indices { y[channel] += power / sum * value[channel] }
        }
        return y
      }
    }
  }
}

/// The sum of products of `a`, from `first` on, with `b`: through pointers, because debug builds take an age for arrays.
private func dot(_ a: [Float], at first: Int, _ b: [Double]) -> Double {
  b.withUnsafeBufferPointer { b in
    a.withUnsafeBufferPointer { a in
      var sum = 0.0
      var index = 0
      while index < b.count {
        sum += Double(a[first + index]) * b[index]
        index += 1
      }
      return sum
    }
  }
}

/// ||y - reference|| / ||reference||.
private func relativeError(_ y: some Collection<Float>, _ reference: [Double]) -> Double {
  guard y.count == reference.count else { return .infinity }
  let error = zip(y, reference).reduce(0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }
  return (error / reference.reduce(0) { $0 + $1 * $1 }).squareRoot()
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
      // Queries, probabilities and sums of latents in bf16 at most: the relative error in the Euclidean norm stays below 1%.
      #expect(relativeError(y, sequence.reference(of: cache)) < 0.01, "\(queryHeads) query heads, \(tokens) tokens")
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
      #expect(relativeError(y, sequence.reference(of: cache)) < 0.01, "\(tokens) tokens")
    }
  }

  /// Every instruction set that this machine has.
  static let levels: [String] = ["scalar", "avx2", "avx512bf16", "amxbf16"].filter {
    (try? Executor(threads: 1, isa: ISALevel($0))) != nil
  }

  /// The form that a case number stands for, in one of the formats.
  private static func sequence(_ form: Int, tokens: Int) throws -> LatentSequence {
    try LatentSequence(
      shape(form % 2 == 0 ? 8 : 4, 4), keyRanks: forms[form].keys, valueRanks: forms[form].values, hasBias: form % 3 == 0,
      tokens: tokens, pairing: form % 2 == 0 ? .halves : .interleaved, seed: UInt64(form))
  }

  /// Heads that share latents share a list of positions; lists differ, and one form's reach beyond a chunk of 512.
  @Test(arguments: forms.indices)
  func selectedTokensAreTheOnlyOnesSeen(form: Int) throws {
    let sequence = try LatentCacheTests.sequence(form, tokens: 1100)
    for format in [.bf16, LatentCacheTests.codes[form % 4]] {
      let cache = try sequence.cache(format: format)
      let (contents, count) = (cache.contents, form == 1 && format == .bf16 ? 530 : 90)
      let lists = (0..<4 / contents.headsPerList).map { list in
        (0..<count).map { UInt32($0 * 1090 / count + (list + $0) % 2) } + [1098]
      }
      let reference = sequence.reference(of: cache) { lists[$0 / contents.headsPerList].contains(UInt32($1)) }
      for level in LatentCacheTests.levels {
        let executor = try Executor(threads: 2, isa: ISALevel(level))
        let y = try attend(executor, sequence.lastQueries(), to: [contents.selecting(lists)], mask: .all)
        #expect(relativeError(y, reference) < 0.01, "\(format), \(level)")
      }
    }
  }

  /// Guesses after what is cached: each sees the tokens before the tree and its own ancestors; also where those before it were
  /// selected.
  @Test(arguments: forms.indices)
  func treesSeeTheirAncestorsAlone(form: Int) throws {
    let sequence = try LatentCacheTests.sequence(form, tokens: 67)
    let width = sequence.shape.outputWidth
    let queries = Array(sequence.queries.suffix(5 * sequence.shape.queryWidth))
    // Two branches from token 0: 0 - 1 - 3, 0 - 2 - 4.
    let ancestors: [UInt64] = [0b1, 0b11, 0b101, 0b1011, 0b10101]
    func isAncestor(_ row: Int, _ position: Int) -> Bool { ancestors[row] >> UInt64(position - 62) & 1 == 1 }
    for format in [.bf16, LatentCacheTests.codes[(form + 1) % 4]] {
      let cache = try sequence.cache(format: format)
      let list = Array(stride(from: UInt32(0), to: 62, by: 5)) + Array(62..<67)
      let chosen = try cache.contents.selecting(Array(repeating: list, count: 4 / cache.contents.headsPerList))
      let whole = (0..<5).flatMap { row in
        sequence.reference(of: cache, query: 62 + row) { $1 < 62 || isAncestor(row, $1) }
      }
      let last = sequence.reference(of: cache, query: 66) { $1 < 62 ? $1 % 5 == 0 : isAncestor(4, $1) }
      for level in LatentCacheTests.levels {
        let executor = try Executor(threads: 1, isa: ISALevel(level))
        func y(_ contents: AttentionContents) throws -> [Float] {
          try attend(executor, queries, to: [contents], tokens: [5], mask: .tree(ancestors: ancestors))
        }
        #expect(relativeError(try y(cache.contents), whole) < 0.01, "\(format), \(level)")
        #expect(relativeError(try y(chosen).suffix(width), last) < 0.01, "\(format), \(level), selected")
      }
    }
  }

  @Test func selectionsThatDoNotFit() throws {
    let sequence = try LatentCacheTests.sequence(1, tokens: 10)
    let contents = try sequence.cache().contents
    #expect(contents.headsPerList == 2)
    #expect(throws: TesseraError.sizeMismatch(what: "lists of positions", expected: 2, got: 4)) {
      try contents.selecting([[0], [0], [0], [0]])
    }
    #expect(throws: TesseraError.sizeMismatch(what: "positions of a list", expected: 1, got: 2)) {
      try contents.selecting([[0], [0, 1]])
    }
    #expect(throws: TesseraError.emptyCache) { try contents.selecting([[], []]) }
    #expect(throws: TesseraError.invalidPosition(what: "selected", position: 10, count: 10)) {
      try contents.selecting([[1], [10]])
    }
    #expect(throws: TesseraError.repeatedPosition(4)) { try contents.selecting([[3, 4], [4, 4]]) }
    #expect(throws: TesseraError.repeatedPosition(3)) { try contents.selecting([[4, 3], [4, 5]]) }
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

    let lists = [Array(stride(from: UInt32(0), to: 600, by: 7)), Array(UInt32(500)..<586)]
    let chosen = try attend(executor, sequence.lastQueries(), to: [dense.contents.selecting(lists)], mask: .all)
    #expect(
      distance(
        try attend(executor, sequence.lastQueries(), to: [latent.contents.selecting(lists)], mask: .all),
        chosen.map(Double.init)) < 0.02)
    let queries = Array(sequence.queries.suffix(3 * shape.queryWidth))
    let mask = AttentionMask.tree(ancestors: [0b1, 0b11, 0b101])
    let tree = try attend(executor, queries, to: [dense.contents], tokens: [3], mask: mask)
    #expect(
      distance(try attend(executor, queries, to: [latent.contents], tokens: [3], mask: mask), tree.map(Double.init)) < 0.02)
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
  }
}
