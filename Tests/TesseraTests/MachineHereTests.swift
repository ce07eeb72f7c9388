import CKernels
import Foundation
import Testing

@testable import Tessera

/// The running machine, whatever it is.
@Suite struct MachineHereTests {
  @Test func currentMachineIsConsistent() {
    let machine = Machine.current
    #expect(machine == Machine.current)
    #expect(!machine.allowedCPUs.isEmpty)
    #expect(machine.cores.flatMap(\.cpus).sorted() == machine.allowedCPUs)
    #expect(machine.allowedCPUs.count <= machine.onlineCPUCount)
    #expect(machine.nodes.flatMap(\.cpus).count >= machine.allowedCPUs.count)
    #expect(machine.nodes.map(\.memoryBytes).reduce(0, +) > 0)
    #expect(1...machine.cores.count ~= machine.defaultThreadCount)
    #expect(machine.caches.allSatisfy { $0.bytes > 0 && $0.lineBytes > 0 && $0.sharedBy > 0 && $0.instances > 0 })
    #expect(machine.instructionSets == InstructionSet.detect())
    #expect(machine.instructionSets.contains(.amxtile) == (machine.amxPermission == .granted))
  }

  @Test func runsAsJSONAndBack() throws {
    let machine = Machine.current
    let data = try JSONEncoder().encode(machine)
    #expect(try JSONDecoder().decode(Machine.self, from: data) == machine)
    let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    #expect(object["instructionSets"] as? [String] == machine.instructionSets.tags)
    #expect((object["cores"] as? [Any])?.count == machine.cores.count)
  }

  @Test func unknownTagInJSONIsAnError() {
    #expect(throws: DecodingError.self) { try JSONDecoder().decode(InstructionSet.self, from: Data(#"["avx2","mmx9"]"#.utf8)) }
  }

  @Test func cpuidDescribesEveryLevel() throws {
    let count = ck_cpu_caches(nil, 0)
    #if arch(x86_64)
      try #require(count > 0)
    #else
      try #require(count == 0)
    #endif
    var caches = [ck_cpu_cache](repeating: ck_cpu_cache(), count: count)
    #expect(ck_cpu_caches(&caches, 0) == count)
    #expect(caches.allSatisfy { $0.bytes == 0 })
    #expect(ck_cpu_caches(&caches, count) == count)
    for cache in caches {
      #expect(cache.bytes >= 4096 && cache.shared_by >= 1 && 1...4 ~= cache.level && 16...512 ~= cache.line_bytes)
    }
  }

