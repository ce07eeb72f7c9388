@testable internal import Tessera

/// One call of attention into a new array.
func attend(
  _ executor: Executor, _ queries: [Float], to batch: [AttentionContents], tokens: [Int]? = nil, mask: AttentionMask = .causal
) throws(TesseraError) -> [Float] {
  let count = zip(batch, tokens ?? batch.map { _ in 1 }).reduce(0) { $0 + $1.0.outputWidth * $1.1 }
  var y = [Float](repeating: .nan, count: count)
  var span = y.mutableSpan
  try executor.attend(queries.span, to: batch, tokens: tokens, mask: mask, into: &span)
  return y
}

/// The largest difference.
func distance(_ y: some Collection<Float>, _ reference: [Double]) -> Double {
  zip(y, reference).reduce(y.count == reference.count ? 0 : .infinity) { max($0, abs(Double($1.0) - $1.1)) }
}
