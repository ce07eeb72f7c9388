internal import CKernels

/// Steps between matrix multiplications. Rows are shared between threads where there is enough to do; the bits are the same.
extension Executor {
  /// RMSNorm of each row: y = weight x / sqrt(mean(x^2) + epsilon).
  /// - Parameters:
  ///   - x: rows x `weight.count` elements.
  ///   - weight: a factor for each element of a row.
  ///   - epsilon: added to the mean of squares.
  ///   - y: as many elements as x, all overwritten.
  /// - Throws: `sizeMismatch` for rows that are not whole or a y of another size, `invalidShape` without weights,
  ///   `overlappingMemory`.
  public func normalize(
    _ x: Span<Float>, weight: Span<Float>, epsilon: Float, into y: inout MutableSpan<Float>
  ) throws(TesseraError) {
    guard !weight.isEmpty else { throw .invalidShape(what: "norm", rows: 1, columns: 0) }
    let width = weight.count
    guard x.count % width == 0 else {
      throw .sizeMismatch(what: "x", expected: (x.count / width + 1) * width, got: x.count)
    }
    try withPointers(x, &y) { (x, y, count) in
      weight.withUnsafeBufferPointer { weight in
        guard let weight = weight.baseAddress else { return }
        forRows(count / width, width: width) { row in
          elementwise.rms_norm(width, x + row * width, weight, epsilon, y + row * width)
        }
      }
    }
  }

  /// The gate of a SwiGLU feed-forward layer: gate = gate / (1 + e^-gate) up, element by element.
  /// - Throws: `sizeMismatch` unless both have as many elements, `overlappingMemory`.
  public func gate(_ gate: inout MutableSpan<Float>, with up: Span<Float>) throws(TesseraError) {
    try combine(up, &gate, elementwise.swiglu)
  }

  /// x += delta, element by element.
  /// - Throws: `sizeMismatch` unless both have as many elements, `overlappingMemory`.
  public func add(_ delta: Span<Float>, to x: inout MutableSpan<Float>) throws(TesseraError) {
    try combine(delta, &x, elementwise.add)
  }

  private func combine(
    _ source: Span<Float>, _ target: inout MutableSpan<Float>,
    _ function: (Int, UnsafeMutablePointer<Float>, UnsafePointer<Float>) -> Void
  ) throws(TesseraError) {
    try withPointers(source, &target) { (source, target, count) in
      forRows((count + Executor.elementsOfPart - 1) / Executor.elementsOfPart, width: Executor.elementsOfPart) { part in
        let first = part * Executor.elementsOfPart
        function(min(Executor.elementsOfPart, count - first), target + first, source + first)
      }
    }
  }

  /// Elements that are a part of their own. They come from the caches of the cores that wrote them, a microsecond for this many:
  /// as long as a fork-join takes, which four parts and more pay back.
  private static let elementsOfPart = 1024

  private func forRows(_ rows: Int, width: Int, _ body: (Int) -> Void) {
    let isWorthThreads = rows > 1 && rows * width >= 4 * Executor.elementsOfPart
    let parts = isWorthThreads ? min(rows, 4 * pool.threadCount) : 1
    ThreadPool.run(parts: parts, on: isWorthThreads ? pool : nil) { part, _ in
      for row in rows * part / parts..<rows * (part + 1) / parts { body(row) }
    }
  }

  private func withPointers(
    _ source: Span<Float>, _ target: inout MutableSpan<Float>,
    _ body: (UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int) -> Void
  ) throws(TesseraError) {
    guard target.count == source.count else { throw .sizeMismatch(what: "y", expected: source.count, got: target.count) }
    try source.withUnsafeBufferPointer { source throws(TesseraError) in
      try target.withUnsafeMutableBufferPointer { target throws(TesseraError) in
        guard let from = source.baseAddress, let to = target.baseAddress else { return }
        let (lower, upper) = (UnsafePointer(to), UnsafePointer(to) + target.count)
        guard from + source.count <= lower || upper <= from else { throw .overlappingMemory(what: "y") }
        body(from, to, source.count)
      }
    }
  }
}

/// The widest functions that the features can run and the level allows.
func elementwiseFunctions(for selection: KernelSelection) -> ck_elementwise {
  let features = selection.level.map { selection.features.capped(to: $0) } ?? selection.features
  var count = 0
  let functions = UnsafeBufferPointer(start: ck_elementwise_functions(&count), count: count)
  guard let chosen = functions.first(where: { features.isSuperset(of: InstructionSet(rawValue: $0.isa)) }) else {
    preconditionFailure("the list of elementwise functions ends without the portable ones")
  }
  return chosen
}
