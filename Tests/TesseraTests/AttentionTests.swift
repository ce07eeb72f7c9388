internal import Foundation
internal import Testing

@testable internal import Tessera

/// A sequence of random keys, values and queries, and what attention makes of them, in double.
private struct Sequence {
  let shape: AttentionShape
  let tokens: Int
  let keys: [Float]
  let values: [Float]
  let queries: [Float]

  init(_ shape: AttentionShape, tokens: Int, seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    func numbers(_ count: Int) -> [Float] { (0..<count).map { _ in Float.random(in: -1...1, using: &random) } }
    self.shape = shape
    self.tokens = tokens
    keys = numbers(tokens * shape.keyWidth)
    values = numbers(tokens * shape.valueWidth)
    queries = numbers(tokens * shape.queryWidth).map { 3 * $0 }
  }

  func cache(keys keyFormat: KVFormat = .bf16, values valueFormat: KVFormat = .bf16, tokens: Int? = nil) throws -> KVCache {
    var cache = KVCache(shape, keys: keyFormat, values: valueFormat)
    let tokens = tokens ?? self.tokens
    try cache.append(
      keys: keys.span.extracting(0..<tokens * shape.keyWidth), values: values.span.extracting(0..<tokens * shape.valueWidth))
    return cache
  }

  /// The queries of tokens `range`.
  func queries(_ range: Range<Int>) -> [Float] {
    Array(queries[range.lowerBound * shape.queryWidth..<range.upperBound * shape.queryWidth])
  }

  /// Attention of token `query` over what `cache` really stores, to the positions for which `sees` holds.
  func reference(_ query: Int, of cache: KVCache, sees: (Int) -> Bool) -> [Double] {
    (0..<shape.queryHeads).flatMap { head -> [Double] in
      let kvHead = head / shape.queriesPerHead
      let q = queries[
        query * shape.queryWidth + head * shape.keyDimension..<query * shape.queryWidth + (head + 1) * shape.keyDimension]
      let seen = (0..<cache.count).filter(sees)
      let scores = seen.map { token in
        Double(shape.scale) * zip(q, cache.key(at: token, head: kvHead)).reduce(0) { $0 + Double($1.0) * Double($1.1) }
      }
      let most = scores.max() ?? 0
      let powers = scores.map { exp($0 - most) }
      let sum = powers.reduce(0, +)
      var y = [Double](repeating: 0, count: shape.valueDimension)
      for (power, token) in zip(powers, seen) {
        for (channel, value) in cache.value(at: token, head: kvHead).enumerated() { y[channel] += power / sum * Double(value) }
      }
      return y
    }
  }
}

/// Queries and probabilities are rounded to 8 bits by the bf16 kernels: scores of magnitude up to 3 sqrt(d) / sqrt(d) * ... are
/// off by at most 2^-9 of the sum of magnitudes, the result by that and 2^-8 of values below 1.
private func tolerance(_ shape: AttentionShape) -> Double {
  let score = 3 * Double(shape.scale) * Double(shape.keyDimension) / 512
  return 2 * (exp(2 * score) - 1) + 1.0 / 128
}

@Suite struct AttentionTests {
  private static let shapes: [AttentionShape] = {
    do {
      return [
        try AttentionShape(queryHeads: 8, keyValueHeads: 2, keyDimension: 64),
        try AttentionShape(queryHeads: 7, keyValueHeads: 1, keyDimension: 80, valueDimension: 48),
        try AttentionShape(queryHeads: 3, keyValueHeads: 3, keyDimension: 33, valueDimension: 130, scale: 0.3),
      ]
    } catch { return [] }
  }()

  @Test(arguments: shapes, [1, 15, 64, 65, 511, 513, 1100])
  func decodingAgreesWithTheDefinition(shape: AttentionShape, tokens: Int) throws {
    let sequence = Sequence(shape, tokens: tokens, seed: UInt64(tokens))
    let executor = try Executor(threads: 1)
    for format in KVFormat.ofWholeKeys {
      let cache = try sequence.cache(keys: format, values: format)
      let y = try attend(executor, sequence.queries(tokens - 1..<tokens), to: [cache.contents])
      let reference = sequence.reference(tokens - 1, of: cache) { _ in true }
      #expect(distance(y, reference) < tolerance(shape), "\(format)")
    }
  }

