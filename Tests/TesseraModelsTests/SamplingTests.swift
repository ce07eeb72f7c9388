import Testing

@testable import TesseraModels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

struct SamplingTests {
  /// Probabilities 0.1, 0.5, 0.15, 0.25.
  private let logits = [0.1, 0.5, 0.15, 0.25].map { Float(log($0)) }

  private func candidates(
    _ options: SamplingOptions, _ logits: [Float]? = nil, history: [Int] = []
  ) throws -> [Sampler.Candidate] {
    let logits = logits ?? self.logits
    return try Sampler(options).candidates(for: logits.span, history: history.span)
  }

  private func probabilities(_ options: SamplingOptions, _ logits: [Float]? = nil, history: [Int] = []) throws -> [Int: Double] {
    try Dictionary(uniqueKeysWithValues: candidates(options, logits, history: history).map { ($0.id, $0.probability) })
  }

  /// Logits are rounded to Float, hence 1e-6.
  private func agree(_ got: [Int: Double], _ expected: [Int: Double]) -> Bool {
    got.keys == expected.keys && got.allSatisfy { abs($0.value - (expected[$0.key] ?? .nan)) < 1e-6 }
  }

  private let noHistory: [Int] = []

  // MARK: The steps

  @Test func withoutOptionsTheModelDecides() throws {
    #expect(try agree(probabilities(SamplingOptions()), [0: 0.1, 1: 0.5, 2: 0.15, 3: 0.25]))
  }

  @Test func temperatureIsAPower() throws {
    let powers = [0.1, 0.5, 0.15, 0.25].map { $0 * $0 }
    let expected = Dictionary(uniqueKeysWithValues: powers.enumerated().map { ($0.offset, $0.element / powers.reduce(0, +)) })
    #expect(try agree(probabilities(SamplingOptions(temperature: 0.5)), expected))
    #expect(try candidates(SamplingOptions(temperature: .leastNonzeroMagnitude)) == [.init(id: 1, probability: 1)])
  }

  @Test func eachFilterLeavesTheMostLikely() throws {
    #expect(try agree(probabilities(SamplingOptions(topK: 2)), [1: 2 / 3.0, 3: 1 / 3.0]))
    #expect(try agree(probabilities(SamplingOptions(topK: 9)), [0: 0.1, 1: 0.5, 2: 0.15, 3: 0.25]))
    #expect(try agree(probabilities(SamplingOptions(topP: 0.7)), [1: 2 / 3.0, 3: 1 / 3.0]))
    #expect(try agree(probabilities(SamplingOptions(topP: 0.8)), [1: 5 / 9.0, 3: 2.5 / 9, 2: 1.5 / 9]))
    #expect(try agree(probabilities(SamplingOptions(topP: 0.01)), [1: 1]))
    #expect(try agree(probabilities(SamplingOptions(minP: 0.4)), [1: 2 / 3.0, 3: 1 / 3.0]))
    #expect(try agree(probabilities(SamplingOptions(minP: 1)), [1: 1]))
  }

  /// Top-p sorts only what it could need: against the definition, on logits as even and as uneven as they come.
  @Test(arguments: [0.01, 1, 8] as [Float], [0.1, 0.5, 0.9, 0.999] as [Float])
  func topPIsAPrefixOfTheOrder(spread: Float, topP: Float) throws {
    var random = SeededGenerator(seed: 3)
    let logits = (0..<3000).map { _ in Float.random(in: -spread...spread, using: &random) }
    let weights = logits.map { exp(Double($0)) }
    let enough = weights.reduce(0, +) * Double(topP)
    var sum = 0.0
    var expected: [Int] = []
    for id in logits.indices.sorted(by: { logits[$0] > logits[$1] }) where sum < enough {
      expected.append(id)
      sum += weights[id]
    }
    #expect(try candidates(SamplingOptions(topP: topP), logits).map(\.id) == expected)
  }

  /// Top-p counts what top-k has left: 0.8 of 0.9 needs two tokens, 0.8 of 1 three.
  @Test func filtersFollowEachOther() throws {
    #expect(try probabilities(SamplingOptions(topK: 3, topP: 0.8)).keys.sorted() == [1, 3])
    #expect(try probabilities(SamplingOptions(topP: 0.8, minP: 0.4)).keys.sorted() == [1, 3])
    #expect(try probabilities(SamplingOptions(topK: 3, minP: 0.4)).keys.sorted() == [1, 3])
    #expect(try candidates(SamplingOptions(topK: 3)).map(\.id) == [1, 3, 2])
  }

