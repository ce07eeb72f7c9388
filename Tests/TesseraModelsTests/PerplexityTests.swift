import Tessera
import TesseraLayers
import TesseraModels
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct PerplexityTests {
  private func makeRunner(_ model: LlamaTestModel = LlamaTestModel()) throws -> LlamaRunner {
    let executor = try Executor()
    return LlamaRunner(try LlamaModel(model.checkpoint(), on: executor), on: executor)
  }

  private func ids(_ count: Int) -> [Int] {
    var random = SeededGenerator(seed: 11)
    return (0..<count).map { _ in Int.random(in: 0..<100, using: &random) }
  }

  @Test func likelihoodIsThatOfTheSoftmax() {
    let logits: [Float] = [1, 2, 3, 1000]
    #expect(Perplexity.negativeLogLikelihood(of: 3, logits: logits.span) == 0)
    #expect(Perplexity.negativeLogLikelihood(of: 0, logits: logits.span) == 999)
    let even = [Float](repeating: -7, count: 8)
    #expect(abs(Perplexity.negativeLogLikelihood(of: 5, logits: even.span) - log(8)) < 1e-15)
  }

  /// 20 predictions in windows of 6: three windows, the last two predictions left out.
  @Test func windowsDoNotOverlap() throws {
    let ids = ids(21)
    var runner = try makeRunner()
    var reported: [Int] = []
    let result = try runner.perplexity(of: ids, windowLength: 6) { soFar, left in
      reported += [soFar.windows.count, left]
    }
    #expect(reported == [1, 2, 2, 1, 3, 0] && result.predictionCount == 18 && result.windows.count == 3)
    for (window, mean) in result.windows.enumerated() {
      var state = runner.model.makeState()
      let inputs = Array(ids[window * 6..<window * 6 + 6])
      let logits = try runner.forward(inputs, continuing: &state, logits: .all)
      let sum = (0..<6).reduce(0.0) { sum, row in
        let row = (row, logits.span.extracting(row * 100..<(row + 1) * 100))
        return sum + Perplexity.negativeLogLikelihood(of: ids[window * 6 + row.0 + 1], logits: row.1)
      }
      #expect(mean == sum / 6)
    }
    #expect(abs(result.value - exp(result.windows.reduce(0, +) / 3)) < 1e-9)
  }

  @Test func shortTextsAreOneWindow() throws {
    var runner = try makeRunner()
    let result = try runner.perplexity(of: ids(5))
    #expect(result.windowLength == 4 && result.windows.count == 1)
    #expect(try runner.perplexity(of: ids(30), windowLength: 5, windowLimit: 2).windows.count == 2)
  }

  @Test func progressCanStop() throws {
    var runner = try makeRunner()
    #expect(throws: ModelError.missingKey(file: "", key: "stop")) {
      _ = try runner.perplexity(of: ids(30), windowLength: 5) { _, _ throws(ModelError) in
        throw ModelError.missingKey(file: "", key: "stop")
      }
    }
  }
}