  /// What differs between the formats and kernels is rounding; the scalar kernels round next to nothing.
  @Test(arguments: shapes)
  func scalarKernelsAreExact(shape: AttentionShape) throws {
    let sequence = Sequence(shape, tokens: 600, seed: 2)
    let executor = try Executor(threads: 1, isa: ISALevel("scalar"))
    for format in KVFormat.ofWholeKeys {
      let cache = try sequence.cache(keys: format, values: .bf16)
      let y = try attend(executor, sequence.queries(599..<600), to: [cache.contents])
      #expect(distance(y, sequence.reference(599, of: cache) { _ in true }) < 1e-5, "\(format)")
    }
  }

  @Test func causalQueriesSeeWhatCameBefore() throws {
    let sequence = Sequence(AttentionTests.shapes[0], tokens: 530, seed: 3)
    let cache = try sequence.cache()
    let y = try attend(Executor(threads: 2), sequence.queries(500..<530), to: [cache.contents], tokens: [30])
    let width = sequence.shape.outputWidth
    for query in [500, 511, 512, 529] {
      let reference = sequence.reference(query, of: cache) { $0 <= query }
      #expect(distance(y[(query - 500) * width..<(query - 499) * width], reference) < tolerance(sequence.shape), "\(query)")
    }
  }

  @Test func treesSeeTheirAncestorsAlone() throws {
    let sequence = Sequence(AttentionTests.shapes[0], tokens: 521, seed: 4)
    let cache = try sequence.cache()
    // Two branches from token 0: 0 - 1 - 3, 0 - 2 - 4.
    let ancestors: [UInt64] = [0b1, 0b11, 0b101, 0b1011, 0b10101]
    let y = try attend(
      Executor(threads: 1), sequence.queries(516..<521), to: [cache.contents], tokens: [5], mask: .tree(ancestors: ancestors))
    let width = sequence.shape.outputWidth
    for row in 0..<5 {
      let reference = sequence.reference(516 + row, of: cache) { $0 < 516 || ancestors[row] >> UInt64($0 - 516) & 1 == 1 }
      #expect(distance(y[row * width..<(row + 1) * width], reference) < tolerance(sequence.shape), "\(row)")
    }
  }

