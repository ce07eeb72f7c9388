internal import Tessera

/// What ends the program, with its exit code.
enum QualityError: Error, CustomStringConvertible {
  /// The arguments make no sense.
  case usage(String)
  /// The machine, its memory or a file lacks what was asked for.
  case failed(String)

  var description: String {
    switch self {
    case .usage(let text), .failed(let text): text
    }
  }

  var exitCode: Int32 {
    switch self {
    case .usage: 64
    case .failed: 2
    }
  }
}

/// The library's errors as the program's.
func attempt<Value, Failure: Error>(_ body: () throws(Failure) -> Value) throws(QualityError) -> Value {
  do throws(Failure) {
    return try body()
  } catch {
    throw .failed("\(error)")
  }
}
