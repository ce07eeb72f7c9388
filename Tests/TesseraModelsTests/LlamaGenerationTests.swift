import Tessera
import TesseraLayers
import TesseraModels
import Testing

@Suite struct LlamaGenerationTests {
  private func makeRunner(_ model: LlamaTestModel) throws -> LlamaRunner {
    let executor = try Executor()
    return LlamaRunner(try LlamaModel(model.checkpoint(), on: executor), on: executor)
  }

  @Test func greedyTokensAreTheLikeliest() throws {
    var runner = try makeRunner(LlamaTestModel())
    var state = runner.model.makeState()
    var sampler = try Sampler(.greedy)
    let generation = try runner.generate(after: [1, 2, 3], continuing: &state, sampler: &sampler, limit: 4)
    var other = runner.model.makeState()
    var expected: [Int] = []
    var next = [1, 2, 3]
    for _ in 0..<4 {
      let logits = try runner.forward(next, continuing: &other)
      next = [try #require(logits.indices.max { logits[$0] < logits[$1] })]
      expected += next
    }
    #expect(generation.tokens == expected && generation.end == .limit && state.count == 6 && generation.promptCount == 3)
  }

  @Test func drawsRepeatWithTheirSeed() throws {
    var runner = try makeRunner(LlamaTestModel())
    func tokens(seed: UInt64) throws -> [Int] {
      var state = runner.model.makeState()
      var sampler = try Sampler(SamplingOptions(temperature: 2, seed: seed))
      return try runner.generate(after: [1, 2, 3], continuing: &state, sampler: &sampler, limit: 20).tokens
    }
    #expect(try tokens(seed: 1) == tokens(seed: 1))
    #expect(try tokens(seed: 1) != tokens(seed: 2))
  }

  @Test func itEndsForFourReasons() throws {
    var runner = try makeRunner(LlamaTestModel(context: 6))
    var received: [Int] = []
    func generate(limit: Int, stops: Set<Int> = [], goesOn: Bool = true) throws -> Generation {
      var state = runner.model.makeState()
      var sampler = try Sampler(.greedy)
      received = []
      return try runner.generate(
        after: [1, 2, 3], continuing: &state, sampler: &sampler, limit: limit, stops: stops
      ) { token in
        received.append(token)
        return goesOn
      }
    }
    let plain = try generate(limit: 2)
    #expect(plain.end == .limit && plain.tokens.count == 2 && received == plain.tokens)
    let stopped = try generate(limit: 2, stops: [plain.tokens[0]])
    #expect(stopped.end == .stopToken && stopped.tokens == [plain.tokens[0]] && received == stopped.tokens)
    #expect(try generate(limit: 3, goesOn: false).end == .caller && received.count == 1)
    let full = try generate(limit: 9)
    #expect(full.end == .context && full.tokens.count == 4)
  }
}