  @Test func selectedTokensAreTheOnlyOnesSeen() throws {
    let sequence = Sequence(AttentionTests.shapes[0], tokens: 900, seed: 5)
    for format in KVFormat.ofWholeKeys {
      let cache = try sequence.cache(keys: format, values: format)
      let lists = [Array(stride(from: UInt32(0), to: 900, by: 7)), Array(UInt32(400)..<529)]
      let y = try attend(Executor(threads: 1), sequence.queries(899..<900), to: [cache.contents.selecting(lists)], mask: .all)
      let width = sequence.shape.outputWidth / 2
      for head in 0..<2 {
        let reference = sequence.reference(899, of: cache) { lists[head].contains(UInt32($0)) }
        let half = Array(reference[head * width..<(head + 1) * width])
        #expect(distance(y[head * width..<(head + 1) * width], half) < tolerance(sequence.shape), "\(format), head \(head)")
      }
      // All of them are as good as no selection, bit for bit.
      let all = [Array(UInt32(0)..<900), Array(UInt32(0)..<900)]
      #expect(
        try attend(Executor(threads: 1), sequence.queries(899..<900), to: [cache.contents.selecting(all)])
          == attend(Executor(threads: 1), sequence.queries(899..<900), to: [cache.contents]))
    }
  }

  /// Threads, the batch, splitting by chunks, and how many queries come together change no bit.
  @Test func bitsDependOnTheRowAlone() throws {
    let shape = AttentionTests.shapes[0]
    let sequences = [(1300, UInt64(6)), (40, 7), (700, 8)].map { Sequence(shape, tokens: $0.0, seed: $0.1) }
    let caches = try sequences.map { try $0.cache() }
    let executors = try [1, 2, min(4, Machine.current.allowedCPUs.count)].map { try Executor(threads: $0, pinnedRows: 1) }
    let alone = try zip(sequences, caches).map { sequence, cache in
      try attend(executors[0], sequence.queries(sequence.tokens - 1..<sequence.tokens), to: [cache.contents])
    }
    for executor in executors {
      let together = try attend(
        executor, sequences.flatMap { $0.queries($0.tokens - 1..<$0.tokens) }, to: caches.map(\.contents))
      #expect(together == alone.flatMap { $0 })
      for (sequence, y) in zip(sequences, alone) {
        let last = sequence.tokens
        let bulk = try attend(
          executor, sequence.queries(last - 40..<last), to: [sequence.cache().contents], tokens: [40])
        #expect(Array(bulk.suffix(shape.outputWidth)) == y)
      }
    }
  }

  @Test(arguments: KVFormat.ofWholeKeys)
  func appendingOneByOneIsAppendingAtOnce(format: KVFormat) throws {
    let sequence = Sequence(AttentionTests.shapes[1], tokens: 131, seed: 9)
    let bulk = try sequence.cache(keys: format, values: format)
    var single = KVCache(sequence.shape, keys: format, values: format)
    let (keyWidth, valueWidth) = (sequence.shape.keyWidth, sequence.shape.valueWidth)
    for token in 0..<sequence.tokens {
      try single.append(
        keys: sequence.keys.span.extracting(token * keyWidth..<(token + 1) * keyWidth),
        values: sequence.values.span.extracting(token * valueWidth..<(token + 1) * valueWidth))
    }
    #expect(single.count == bulk.count)
    #expect(single.bytesPerToken == bulk.bytesPerToken)
    for token in 0..<sequence.tokens {
      #expect(single.key(at: token, head: 0) == bulk.key(at: token, head: 0))
      #expect(single.value(at: token, head: 0) == bulk.value(at: token, head: 0))
    }
  }

  @Test func aForkNeverChangesItsParent() throws {
    let sequence = Sequence(AttentionTests.shapes[0], tokens: 200, seed: 10)
    let parent = try sequence.cache(tokens: 100)
    let before = (0..<100).map { parent.key(at: $0, head: 1) }
    var child = parent
    try child.truncate(to: 90)
    try child.append(
      keys: sequence.keys.span.extracting(100 * sequence.shape.keyWidth..<200 * sequence.shape.keyWidth),
      values: sequence.values.span.extracting(100 * sequence.shape.valueWidth..<200 * sequence.shape.valueWidth))
    #expect((0..<100).map { parent.key(at: $0, head: 1) } == before)
    #expect(child.count == 190 && parent.count == 100)
    #expect(child.key(at: 89, head: 0) == parent.key(at: 89, head: 0))
    #expect(child.key(at: 90, head: 0) != parent.key(at: 90, head: 0))
  }

  /// A rejected token may leave anything behind, NaN too.
  @Test func forgottenTokensLeaveNoTrace() throws {
    let sequence = Sequence(AttentionTests.shapes[0], tokens: 70, seed: 11)
    for format in KVFormat.ofWholeKeys {
      var cache = try sequence.cache(keys: format, values: format)
      let clean = try attend(Executor(threads: 1), sequence.queries(69..<70), to: [cache.contents])
      let bad = [Float](repeating: .nan, count: 3 * sequence.shape.keyWidth)
      try cache.append(keys: bad.span, values: bad.span)
      try cache.truncate(to: 70)
      #expect(try attend(Executor(threads: 1), sequence.queries(69..<70), to: [cache.contents]) == clean, "\(format)")
    }
  }

  /// Scores of up to 2^127 times a scale of 9: the largest takes all, wherever its chunk is; equal ones share.
  @Test(arguments: ["scalar", "avx2", "avx512bf16", "amxbf16"], [3, 600, 1030])
  func scoresBeyondTheRangeAreWeighed(level: String, largest: Int) throws {
    guard let executor = try? Executor(threads: 1, isa: ISALevel(level)) else { return }
    let shape = try AttentionShape(queryHeads: 1, keyValueHeads: 1, keyDimension: 32, valueDimension: 16, scale: 9)
    func y(_ key: (Int) -> Float, query: Float) throws -> [Float] {
      let keys = (0..<1100).flatMap { [key($0)] + [Float](repeating: 0, count: 31) }
      let values = (0..<1100).flatMap { [Float](repeating: Float($0 % 7), count: 16) }
      var cache = KVCache(shape)
      try cache.append(keys: keys.span, values: values.span)
      return try attend(executor, [query] + [Float](repeating: 0, count: 31), to: [cache.contents])
    }
    for sign: Float in [1, -1] {
      let one = try y({ sign * ($0 == largest ? 0x1p63 : -0x1p62) }, query: sign * 0x1p64)
      #expect(one == [Float](repeating: Float(largest % 7), count: 16))
      let all = try y({ _ in sign * 0x1p63 }, query: 0x1p64)
      let mean = Float((0..<1100).reduce(0) { $0 + $1 % 7 }) / 1100
      #expect(all.allSatisfy { abs($0 - mean) < 0.02 })
    }
    // Products beyond 2^40 leave no fraction of the power's argument to a rounding of their own.
    let three = try y({ Float($0 == largest ? 3 : $0 % 3) * 0x1.55p20 }, query: 0x1.55p20)
    #expect(three == [Float](repeating: Float(largest % 7), count: 16))
    // A dot product that is infinite itself: infinity less infinity.
    #expect(try y({ $0 == largest ? 0x1p100 : 0 }, query: 0x1p100).allSatisfy(\.isNaN))
  }

  @Test func aNaNSpreadsToTheRowsThatSeeIt() throws {
    var sequence = Sequence(AttentionTests.shapes[0], tokens: 20, seed: 12)
    var keys = sequence.keys
    keys[10 * sequence.shape.keyWidth] = .nan
    sequence = Sequence(sequence, keys: keys)
    let cache = try sequence.cache()
    let y = try attend(Executor(threads: 1), sequence.queries(0..<20), to: [cache.contents], tokens: [20])
    let width = sequence.shape.outputWidth
    #expect(y[9 * width..<10 * width].allSatisfy { $0.isFinite })
    #expect(y[10 * width..<10 * width + 4 * 64].allSatisfy { $0.isNaN })
    #expect(y[10 * width + 4 * 64..<11 * width].allSatisfy { $0.isFinite })
  }
}

