#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Seconds of a clock that only goes forward.
func monotonicSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// How long `body` takes, in seconds.
func timed<E: Error>(_ body: () throws(E) -> Void) throws(E) -> Double {
  let start = monotonicSeconds()
  try body()
  return monotonicSeconds() - start
}
