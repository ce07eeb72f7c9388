import Tessera
import TesseraLayers

// The weights of a linear layer, one row for each output.
let (outputs, inputs) = (512, 512)
let weights = (0..<outputs * inputs).map { _ in BFloat16(Float.random(in: -1...1)) }

// Drop the smaller half of every row and pack the rest: one copy for any CPU, batch size and number of threads.
let layer = try SparAMXLinear(weights.span, outputs: outputs, inputs: inputs, pruning: Pruning(sparsity: 0.5))
print(layer.summary)  // 512 x 512 bitmap-bf16, density 0.500: 295.2 kB, at most 1.78x as fast as dense bf16

// A thread on each core, and the best kernels that this machine can run.
let executor = try Executor()
let x = [Float](repeating: 1, count: 4 * inputs)
let y = try layer(x.span, rows: 4, on: executor)
print("y has \(y.count / outputs) rows of \(outputs)")
