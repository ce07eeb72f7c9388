internal import ProgramSupport

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// A line of results; ends the program where nobody takes it.
func line(_ text: String) {
  if !StandardStream.put(text + "\n", on: StandardStream.output) { exit(2) }
}

/// What goes on, on standard error.
func note(_ text: String) { StandardStream.put(text + "\n", on: StandardStream.error) }