  @Test func repetitionIsPenalizedOnce() throws {
    let logits: [Float] = [2, -2, 0.5]
    func best(_ history: [Int], window: Int? = nil) throws -> [Int: Double] {
      try probabilities(SamplingOptions(repetitionPenalty: 4, repetitionWindow: window), logits, history: history)
    }
    func softmax(_ logits: [Double]) -> [Int: Double] {
      let sum = logits.reduce(0) { $0 + exp($1) }
      return Dictionary(uniqueKeysWithValues: logits.enumerated().map { ($0.offset, exp($0.element) / sum) })
    }
    #expect(try agree(best([]), softmax([2, -2, 0.5])))
    #expect(try agree(best([0, 0, 1]), softmax([0.5, -8, 0.5])))
    #expect(try agree(best([0, 0, 1], window: 1), softmax([2, -8, 0.5])))
    #expect(try agree(best([0, 0, 1], window: 0), softmax([2, -2, 0.5])))
    #expect(try agree(best([0, 0, 1], window: 9), softmax([0.5, -8, 0.5])))
    let greedy = SamplingOptions(temperature: 0, repetitionPenalty: 5)
    #expect(try candidates(greedy, logits, history: [0]).map(\.id) == [2])
  }

  @Test func theLowerIDComesFirst() throws {
    #expect(try candidates(.greedy, [0, 1, 1, -1]).map(\.id) == [1])
    #expect(try candidates(.greedy, [-0.0, 0]).map(\.id) == [0])
    #expect(try candidates(SamplingOptions(topK: 2), [1, 0, 1, 1]).map(\.id) == [0, 2])
    #expect(try candidates(SamplingOptions(topK: 3), [-.infinity, 0, -0.0, 0]).map(\.id) == [1, 2, 3])
  }

  // MARK: Draws

  /// Chi-squared with 3 degrees of freedom is above 16.3 once in a thousand seeds.
  @Test(arguments: [1, 2, 3] as [UInt64], [SamplingOptions(), SamplingOptions(temperature: 0.7, topK: 3, topP: 0.95)])
  func drawsFollowTheProbabilities(seed: UInt64, options: SamplingOptions) throws {
    var options = options
    options.seed = seed
    var sampler = try Sampler(options)
    let expected = try probabilities(options)
    var counts: [Int: Int] = [:]
    let draws = 20_000
    for _ in 0..<draws { counts[try sampler.next(logits.span, history: noHistory.span), default: 0] += 1 }
    #expect(Set(counts.keys) == Set(expected.keys))
    let chiSquared = expected.reduce(0) { sum, entry in
      let mean = entry.value * Double(draws)
      let difference = Double(counts[entry.key] ?? 0) - mean
      return sum + difference * difference / mean
    }
    #expect(chiSquared < 16.3, "seed \(seed)")
  }

  @Test func equalSeedsMakeEqualChoices() throws {
    var sampler = try Sampler(SamplingOptions(seed: 7))
    var copy = sampler
    var other = try Sampler(SamplingOptions(seed: 8))
    func draw(_ sampler: inout Sampler) throws -> [Int] {
      try (0..<64).map { _ in try sampler.next(logits.span, history: noHistory.span) }
    }
    let choices = try draw(&sampler)
    #expect(try draw(&copy) == choices)
    #expect(try draw(&other) != choices)
  }

  /// The first numbers after the state 1, 2, 3, 4, as the authors' program gives them.
  @Test func generatorIsXoshiro256PlusPlus() {
    var generator = Xoshiro256(state: (1, 2, 3, 4))
    let numbers: [UInt64] = [
      41943041, 58720359, 3588806011781223, 3591011842654386, 9228616714210784205, 9973669472204895162,
    ]
    #expect((0..<6).map { _ in generator.next() } == numbers)
  }

