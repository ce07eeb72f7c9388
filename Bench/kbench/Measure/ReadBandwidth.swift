internal import CKernels
internal import Tessera

/// How fast the machine can read memory: the best of several patterns, measured in small pieces between everything else.
final class ReadBandwidth {
  struct Sample {
    let pattern: Int
    let seconds: Double
  }

  let patterns: [ck_read_pattern]
  let workingSetBytes: Int
  private let memory: MemoryRegion
  private let pool: ThreadPool
  private let pieceBytes: Int
  // Chunks that threads take from each other when one is held up, as the kernels' panels are shared: else a disturbed machine
  // would let kernels read faster than the roofline.
  private let schedule: PanelSchedule
  private(set) var samples: [Sample] = []
  private var piece = 0
  private var turn = 0
  private var checksum: UInt64 = 0

  /// About what a large layer takes, so that starting and ending the threads weighs as little as in a kernel's run.
  private static let wantedPieceBytes = 64 << 20
  private static let chunks = 16

  /// - Parameter byteCount: memory to rotate through, at least `wantedPieceBytes` of it unless it is less.
  init(byteCount: Int, features: InstructionSet, pool: ThreadPool) throws(TesseraError) {
    self.pool = pool
    schedule = PanelSchedule(threads: pool.threadCount)
    // Whole lines for every chunk.
    let unit = 64 * pool.threadCount * ReadBandwidth.chunks
    pieceBytes = max(unit, min(ReadBandwidth.wantedPieceBytes, byteCount) / unit * unit)
    let pieces = max(1, byteCount / pieceBytes)
    workingSetBytes = pieces * pieceBytes
    patterns = ReadBandwidth.patterns(for: features)
    let share = pieceBytes / pool.threadCount
    let pieceBytes = pieceBytes
    memory = try MemoryRegion(byteCount: pieces * pieceBytes) { bytes in
      // Written by its readers, and not with zeros: untouched pages all share one that stays in the cache.
      pool.run(parts: pool.threadCount) { part, _ in
        for piece in 0..<pieces {
          let begin = piece * pieceBytes + part * share
          let words = UnsafeMutableRawBufferPointer(rebasing: bytes[begin..<begin + share]).bindMemory(to: UInt64.self)
          for index in words.indices { words[index] = UInt64(truncatingIfNeeded: begin + index) }
        }
      }
    }
  }

  /// Those of the widest vectors that the machine has.
  private static func patterns(for features: InstructionSet) -> [ck_read_pattern] {
    var count = 0
    let all = Array(UnsafeBufferPointer(start: ck_read_patterns(&count), count: count))
    let best = all.first { features.isSuperset(of: InstructionSet(rawValue: $0.isa)) }
    return all.filter { $0.isa == best?.isa }
  }

  /// Reads the next piece with the next pattern.
  func sampleOnce() {
    let pattern = patterns[turn]
    let base = memory.base + piece * pieceBytes
    let share = pieceBytes / pool.threadCount
    // Chunks that become smaller towards the end of a share, in whole lines.
    let begins = (0...ReadBandwidth.chunks).map { chunk in
      chunk == ReadBandwidth.chunks ? share : Int(Double(share) * (1 - PanelShares.left(atChunk: chunk))) / 256 * 256
    }
    // A sum for each thread, a pair of cache lines apart; used below, so that nothing may leave the reading out.
    let spacing = 16
    var sums = [UInt64](repeating: 0, count: pool.threadCount * spacing)
    let seconds = sums.withUnsafeMutableBufferPointer { sums in
      let target = sums
      return timed {
        schedule.restart()
        pool.run(parts: pool.threadCount) { part, _ in
          while let (owner, chunk) = schedule.next(for: part, shares: pool.threadCount, chunks: ReadBandwidth.chunks) {
            target[part * spacing] &+= pattern.run(base + owner * share + begins[chunk], begins[chunk + 1] - begins[chunk])
          }
        }
      }
    }
    checksum = sums.reduce(checksum, &+)
    samples.append(Sample(pattern: turn, seconds: seconds))
    turn = (turn + 1) % patterns.count
    piece = (piece + 1) % (workingSetBytes / pieceBytes)
  }

  /// Bytes per second of each pattern: the median since sample `start`; nil for one without samples.
  func bandwidths(since start: Int = 0) -> [Double?] {
    patterns.indices.map { pattern in
      let times = times(of: pattern, since: start)
      return times.count > 0 ? Double(pieceBytes) / times.median : nil
    }
  }

  func best(since start: Int = 0) -> Double? { bandwidths(since: start).compactMap { $0 }.max() }

  private func times(of pattern: Int, since start: Int) -> Samples {
    var times = Samples()
    for sample in samples[start...] where sample.pattern == pattern { times.append(sample.seconds) }
    return times
  }

  /// A row for each pattern over the whole run.
  func rows(foreignCPUs: Double?) -> [ResultRow] {
    patterns.indices.map { index in
      let pattern = patterns[index]
      let streams = (pattern.streams == 1 ? "1-stream" : "\(pattern.streams)-streams") + (pattern.prefetch != 0 ? "-pf" : "")
      return ResultRow(
        op: "read_bandwidth", format: "bytes", isa: String(cString: pattern.isa_tag),
        variant: String(cString: pattern.name), shape: streams, threads: pool.threadCount,
        samples: times(of: index, since: 0), bytes: pieceBytes, rooflineBandwidth: best(),
        workingSetBytes: workingSetBytes, foreignCPUs: foreignCPUs)
    }
  }
}
