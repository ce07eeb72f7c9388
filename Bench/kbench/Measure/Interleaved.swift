/// One of several things that are timed in turn, so that a drift of the machine meets all of them alike.
final class TimedCase<Failure: Error> {
  let run: () throws(Failure) -> Void
  private(set) var samples = Samples()

  init(_ run: @escaping () throws(Failure) -> Void) { self.run = run }

  fileprivate func sample() throws(Failure) { samples.append(try timed(run)) }
}

/// When a group of cases has been timed enough.
struct TimeBudget {
  /// For each case, on average.
  let seconds: Double
  let fewestRounds: Int
}

/// Runs every case once untimed, then round after round once timed, and between rounds reads memory as long as that takes no more
/// than a quarter of the kernels' time. Every pattern is read three times before and after as well.
func interleave<Failure: Error>(
  _ cases: [TimedCase<Failure>], budget: TimeBudget, bandwidth: ReadBandwidth?, progress: (Double) -> Void
) throws(Failure) {
  let surrounding = 3 * (bandwidth?.patterns.count ?? 0)
  for _ in 0..<surrounding { bandwidth?.sampleOnce() }
  for item in cases { try item.run() }

  let wanted = budget.seconds * Double(cases.count)
  var (spent, reading) = (0.0, 0.0)
  var round = 0
  while spent < wanted || round < budget.fewestRounds {
    for item in cases {
      try item.sample()
      spent += item.samples.seconds.last ?? 0
    }
    if reading < spent / 4 { reading += timed { bandwidth?.sampleOnce() } }
    round += 1
    if round & (round - 1) == 0 || round % 16 == 0 { progress(min(1, spent / wanted)) }
  }
  for _ in 0..<surrounding { bandwidth?.sampleOnce() }
}