  #if os(Linux)
    @Test func affinityMaskIsObeyed() async {
      await #expect(processExitsWith: .success) {
        let before = Machine.detect()
        guard let last = before.allowedCPUs.last, try run("taskset", "-a", "-c", "-p", "\(last)", "\(getpid())") else { return }
        let machine = Machine.detect()
        precondition(machine.allowedCPUs == [last], "allowed \(machine.allowedCPUs)")
        precondition(machine.cores.map(\.cpus) == [[last]], "cores \(machine.cores)")
        precondition(machine.nodes.flatMap(\.cpus) == [last], "nodes \(machine.nodes)")
        precondition(machine.caches.allSatisfy { $0.sharedBy == 1 && $0.instances == 1 }, "caches \(machine.caches)")
        precondition(machine.cpusForThreads(1) == [last] && machine.cpusForThreads(2) == nil)
      }
    }

    @Test func placementTouchesTheAskedNode() throws {
      let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 12, alignment: 4096)
      defer { bytes.deallocate() }
      let cpu = try #require(Machine.current.allowedCPUs.last)
      let placed = Placement.prefer(nodeOfCPU: cpu, for: bytes)
      #expect(!placed || Placement.isAvailable)
      bytes.initializeMemory(as: UInt8.self, repeating: 1)
      let base = try #require(bytes.baseAddress)
      if let node = Placement.node(of: base) {
        #expect(Machine.current.nodes.contains { $0.number == node })
        // A full node may send its pages elsewhere, so only a machine with room proves the binding.
        let wanted = Machine.current.nodes.first { $0.cpus.contains(cpu) }?.number
        if placed { #expect(node == wanted) }
      }
    }

    @Test func placementRefusesWhatIsNotThere() {
      let empty = UnsafeMutableRawBufferPointer(start: nil, count: 0)
      #expect(!Placement.prefer(nodeOfCPU: 0, for: empty))
      let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 8192, alignment: 4096)
      defer { bytes.deallocate() }
      #expect(!Placement.prefer(nodeOfCPU: -1, for: bytes))
      #expect(!Placement.prefer(nodeOfCPU: 1 << 20, for: bytes))
      #expect(!Placement.prefer(nodeOfCPU: Int.max, for: bytes))
    }
  #endif

  #if os(Linux) && Hwloc
    @Test func hwlocAndSysfsAgree() throws {
      let files = SystemFiles()
      let allowed = Machine.current.allowedCPUs
      let library = try Machine(completing: #require(HwlocTopology.read()), allowedCPUs: allowed, files: files)
      let own = Machine(completing: SysfsTopology.read(files), allowedCPUs: allowed, files: files)
      try #require(own.topologySource == .sysfs && own.cacheSource == .sysfs, "/sys is masked here")
      #expect(library.topologySource == .hwloc)
      // The library also ranks kinds by frequency, so kinds may differ.
      #expect(library.cores.map(\.cpus) == own.cores.map(\.cpus))
      #expect(library.cores.map(\.package) == own.cores.map(\.package))
      #expect(library.cores.map(\.node) == own.cores.map(\.node))
      #expect(library.cores.map(\.cacheDomain) == own.cores.map(\.cacheDomain))
      #expect(library.caches == own.caches)
      #expect(library.nodes == own.nodes)
    }

    @Test func hwlocReadsPackagesNodesAndSMT() async {
      await #expect(processExitsWith: .success) {
        let synthetic = "pack:2 [numa(memory=1073741824)] l3:2(size=33554432) core:2 l2:1(size=1048576) pu:2"
        setenv("HWLOC_SYNTHETIC", synthetic, 1)
        let topology = try #require(HwlocTopology.load(flags: 0))
        let machine = Machine(completing: topology, allowedCPUs: Array(0..<16), files: SystemFiles(root: "/nowhere"))
        precondition(machine.cores.map(\.cpus) == (0..<8).map { [2 * $0, 2 * $0 + 1] }, "\(machine.cores)")
        precondition(machine.cores.map(\.package) == [0, 0, 0, 0, 1, 1, 1, 1], "\(machine.cores)")
        precondition(machine.cores.map(\.node) == [0, 0, 0, 0, 1, 1, 1, 1], "\(machine.cores)")
        precondition(machine.cores.map(\.cacheDomain) == [0, 0, 1, 1, 2, 2, 3, 3], "\(machine.cores)")
        precondition(machine.caches.map(\.level) == [2, 3] && machine.cacheBytes(level: 3) == 32 << 20, "\(machine.caches)")
        precondition(machine.nodes.map(\.memoryBytes) == [1 << 30, 1 << 30], "\(machine.nodes)")
        precondition(machine.cpusForThreads(4) == [0, 4, 8, 12], "\(String(describing: machine.cpusForThreads(4)))")
      }
    }
  #endif

  @Test func listingReadsWell() throws {
    var sysfs = MadeUpSysfs.twoPackages
    sysfs.others["/proc/self/cgroup"] = "0::/"
    sysfs.others["/sys/fs/cgroup/cpu.max"] = "250000 100000"
    var machine = try MadeUpTree(sysfs.contents).machine(allowed: Array(0..<16))
    machine.model = "Made-up 9000"
    machine.vendor = "GenuineExample"
    machine.architecture = "x86_64"
    machine.instructionSets = [.avx2, .avx512, .avx512bf16]
    machine.amxPermission = .refused
    machine.onlineCPUCount = 16
    machine.pageSizes = [4 << 10, 2 << 20, 1 << 30]
    #expect(
      machine.description == """
        CPU               Made-up 9000 (GenuineExample, x86_64)
        instruction sets  avx2 avx512 avx512bf16
        AMX               refused
        cores             8 in 2 packages, 4 last-level caches; up to 2 threads each
        may use           CPUs 0-15, 16 of 16 online; a quota of 2.5 CPUs
        NUMA node 0       1 GiB, CPUs 0-3,8-11
        NUMA node 1       2 GiB, CPUs 4-7,12-15
        L1 cache          8 x 32 KiB, lines of 64 B, each shared by 2 CPUs
        L2 cache          8 x 1 MiB, lines of 64 B, each shared by 2 CPUs
        L3 cache          4 x 32 MiB, lines of 64 B, each shared by 4 CPUs
        pages             4 KiB, 2 MiB, 1 GiB; transparent huge pages: always
        threads           3 by default
        as told by        sysfs
        """)
  }
}

#if os(Linux)
  /// Whether a program of the search path ran and succeeded.
  private func run(_ program: String, _ arguments: String...) throws -> Bool {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    return process.terminationStatus == 0
  }
#endif
