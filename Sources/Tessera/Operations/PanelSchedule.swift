internal import Synchronization

/// Hands panels to threads: each thread has a contiguous share of nearly equal bytes, taken in chunks; a thread that has finished
/// its own share takes chunks from the others'. The same thread reads the same memory from call to call, and a thread that is
/// held up costs the call a chunk instead of its whole delay. Which thread computes a panel changes no bit of it.
package struct PanelSchedule: ~Copyable, @unchecked Sendable {
  // Sendable because threads share nothing of it but atomic counters, which live as long as it does.

  // The number of chunks taken from each share, each on its own pair of cache lines.
  private let taken: UnsafeMutablePointer<Atomic<Int>>
  private let threads: Int

  private static let countersPerLine = 128 / MemoryLayout<Atomic<Int>>.stride

  package init(threads: Int) {
    self.threads = threads
    taken = .allocate(capacity: threads * PanelSchedule.countersPerLine)
    for index in 0..<threads * PanelSchedule.countersPerLine { (taken + index).initialize(to: Atomic(0)) }
  }

  deinit {
    taken.deinitialize(count: threads * PanelSchedule.countersPerLine)
    taken.deallocate()
  }

  /// Begins a call; no thread may be in `next` meanwhile.
  package func restart() {
    for thread in 0..<threads { counter(thread).pointee.store(0, ordering: .relaxed) }
  }

  /// What a thread does next: (share, chunk), its own share first; nil when every chunk of every share is taken.
  package func next(for thread: Int, shares: Int, chunks: Int) -> (share: Int, chunk: Int)? {
    for offset in 0..<shares {
      let share = (thread + offset) % shares
      let counter = counter(share)
      if counter.pointee.load(ordering: .relaxed) >= chunks { continue }
      let chunk = counter.pointee.wrappingAdd(1, ordering: .relaxed).oldValue
      if chunk < chunks { return (share, chunk) }
    }
    return nil
  }

  private func counter(_ share: Int) -> UnsafeMutablePointer<Atomic<Int>> { taken + share * PanelSchedule.countersPerLine }
}
