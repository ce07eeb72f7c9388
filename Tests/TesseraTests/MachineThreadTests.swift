import Testing

@testable import Tessera

@Suite struct MachineThreadTests {
  @Test func coresBeforeSiblingsSpreadOverCachesAndNodes() throws {
    let machine = try MadeUpTree(MadeUpSysfs.twoPackages.contents).machine(allowed: Array(0..<16))
    #expect(machine.defaultThreadCount == 8)
    #expect(machine.cpusForThreads(1) == [0])
    #expect(machine.cpusForThreads(2) == [0, 4])
    #expect(machine.cpusForThreads(4) == [0, 2, 4, 6])
    #expect(machine.cpusForThreads(8) == [0, 2, 1, 3, 4, 6, 5, 7])
    #expect(machine.cpusForThreads(10) == [0, 2, 1, 3, 4, 6, 5, 7, 8, 12])
    #expect(machine.cpusForThreads(16)?.sorted() == Array(0..<16))
    #expect(machine.cpusForThreads(17) == nil)
    #expect(machine.cpusForThreads(0) == nil)
  }

  @Test func fastCoresComeFirst() throws {
    let machine = try MadeUpTree(MadeUpSysfs.hybrid.contents).machine(allowed: Array(0..<8))
    #expect(machine.cpusForThreads(2) == [0, 2])
    #expect(machine.cpusForThreads(3) == [0, 2, 4])
    #expect(machine.cpusForThreads(8) == [0, 2, 4, 5, 6, 7, 1, 3])
  }

  @Test func chipletsShareTheThreadsEvenly() throws {
    let machine = try MadeUpTree(MadeUpSysfs.chiplets.contents).machine(allowed: Array(0..<64))
    for count in 1...64 {
      let cpus = try #require(machine.cpusForThreads(count))
      let perCache = (0..<8).map { cache in cpus.count { $0 / 8 == cache } }
      #expect((perCache.max() ?? 0) - (perCache.min() ?? 0) <= 1, "\(count) threads: \(perCache)")
    }
  }

  /// Whatever the machine looks like: as many CPUs as threads, all different and allowed, and no core twice before every core
  /// once.
  @Test(arguments: [UInt64(1), 2, 3, 4, 5, 6, 7, 8])
  func anyTopologyGivesDistinctAllowedCPUs(seed: UInt64) throws {
    var generator = SplitMix(state: seed)
    var cores: [Topology.Core] = []
    var next = 0
    for _ in 0..<Int.random(in: 1...12, using: &generator) {
      let threads = Int.random(in: 1...4, using: &generator)
      cores.append(
        Topology.Core(
          cpus: Array(next..<next + threads), package: Int.random(in: 0...2, using: &generator),
          kind: Int.random(in: 0...1, using: &generator)))
      next += threads
    }
    let allowed = (0..<next).filter { _ in Int.random(in: 0..<4, using: &generator) > 0 } + [next]
    let files = SystemFiles(root: "/nowhere")
    let machine = Machine(completing: Topology(source: .sysfs, cores: cores), allowedCPUs: allowed, files: files)
    #expect(machine.cores.flatMap(\.cpus).sorted() == allowed, "seed \(seed)")
    for count in 1...allowed.count {
      let cpus = try #require(machine.cpusForThreads(count), "seed \(seed), \(count) threads")
      #expect(cpus.count == count && Set(cpus).count == count && Set(cpus).isSubset(of: allowed), "seed \(seed): \(cpus)")
      let firstRound = cpus.prefix(machine.cores.count)
      let used = Set(firstRound.compactMap { cpu in machine.cores.firstIndex { $0.cpus.contains(cpu) } })
      #expect(used.count == firstRound.count, "seed \(seed): \(cpus)")
    }
  }

  private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
  }
}