  @Test func fractionsAreBelowOne() {
    var generator = Xoshiro256(seed: 1)
    let fractions = (0..<1000).map { _ in generator.nextFraction() }
    #expect(fractions.allSatisfy { (0..<1).contains($0) })
    #expect(abs(fractions.reduce(0, +) / 1000 - 0.5) < 0.05)
  }

  @Test func exponentialIsExactToTwoUnits() {
    var random = SeededGenerator(seed: 11)
    var worst = 0.0
    for _ in 0..<20_000 {
      let x = -Double.random(in: 0...1, using: &random) * (Bool.random(using: &random) ? 1 : 700)
      worst = max(worst, abs(exponential(x) - exp(x)) / exp(x))
    }
    #expect(worst <= 0x1p-52)
    #expect(exponential(0) == 1 && exponential(-0.0) == 1 && exponential(-709) == 0 && exponential(-.infinity) == 0)
  }

  @Test(arguments: 0..<5 as Range<UInt64>)
  func rankingIsASort(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let values: [Float] = [-.infinity, -3, -.leastNonzeroMagnitude, -0.0, 0, .leastNonzeroMagnitude, 2, .greatestFiniteMagnitude]
    let logits = (0..<200).map { _ in values.randomElement(using: &random) ?? 0 }
    var ranking = Ranking(logits)
    let ranked = Array(sequence(state: ()) { _ in ranking.popFirst() })
    let expected = logits.indices.filter { logits[$0] > -.infinity }
      .sorted { (-logits[$0], $0) < (-logits[$1], $1) }
    #expect(ranked == expected, "seed \(seed)")
    for limit in [1, 2, 50, 199, 200, 201, .max] {
      var ranking = Ranking(logits, limit: limit)
      #expect(Array(sequence(state: ()) { _ in ranking.popFirst() }) == Array(expected.prefix(limit)), "seed \(seed), \(limit)")
    }
  }

  // MARK: Errors

  @Test(arguments: [
    (SamplingOptions(temperature: -0.1), "temperature"), (SamplingOptions(temperature: .nan), "temperature"),
    (SamplingOptions(temperature: .infinity), "temperature"), (SamplingOptions(topK: 0), "topK"),
    (SamplingOptions(topP: 0), "topP"),
    (SamplingOptions(topP: 1.1), "topP"), (SamplingOptions(topP: .nan), "topP"), (SamplingOptions(minP: -0.1), "minP"),
    (SamplingOptions(minP: 1.1), "minP"), (SamplingOptions(repetitionPenalty: 0), "repetitionPenalty"),
    (SamplingOptions(repetitionPenalty: .infinity), "repetitionPenalty"),
    (SamplingOptions(repetitionWindow: -1), "repetitionWindow"),
  ])
  func optionsOutOfRange(options: SamplingOptions, name: String) {
    let error = #expect(throws: SamplingError.self) { try Sampler(options) }
    guard case .invalidOption(name, _, _) = error else { return #expect(error == nil) }
  }

  @Test(arguments: [SamplingOptions(), .greedy, SamplingOptions(topK: 1, repetitionPenalty: 2)])
  func logitsThatAreNoChoice(options: SamplingOptions) throws {
    func error(_ logits: [Float], history: [Int] = []) -> SamplingError? {
      #expect(throws: SamplingError.self) { try candidates(options, logits, history: history) }
    }
    #expect(error([0, .nan, 1]) == .invalidLogit(id: 1, value: "nan"))
    #expect(error([0, 1, .infinity]) == .invalidLogit(id: 2, value: "inf"))
    #expect(error([]) == .noCandidate(count: 0))
    #expect(error([-.infinity, -.infinity]) == .noCandidate(count: 2))
    if options.repetitionPenalty != 1 { #expect(error([0, 1], history: [0, 2]) == .unknownID(id: 2, count: 2)) }
  }

  @Test func anErrorDoesNotMoveTheGenerator() throws {
    var sampler = try Sampler(SamplingOptions(seed: 5))
    var copy = sampler
    let nan: [Float] = [.nan]
    #expect(throws: SamplingError.self) { try sampler.next(nan.span, history: noHistory.span) }
    for _ in 0..<20 {
      #expect(try sampler.next(logits.span, history: noHistory.span) == copy.next(logits.span, history: noHistory.span))
    }
  }
}