extension Sequence {
  fileprivate init(_ other: Sequence, keys: [Float]) {
    shape = other.shape
    tokens = other.tokens
    self.keys = keys
    values = other.values
    queries = other.queries
  }
}

@Suite struct AttentionRefusalTests {
  private func shape() throws -> AttentionShape { try AttentionShape(queryHeads: 4, keyValueHeads: 2, keyDimension: 8) }

  private func cache(tokens: Int) throws -> KVCache {
    var cache = KVCache(try shape())
    let rows = [Float](repeating: 1, count: tokens * 16)
    try cache.append(keys: rows.span, values: rows.span)
    return cache
  }

  @Test(arguments: [(0, 1, 8), (3, 2, 8), (4, 0, 8), (4, 2, 0), (4, 2, 5000), (-4, -2, 8)])
  func shapesThatCannotBe(queryHeads: Int, keyValueHeads: Int, dimension: Int) {
    #expect(throws: TesseraError.self) {
      try AttentionShape(queryHeads: queryHeads, keyValueHeads: keyValueHeads, keyDimension: dimension)
    }
  }

  @Test(arguments: [0, -1, Float.nan, .infinity])
  func scalesThatCannotBe(scale: Float) {
    #expect(throws: TesseraError.self) { try AttentionShape(queryHeads: 4, keyValueHeads: 2, keyDimension: 8, scale: scale) }
  }

  @Test func appendedRowsOfTheWrongLength() throws {
    var cache = try cache(tokens: 3)
    let (whole, part) = ([Float](repeating: 1, count: 16), [Float](repeating: 1, count: 15))
    #expect(throws: TesseraError.sizeMismatch(what: "keys", expected: 16, got: 15)) {
      try cache.append(keys: part.span, values: whole.span)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "values", expected: 16, got: 15)) {
      try cache.append(keys: whole.span, values: part.span)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "keys", expected: 16, got: 0)) {
      try cache.append(keys: [Float]().span, values: [Float]().span)
    }
    #expect(cache.count == 3)
  }

  @Test(arguments: [-1, 4])
  func truncationOutsideTheCache(count: Int) throws {
    var cache = try cache(tokens: 3)
    #expect(throws: TesseraError.invalidPosition(what: "to truncate to", position: count, count: 3)) {
      try cache.truncate(to: count)
    }
  }

  @Test func callsThatDoNotFit() throws {
    let executor = try Executor(threads: 1)
    let contents = try cache(tokens: 3).contents
    let q = [Float](repeating: 1, count: 32)
    func attend(_ count: Int, _ batch: [AttentionContents], tokens: [Int]? = nil, mask: AttentionMask = .causal, y: Int) throws {
      var y = [Float](repeating: 0, count: y)
      var span = y.mutableSpan
      let queries = Array(repeating: q, count: 8).flatMap { $0 }
      try executor.attend(queries.span.extracting(0..<count), to: batch, tokens: tokens, mask: mask, into: &span)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "queries", expected: 32, got: 31)) { try attend(31, [contents], y: 32) }
    #expect(throws: TesseraError.sizeMismatch(what: "y", expected: 32, got: 33)) { try attend(32, [contents], y: 33) }
    #expect(throws: TesseraError.emptyCache) { try attend(32, [KVCache(try shape()).contents], y: 32) }
    #expect(throws: TesseraError.invalidPosition(what: "of a query", position: 4, count: 3)) {
      try attend(128, [contents], tokens: [4], y: 128)
    }
    #expect(throws: TesseraError.invalidPosition(what: "of a query", position: 0, count: 3)) {
      try attend(0, [contents], tokens: [0], y: 0)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "counts of query tokens", expected: 1, got: 2)) {
      try attend(32, [contents], tokens: [1, 1], y: 32)
    }
    #expect(throws: TesseraError.invalidMask(row: 0, token: 1)) {
      try attend(64, [contents], tokens: [2], mask: .tree(ancestors: [0b11, 0b10]), y: 64)
    }
    #expect(throws: TesseraError.invalidMask(row: 1, token: 1)) {
      try attend(64, [contents], tokens: [2], mask: .tree(ancestors: [0b1, 0b01]), y: 64)
    }
    #expect(throws: TesseraError.sizeMismatch(what: "rows of the tree mask", expected: 2, got: 1)) {
      try attend(64, [contents], tokens: [2], mask: .tree(ancestors: [0b1]), y: 64)
    }
  }

  @Test func selectionsThatDoNotFit() throws {
    let contents = try cache(tokens: 3).contents
    #expect(throws: TesseraError.sizeMismatch(what: "lists of positions", expected: 2, got: 1)) { try contents.selecting([[0]]) }
    #expect(throws: TesseraError.sizeMismatch(what: "positions of a list", expected: 1, got: 2)) {
      try contents.selecting([[0], [0, 1]])
    }
    #expect(throws: TesseraError.emptyCache) { try contents.selecting([[], []]) }
    #expect(throws: TesseraError.invalidPosition(what: "selected", position: 3, count: 3)) { try contents.selecting([[1], [3]]) }
    #expect(throws: TesseraError.repeatedPosition(1)) { try contents.selecting([[1, 1], [0, 1]]) }
    #expect(throws: TesseraError.repeatedPosition(0)) { try contents.selecting([[1, 0], [0, 1]]) }
  }
}
