/// What ends a program, with its exit code.
package enum ProgramError: Error, CustomStringConvertible {
  /// The arguments make no sense.
  case usage(String)
  /// The machine, its memory or a file lacks what was asked for.
  case failed(String)

  package var description: String {
    switch self {
    case .usage(let text), .failed(let text): text
    }
  }

  package var exitCode: Int32 {
    switch self {
    case .usage: 64
    case .failed: 2
    }
  }
}

/// The library's errors as the program's.
package func attempt<Value, Failure: Error>(_ body: () throws(Failure) -> Value) throws(ProgramError) -> Value {
  do throws(Failure) {
    return try body()
  } catch {
    throw .failed("\(error)")
  }
}
