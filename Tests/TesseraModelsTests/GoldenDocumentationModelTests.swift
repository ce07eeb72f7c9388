import Tessera
import TesseraLayers
import TesseraModels
import Testing

/// docs-28m from its files to likelihoods, against numbers that an independent float32 forward pass gave.
@Suite(.serialized, .enabled(if: DocumentationModel.isPresent, "\(DocumentationModel.absence)"))
struct GoldenDocumentationModelTests {
  private static let checkpoint = Result { try LlamaCheckpoint(path: DocumentationModel.path) }
  private static let executor = Result { try Executor() }
  private static let model = Result { try LlamaModel(checkpoint.get(), on: executor.get()) }
  private static let ids = Result {
    let text = try readFile("\(DocumentationModel.path)/eval.txt")
    return try Tokenizer(path: DocumentationModel.path).encode(utf8: text.span)
  }

  private func runner() throws -> LlamaRunner { try LlamaRunner(Self.model.get(), on: Self.executor.get()) }

  /// The first five predictions of eval.txt.
  @Test func referenceHasTheGoldenLikelihoods() throws {
    let ids = try Self.ids.get()
    let logits = try ReferenceLlama(Self.checkpoint.get()).logits(of: Array(ids.prefix(5)))
    let likelihoods = zip(logits, ids.dropFirst()).map { logSumExp($0) - $0[$1] }
    for (got, golden) in zip(likelihoods, [2.6014, 0.0020, 0.0122, 0.0002, 0.0000]) {
      #expect(abs(got - golden) <= 0.00006, "\(likelihoods)")
    }
  }

  /// Rounding every activation to 8 bits moves logits of magnitude 10 by a few hundredths.
  @Test func logitsAgreeWithTheReference() throws {
    let ids = Array(try Self.ids.get().prefix(5))
    let reference = try ReferenceLlama(Self.checkpoint.get()).logits(of: ids).flatMap(\.self)
    var runner = try runner()
    var state = runner.model.makeState()
    let logits = try runner.forward(ids, continuing: &state, logits: .all)
    let distance = zip(logits, reference).map { abs(Double($0) - $1) }
    let size = (reference.reduce(0) { $0 + $1 * $1 } / Double(reference.count)).squareRoot()
    let error = (distance.reduce(0) { $0 + $1 * $1 } / Double(distance.count)).squareRoot()
    #expect(logits.count == reference.count && error < 0.02 * size, "\(error) of \(size), at most \(distance.max() ?? 0)")
  }

  @Test func firstWindowHasTheGoldenPerplexity() throws {
    var runner = try runner()
    let perplexity = try runner.perplexity(of: Self.ids.get(), windowLimit: 1)
    #expect(perplexity.predictionCount == 1024)
    #expect(abs(perplexity.negativeLogLikelihood - 3.502526) < 0.01, "\(perplexity.negativeLogLikelihood)")
  }
}
