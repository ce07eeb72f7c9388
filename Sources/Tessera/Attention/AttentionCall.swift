internal import CKernels
internal import Synchronization

/// One call of attention, laid out: its units, and the memory that they read and write.
struct AttentionCall: @unchecked Sendable {
  // Sendable: the pointers are valid while the call runs; each unit writes places of its own.
  let plan: AttentionPlan
  let sequences: UnsafeBufferPointer<AttentionSequence>
  let sources: [AttentionSource]
  let kernels: UnsafeBufferPointer<AttentionKernels>
  /// For each unit, where a plan splits chunks.
  let states: AttentionStates
  let scratch: ThreadScratch
  let layout: AttentionScratch.Layout

  func run(on pool: ThreadPool) {
    let next = Atomic(0)
    pool.run(parts: pool.threadCount) { _, worker in
      func take() -> Int { next.wrappingAdd(1, ordering: .relaxed).oldValue }
      // One unit is taken ahead, so that the end of one can ask for the beginning of the next.
      var index = take()
      while index < plan.units.count {
        let following = take()
        run(unit: index, worker: worker, next: following < plan.units.count ? beginning(ofUnit: following, worker: worker) : nil)
        index = following
      }
    }
    guard plan.splitsChunks else { return }
    pool.run(parts: plan.cells.count) { cell, worker in work(on: cell, worker: worker).fold(states) }
  }

  private func run(unit index: Int, worker: Int, next: UnsafeRawPointer?) {
    let unit = plan.units[index]
    let work = work(on: unit.cell, worker: worker)
    if plan.splitsChunks {
      work.run(chunk: unit.chunk, into: states[index], next: next)
    } else {
      work.runAllChunks(next: next)
    }
  }

  private func beginning(ofUnit index: Int, worker: Int) -> UnsafeRawPointer? {
    work(on: plan.units[index].cell, worker: worker).beginning(ofChunk: plan.units[index].chunk)
  }

  private func work(on cell: Int, worker: Int) -> AttentionWork {
    guard let base = scratch[worker], let sequences = sequences.baseAddress, let kernels = kernels.baseAddress else {
      preconditionFailure("attention without scratch")
    }
    let place = plan.cells[cell]
    return AttentionWork(
      sequence: sequences + place.sequence, source: sources[place.sequence], cell: place,
      scratch: AttentionScratch(base: base, layout: layout), kernels: kernels + place.sequence)
  }
}
