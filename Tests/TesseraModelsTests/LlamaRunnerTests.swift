import Tessera
import TesseraLayers
import TesseraModels
import Testing

/// The graph on small models of random weights: against the double-precision forward pass, and against itself where the bits
/// have to be the same.
@Suite struct LlamaRunnerTests {
  private static let models: [LlamaTestModel] = [
    LlamaTestModel(),
    LlamaTestModel(heads: 3, sharedHeads: 3, dimension: 16, tiesHead: true),
    LlamaTestModel(
      modelType: "qwen2", className: "Qwen2ForCausalLM", biased: ["q_proj", "k_proj", "v_proj"]),
    LlamaTestModel(
      members: ["attention_bias": "true", "mlp_bias": "true"],
      biased: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    LlamaTestModel(
      modelType: "mistral", className: "MistralForCausalLM", dimension: 12,
      members: [
        "rope_scaling":
          "{\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
          + "\"original_max_position_embeddings\": 32}"
      ]),
    LlamaTestModel(members: ["partial_rotary_factor": "0.5", "rope_scaling": "{\"type\": \"linear\", \"factor\": 2}"]),
  ]

  private func tokens(_ count: Int, _ model: LlamaTestModel, seed: UInt64 = 7) -> [Int] {
    var random = SeededGenerator(seed: seed)
    return (0..<count).map { _ in Int.random(in: 0..<model.vocabulary, using: &random) }
  }

  private func makeRunner(_ model: LlamaTestModel, pinnedRows: Int? = nil) throws -> LlamaRunner {
    let executor = try Executor(pinnedRows: pinnedRows)
    return LlamaRunner(try LlamaModel(model.checkpoint(), on: executor), on: executor)
  }

  /// Rounding x, keys, values and probabilities to 8 bits adds a relative error of about 2^-9 at each of some 15 roundings.
  @Test(arguments: models)
  func logitsAgreeWithTheReference(model: LlamaTestModel) throws {
    let checkpoint = try model.checkpoint()
    let executor = try Executor()
    let tokens = tokens(40, model)
    let reference = try ReferenceLlama(checkpoint).logits(of: tokens).flatMap(\.self)
    var runner = LlamaRunner(try LlamaModel(checkpoint, on: executor), on: executor)
    var state = runner.model.makeState()
    let logits = try runner.forward(tokens, continuing: &state, logits: .all)
    #expect(logits.count == reference.count && state.count == 40)
    let size = (reference.reduce(0) { $0 + $1 * $1 } / Double(reference.count)).squareRoot()
    let error =
      (zip(logits, reference).reduce(0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }
      / Double(reference.count)).squareRoot()
    #expect(error < 0.02 * size, "\(error) of \(size)")
  }

  /// One token at a time, in pieces, or all at once: the same kernels give the same bits.
  @Test(arguments: [[1, 1, 1, 1, 1, 1, 1], [3, 1, 3], [7]])
  func decodingIsPrefill(pieces: [Int]) throws {
    let model = LlamaTestModel()
    let tokens = tokens(7, model)
    var runner = try makeRunner(model, pinnedRows: 1)
    var whole = runner.model.makeState()
    let expected = try runner.forward(tokens, continuing: &whole, logits: .all)
    var state = runner.model.makeState()
    var logits: [Float] = []
    var first = 0
    for count in pieces {
      logits += try runner.forward(Array(tokens[first..<first + count]), continuing: &state, logits: .all)
      first += count
    }
    #expect(logits == expected)
  }

  /// Sequences of different lengths, more rows than a block has, and each as if it were alone.
  @Test func batchesDoNotMix() throws {
    let model = LlamaTestModel()
    var runner = try makeRunner(model, pinnedRows: 1)
    let batch = [5, 300, 1, 400].enumerated().map { tokens($1, model, seed: UInt64($0)) }
    var states = batch.map { _ in runner.model.makeState() }
    let together = try runner.forward(batch, continuing: &states)
    #expect(states.map(\.count) == [5, 300, 1, 400])
    for (index, tokens) in batch.enumerated() {
      var state = runner.model.makeState()
      let alone = try runner.forward(tokens, continuing: &state)
      #expect(alone == Array(together[index * model.vocabulary..<(index + 1) * model.vocabulary]), "sequence \(index)")
    }
  }

  @Test func forksAndTruncationForgetNothingElse() throws {
    let model = LlamaTestModel()
    var runner = try makeRunner(model)
    var trunk = runner.model.makeState()
    _ = try runner.forward(tokens(70, model), continuing: &trunk)
    var fork = trunk
    let first = try runner.forward([3], continuing: &trunk)
    _ = try runner.forward([9, 9, 9], continuing: &fork)
    try fork.truncate(to: 70)
    #expect(try runner.forward([3], continuing: &fork) == first)
    #expect(trunk.count == 71 && fork.count == 71)
  }

  /// Two guesses for the next token, and one after the first of them, in one call: each as if it were alone.
  @Test func treesAreBranches() throws {
    let model = LlamaTestModel()
    var runner = try makeRunner(model, pinnedRows: 1)
    var trunk = runner.model.makeState()
    _ = try runner.forward(tokens(20, model), continuing: &trunk)
    let branches = trunk
    let tree = try runner.forward(
      [1, 2, 3], continuing: &trunk, mask: .tree(ancestors: [0b001, 0b010, 0b101]), logits: .all)
    var (one, two) = (branches, branches)
    let expected =
      try runner.forward([1], continuing: &one) + runner.forward([2], continuing: &two)
      + runner.forward([3], continuing: &one)
    #expect(tree == expected)
  }

  @Test func badInputIsRefusedAndChangesNothing() throws {
    let model = LlamaTestModel(context: 30)
    var runner = try makeRunner(model)
    var state = runner.model.makeState()
    _ = try runner.forward(tokens(20, model), continuing: &state)
    #expect(throws: ModelError.invalidToken(token: 100, vocabularySize: 100)) {
      _ = try runner.forward([1, 100], continuing: &state)
    }
    #expect(throws: ModelError.invalidToken(token: -1, vocabularySize: 100)) {
      _ = try runner.forward([-1], continuing: &state)
    }
    #expect(throws: ModelError.contextExceeded(tokens: 31, contextLength: 30)) {
      _ = try runner.forward(tokens(11, model), continuing: &state)
    }
    var foreign = SequenceState(caches: Array(state.caches.prefix(1)))
    #expect(throws: ModelError.layerMismatch(what: "state, layers", expected: 2, got: 1)) {
      _ = try runner.forward([1], continuing: &foreign)
    }
    struct Stop: Error {}
    var states = [state]
    #expect(throws: ModelError.missingKey(file: "", key: "stop")) {
      try runner.forward([[1, 2]], continuing: &states, logits: .all) { row, _ throws(ModelError) in
        if row == 1 { throw ModelError.missingKey(file: "", key: "stop") }
      }
    }
    #expect(state.count == 20 && states[0].count == 20)
  }

  @Test func linearLayersCanBeSwappedOneByOne() throws {
    let checkpoint = try LlamaTestModel().checkpoint()
    let executor = try Executor()
    let model = try LlamaModel(checkpoint, keys: .int8, values: .int8, on: executor) { matrix throws(ModelError) in
      if matrix.place == .head { return try matrix.dense(on: executor) }
      do throws(TesseraError) {
        return try SparAMXLinear(matrix.weights.span, outputs: matrix.outputs, inputs: matrix.inputs, bias: matrix.bias)
      } catch {
        throw ModelError.operation(error)
      }
    }
    #expect(model.layers.allSatisfy { $0.feedForward.gate.format == .bitmapBF16 } && model.head.format == .bf16)
    var sparse = LlamaRunner(model, on: executor)
    var dense = LlamaRunner(try LlamaModel(checkpoint, on: executor), on: executor)
    var (one, two) = (model.makeState(), dense.model.makeState())
    let expected = try dense.forward([1, 2, 3], continuing: &two)
    for (got, right) in zip(try sparse.forward([1, 2, 3], continuing: &one), expected) { #expect(abs(got - right) < 0.2) }
  }
}

extension LlamaTestModel: CustomTestStringConvertible {
  var testDescription: String { "\(modelType), \(heads) heads over \(sharedHeads), biases \(biased), \(members.keys.sorted())" }
}
