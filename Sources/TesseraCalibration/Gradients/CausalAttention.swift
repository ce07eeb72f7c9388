internal import Tessera

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// softmax(scale Q K^T) V of one window, each token seeing those up to itself, and its gradients. Query and key rows are turned
/// to their positions already.
struct CausalAttention {
  let shape: AttentionShape

  struct Gradients {
    var q, k, v: Rows
  }

  func callAsFunction(q: Rows, k: Rows, v: Rows) -> Rows {
    var y = Rows(count: q.count, width: shape.outputWidth)
    for head in 0..<shape.queryHeads {
      let p = probabilities(q.columns(queries(head)), k.columns(keys(head)))
      y.add(p.times(v.columns(values(head))), at: head * shape.valueDimension)
    }
    return y
  }

  /// With P a head's probabilities and dY the gradient of its results:
  ///
  ///     dV = P^T dY    dP = dY V^T    dS = P (dP - the sum of P dP along the row)    dQ = scale dS K    dK = scale dS^T Q
  ///
  /// Query heads that share keys and values add up.
  func gradients(_ dy: Rows, q: Rows, k: Rows, v: Rows) -> Gradients {
    var result = Gradients(
      q: Rows(count: q.count, width: q.width), k: Rows(count: k.count, width: k.width), v: Rows(count: v.count, width: v.width))
    for head in 0..<shape.queryHeads {
      let (own, shared) = (q.columns(queries(head)), k.columns(keys(head)))
      let p = probabilities(own, shared)
      let dHead = dy.columns(head * shape.valueDimension..<(head + 1) * shape.valueDimension)
      result.v.add(p.transposedTimes(dHead), at: values(head).lowerBound)
      let ds = scoreGradient(dHead.times(transposed: v.columns(values(head))), at: p)
      result.q.add(ds.times(shared), at: queries(head).lowerBound)
      result.k.add(ds.transposedTimes(own), at: keys(head).lowerBound)
    }
    return result
  }

  private func queries(_ head: Int) -> Range<Int> { head * shape.keyDimension..<(head + 1) * shape.keyDimension }

  private func keys(_ head: Int) -> Range<Int> {
    let shared = head / shape.queriesPerHead
    return shared * shape.keyDimension..<(shared + 1) * shape.keyDimension
  }

  private func values(_ head: Int) -> Range<Int> {
    let shared = head / shape.queriesPerHead
    return shared * shape.valueDimension..<(shared + 1) * shape.valueDimension
  }

  /// Tokens x tokens, 0 for those behind a token.
  private func probabilities(_ q: Rows, _ k: Rows) -> Rows {
    var p = q.times(transposed: k)
    let (tokens, scale) = (p.count, shape.scale)
    p.values.withUnsafeMutableBufferPointer { p in
      for token in 0..<tokens {
        let row = token * tokens..<(token + 1) * tokens
        let seen = row.prefix(token + 1)
        let largest = seen.reduce(-Float.infinity) { max($0, p[$1]) }
        var sum = 0.0
        for i in seen {
          p[i] = exp(scale * (p[i] - largest))
          sum += Double(p[i])
        }
        let factor = Float(1 / sum)
        for i in seen { p[i] *= factor }
        for i in row.dropFirst(token + 1) { p[i] = 0 }
      }
    }
    return p
  }

  /// scale dS, from dP.
  private func scoreGradient(_ dp: Rows, at p: Rows) -> Rows {
    var ds = dp
    let (tokens, scale) = (p.count, shape.scale)
    ds.values.withUnsafeMutableBufferPointer { ds in
      p.values.withUnsafeBufferPointer { p in
        for token in 0..<tokens {
          let row = token * tokens..<(token + 1) * tokens
          var sum = 0.0
          for i in row { sum += Double(p[i]) * Double(ds[i]) }
          let mean = Float(sum)
          for i in row { ds[i] = scale * p[i] * (ds[i] - mean) }
        }
      }
    }
    return ds
  }
}
