import Tessera
import TesseraLayers
import TesseraModels
import Testing

/// SmolLM2-135M from its GGUF file to text, against numbers that an independent float32 forward pass gave for the same
/// dequantised weights.
@Suite(.serialized, .enabled(if: ReferenceModel.isUsable, "\(ReferenceModel.absence)"))
struct GoldenReferenceModelTests {
  private static let checkpoint = Result { try LlamaCheckpoint(path: ReferenceModel.path) }
  private static let executor = Result { try Executor() }
  private static let model = Result { try LlamaModel(checkpoint.get(), on: executor.get()) }
  private static let tokenizer = Result { try Tokenizer(path: ReferenceModel.path) }
  /// "The capital of France is"
  private static let prompt = [504, 3575, 282, 4649, 314]

  private func runner() throws -> LlamaRunner { try LlamaRunner(Self.model.get(), on: Self.executor.get()) }

  @Test func configurationIsThatOfTheFile() throws {
    let configuration = try Self.checkpoint.get().configuration
    #expect(configuration.hiddenSize == 576 && configuration.layerCount == 30 && configuration.feedForwardSize == 1536)
    #expect(configuration.attention.queryHeads == 9 && configuration.attention.keyValueHeads == 3)
    #expect(configuration.vocabularySize == 49152 && configuration.contextLength == 8192 && configuration.tiesHead)
    #expect(configuration.parameterCount == 134_515_008 && configuration.biases.isEmpty)
    #expect(try configuration.rotary == RotaryEmbedding(rotated: 64, theta: 100_000))
  }

  @Test func referenceHasTheGoldenLogits() throws {
    let logits = try ReferenceLlama(Self.checkpoint.get()).logits(of: Self.prompt)
    let last = try #require(logits.last)
    for (token, golden) in [(7042, 17.3713), (260, 14.8886), (4528, 13.245), (2250, 13.0095), (1315, 12.9515)] {
      #expect(abs(last[token] - golden) < 2e-4, "\(token): \(last[token])")
    }
    for (got, golden) in zip(last, [1.61363, -11.87189, -7.94446, -9.34693]) { #expect(abs(got - golden) < 2e-4, "\(got)") }
    #expect(logits.map { row in row.indices.max { row[$0] < row[$1] } } == [29, 282, 260, 314, 7042])
    for (got, golden) in zip(logits.map(logSumExp), [28.21888, 22.39367, 15.12706, 24.22303, 17.62934]) {
      #expect(abs(got - golden) < 2e-4, "\(got)")
    }
  }

  @Test func greedyTextIsTheGoldenOne() throws {
    var runner = try runner()
    var state = runner.model.makeState()
    var streamed: [Int] = []
    var sampler = try Sampler(.greedy)
    let generation = try runner.generate(after: Self.prompt, continuing: &state, sampler: &sampler, limit: 16) { token in
      streamed.append(token)
      return true
    }
    #expect(generation.tokens == [7042, 30, 198, 198, 504, 2988, 314, 42, 216, 34, 32, 33, 40, 29, 32, 33])
    #expect(streamed == generation.tokens && generation.end == .limit && state.count == 20)
    #expect(generation.tokensPerSecond > 0 && generation.timeToFirstToken > .zero)
  }

  @Test func chatAnswersAndStops() throws {
    let prompt = [
      1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182, 2, 198, 1, 4093,
      198, 1780, 314, 260, 3575, 282, 4649, 47, 2, 198, 1, 520, 9531, 198,
    ]
    var runner = try runner()
    var state = runner.model.makeState()
    var sampler = try Sampler(.greedy)
    let generation = try runner.generate(after: prompt, continuing: &state, sampler: &sampler, limit: 40, stops: [0, 2])
    #expect(generation.tokens == [504, 3575, 282, 4649, 314, 7042, 30, 2] && generation.end == .stopToken)
  }

  /// A wrong order of rows would give 46.
  @Test func perplexityOfAPassageIsGolden() throws {
    let text = """
      It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it was the \
      epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of Darkness, it was the \
      spring of hope, it was the winter of despair.
      """
    let ids = try Self.tokenizer.get().encode(text)
    var runner = try runner()
    let perplexity = try runner.perplexity(of: ids)
    #expect(ids.count == 74 && perplexity.predictionCount == 73)
    #expect(abs(perplexity.value - 5.0741) < 0.05, "\(perplexity.value)")
  }
}
