internal import Testing

@testable internal import Tessera

/// Memory that lies on the node of the thread that reads it.
@Suite struct PlacementTests {
  private static let (outputs, inputs) = (16 * 250 + 3, 1024)

  private static func weights(on pool: ThreadPool? = nil) throws(TesseraError) -> [any PackedWeights] {
    var random = SeededGenerator(seed: 17)
    // Rows grow denser, so that shares of equal bytes are not shares of equal panels.
    let matrix = (0..<outputs * inputs).map { at in
      Int.random(in: 0..<outputs, using: &random) < at / inputs ? BFloat16(Float(at % 7) - 3.5) : .zero
    }
    return [
      try DenseWeights(packing: matrix.span, outputs: outputs, inputs: inputs, on: pool),
      try BitmapWeights(packing: matrix.span, outputs: outputs, inputs: inputs, on: pool),
      try BitmapWeights(quantizing: matrix.span, outputs: outputs, inputs: inputs, on: pool),
    ]
  }

  /// Two packages of four cores: the first four threads sit on node 0, the others on node 1.
  @Test func whatIsPlacedIsWhatTheThreadsRead() throws {
    let machine = try MadeUpTree(MadeUpSysfs.twoPackages.contents).machine(allowed: Array(0..<16))
    let cpus = try #require(machine.cpusForThreads(8))
    let nodes = cpus.map { cpu in machine.nodes.first { $0.cpus.contains(cpu) }?.number }
    #expect(nodes == [0, 0, 0, 0, 1, 1, 1, 1])
    for weights in try PlacementTests.weights() { expectPlaced(weights, threads: cpus.count) }
  }

  private func expectPlaced(_ weights: some PackedWeights, threads: Int) {
    let shares = PanelShares(of: weights, threads: threads)
    let placed = (0..<threads).map { shares.memory(ofShare: $0, of: weights) }
    // The shares of a part follow each other and leave nothing out.
    for (index, part) in weights.parts.enumerated() {
      var next = UnsafeRawPointer(part.region.base)
      for share in 0..<threads {
        #expect(placed[share][index].baseAddress == next, "\(weights.format), share \(share)")
        next += placed[share][index].count
      }
      #expect(next == part.region.base + part.region.byteCount, "\(weights.format), part \(index)")
    }
    // The chunks that a multiplication hands to a thread before any of another's.
    let schedule = PanelSchedule(threads: threads)
    for thread in 0..<threads {
      for _ in 0..<shares.chunks {
        guard let next = schedule.next(for: thread, shares: threads, chunks: shares.chunks) else {
          Issue.record("thread \(thread) has too few chunks")
          continue
        }
        #expect(next.share == thread)
        let panels = shares.panels(share: next.share, chunk: next.chunk, of: weights)
        for (index, part) in weights.parts.enumerated() where !panels.isEmpty {
          let (read, own) = (part.bytes(of: panels), placed[thread][index])
          guard let begin = read.baseAddress, let ownBegin = own.baseAddress else { continue }
          #expect(begin >= ownBegin && begin + read.count <= ownBegin + own.count, "\(weights.format), thread \(thread)")
        }
      }
    }
  }

  /// A part of something else is not ours to move.
  @Test func mappedMemoryIsLeftAlone() throws {
    let whole = try #require(try PlacementTests.weights().first as? DenseWeights)
    let shared = MemoryRegion(base: whole.values.base, byteCount: whole.values.byteCount, keeping: whole.values)
    let mapped = try DenseWeights(packed: shared, outputs: PlacementTests.outputs, inputs: PlacementTests.inputs)
    #expect(!mapped.parts.isEmpty)
    #expect(PanelShares(of: mapped, threads: 2).memory(ofShare: 1, of: mapped).isEmpty)
    #expect(try !Executor().place(mapped))
  }

  @Test(.enabled(if: nodeCount == 1, "this machine has several NUMA nodes"))
  func withOneNodeNothingIsPlaced() throws {
    let executor = try Executor()
    for weights in try PlacementTests.weights() {
      let placed = executor.place(weights)
      #expect(!placed)
    }
  }

  private static let nodeCount = Machine.current.nodes.count
  private static let canPlace = Placement.isAvailable && Set(Machine.current.cores.map(\.node)).count > 1

  @Test(.enabled(if: canPlace, "needs two NUMA nodes with CPUs and libnuma"), arguments: [true, false])
  func weightsLieWhereTheirThreadsRun(packedOnThePool: Bool) throws {
    let executor = try Executor()
    let machine = executor.machine
    let cpus = try #require(machine.cpusForThreads(executor.pool.threadCount), "threads that are not pinned")
    for weights in try PlacementTests.weights(on: packedOnThePool ? executor.pool : nil) {
      if !packedOnThePool {
        let placed = executor.place(weights)
        #expect(placed)
      }
      expectOnNodes(weights, cpus.map { cpu in machine.cores.first { $0.cpus.contains(cpu) }?.node })
    }
  }

  /// Looks at the middle page of each share of the largest part. Share 0 is the calling thread's, which is not pinned.
  private func expectOnNodes(_ weights: some PackedWeights, _ nodes: [Int?]) {
    let shares = PanelShares(of: weights, threads: nodes.count)
    for share in 1..<max(1, shares.count) {
      guard
        let largest = shares.memory(ofShare: share, of: weights).max(by: { $0.count < $1.count }),
        let base = largest.baseAddress, largest.count >= 3 * 4096
      else { continue }
      #expect(Placement.node(of: base + largest.count / 2) == nodes[share], "\(weights.format), share \(share)")
    }
  }
}
