#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif
#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Memory that may be allocated without pushing anything out, in bytes; nil where the system does not say. A control group's
/// limit counts when it is lower.
func availableMemory() -> Int? {
  guard let info = try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8) else { return nil }
  let line = info.split(separator: "\n").first { $0.hasPrefix("MemAvailable:") }
  guard let kibibytes = line?.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else { return nil }
  let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"].compactMap { path in
    (try? String(contentsOfFile: path, encoding: .utf8)).flatMap { Int($0.prefix { $0.isNumber }) }
  }
  return ([kibibytes * 1024] + limits).min()
}

/// Tells how many CPUs others kept busy since it was made: what disturbs a measurement on a shared machine.
struct ForeignLoad {
  private let start = Snapshot.now

  private struct Snapshot {
    let wall: Double
    /// CPU seconds of everybody.
    let busy: Double
    /// CPU seconds of this process.
    let own: Double

    static var now: Snapshot? {
      guard let text = try? String(contentsOfFile: "/proc/stat", encoding: .utf8), let first = text.split(separator: "\n").first
      else { return nil }
      // user nice system idle iowait irq softirq: everything but the two kinds of waiting.
      let ticks = first.split(separator: " ").dropFirst().prefix(7).compactMap { Double($0) }
      guard ticks.count == 7 else { return nil }
      var own = timespec()
      clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own)
      let busy = ticks.reduce(0, +) - ticks[3] - ticks[4]
      return Snapshot(
        wall: monotonicSeconds(), busy: busy / Double(sysconf(Int32(_SC_CLK_TCK))),
        own: Double(own.tv_sec) + Double(own.tv_nsec) * 1e-9)
    }
  }

  /// CPUs, on average since the start; nil where the system does not say or the time was too short for its clock ticks.
  var cpus: Double? {
    guard let start, let end = Snapshot.now, end.wall - start.wall > 0.1 else { return nil }
    return max(0, (end.busy - start.busy) - (end.own - start.own)) / (end.wall - start.wall)
  }
}
