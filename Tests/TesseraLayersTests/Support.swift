import Tessera

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Random numbers that are the same in every run (splitmix64).
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
}

/// Executors of one thread and, where the machine allows it, of two.
func executors() throws -> [Executor] {
  try [1, 2].filter { $0 <= Machine.current.allowedCPUs.count }.map { try Executor(threads: $0) }
}

/// A row-major matrix.
struct Matrix {
  let rows: Int
  let columns: Int
  var elements: [BFloat16]

  init(_ rows: Int, _ columns: Int, _ elements: [BFloat16]) {
    precondition(elements.count == rows * columns, "\(elements.count) elements in \(rows) x \(columns)")
    self.rows = rows
    self.columns = columns
    self.elements = elements
  }

  init(_ rows: Int, _ columns: Int, _ elements: [Float]) { self.init(rows, columns, elements.map { BFloat16($0) }) }

  /// -1 ... 1, a different size in every row.
  static func random(_ rows: Int, _ columns: Int, seed: UInt64) -> Matrix {
    var random = SeededGenerator(seed: seed)
    return Matrix(
      rows, columns,
      (0..<rows * columns).map { Float.random(in: -1...1, using: &random) * Float($0 / columns % 5 + 1) })
  }

  /// Five magnitudes, zeros of both signs among them, so that nearly every selection ends among ties.
  static func withTies(_ rows: Int, _ columns: Int, seed: UInt64) -> Matrix {
    var random = SeededGenerator(seed: seed)
    let values: [Float] = [0, -0.0, 1, -1, 0.5, -2, 3]
    return Matrix(rows, columns, (0..<rows * columns).map { _ in values.randomElement(using: &random) ?? 0 })
  }

  subscript(row: Int) -> ArraySlice<BFloat16> { elements[row * columns..<(row + 1) * columns] }

  var floats: [Float] { elements.map { Float($0) } }
}

extension Sequence<BFloat16> {
  var zeroCount: Int { count { $0.bits & 0x7FFF == 0 } }
}

func randomFloats(_ count: Int, in range: ClosedRange<Float>, seed: UInt64) -> [Float] {
  var random = SeededGenerator(seed: seed)
  return (0..<count).map { _ in Float.random(in: range, using: &random) }
}

/// A folder that is removed with its files when the test is over.
final class TemporaryFolder: Sendable {
  private let path: String

  init() {
    var template = Array("/tmp/tessera-test-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { preconditionFailure("mkdtemp: error \(errno)") }
    path = String(cString: made)
  }

  deinit {
    for name in ["w.safetensors", "again.safetensors"] { unlink(file(name)) }
    rmdir(path)
  }

  func file(_ name: String) -> String { "\(path)/\(name)" }
}
