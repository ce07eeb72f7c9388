import Tessera
import TesseraLayers
import TesseraModels

/// Goes on with a text, greedily, and hands it over piece by piece.
func complete(_ prompt: String, with path: String, tokens: Int, receive: (String) -> Void) throws -> Generation {
  let tokenizer = try Tokenizer(path: path)
  let executor = try Executor()
  var runner = LlamaRunner(try LlamaModel(path: path, on: executor), on: executor)
  var state = runner.model.makeState()
  var sampler = try Sampler(.greedy)
  var decoder = StreamingDecoder(tokenizer)
  let generation = try runner.generate(
    after: tokenizer.encode(prompt), continuing: &state, sampler: &sampler, limit: tokens, stops: tokenizer.stopIDs
  ) { token in
    if let piece = try? decoder.append(token) { receive(piece) }
    return true
  }
  receive(decoder.finish())
  return generation
}

/// Perplexity of a text under a model whose linear layers, all but the head, have lost the smaller half of their weights.
func perplexityOfHalf(_ text: String, with path: String) throws -> Double {
  let executor = try Executor()
  let model = try LlamaModel(LlamaCheckpoint(path: path), on: executor) { matrix throws(ModelError) in
    if matrix.place == .head { return try matrix.dense(on: executor) }
    do throws(TesseraError) {
      return try SparAMXLinear(
        matrix.weights.span, outputs: matrix.outputs, inputs: matrix.inputs, bias: matrix.bias,
        pruning: Pruning(sparsity: 0.5), on: executor)
    } catch {
      throw ModelError.operation(error)
    }
  }
  var runner = LlamaRunner(model, on: executor)
  return try runner.perplexity(of: Tokenizer(path: path).encode(text)).value
}
