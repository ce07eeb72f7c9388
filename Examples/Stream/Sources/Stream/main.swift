import Tessera
import TesseraModels

// Stream MODEL PROMPT: goes on with a text, token by token.
guard CommandLine.arguments.count == 3 else { fatalError("usage: Stream MODEL PROMPT") }
let (path, prompt) = (CommandLine.arguments[1], CommandLine.arguments[2])

let executor = try Executor()
let tokenizer = try Tokenizer(path: path)
let model = try LlamaModel(path: path, on: executor)

var runner = LlamaRunner(model, on: executor)
var state = model.makeState()
var sampler = try Sampler(.greedy)
var decoder = StreamingDecoder(tokenizer)
let generation = try runner.generate(
  after: tokenizer.encode(prompt), continuing: &state, sampler: &sampler, limit: 32, stops: tokenizer.stopIDs
) { token in
  print((try? decoder.append(token)) ?? "", terminator: "")
  return true
}
print(decoder.finish())
print("\(generation.tokens.count) tokens, \(Int(generation.tokensPerSecond)) a second")
