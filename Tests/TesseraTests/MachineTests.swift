import Foundation
import Testing

@testable import Tessera

@Suite struct MachineTopologyTests {
  @Test func twoPackagesWithSMT() throws {
    let machine = try MadeUpTree(MadeUpSysfs.twoPackages.contents).machine(allowed: Array(0..<16))
    #expect(machine.topologySource == .sysfs)
    #expect(machine.cacheSource == .sysfs)
    #expect(machine.packageCount == 2)
    #expect(machine.threadsPerCore == 2)
    #expect(machine.cores.map(\.cpus) == (0..<8).map { [$0, $0 + 8] })
    #expect(machine.cores.map(\.package) == [0, 0, 0, 0, 1, 1, 1, 1])
    #expect(machine.cores.map(\.node) == [0, 0, 0, 0, 1, 1, 1, 1])
    #expect(machine.cores.map(\.cacheDomain) == [0, 0, 1, 1, 2, 2, 3, 3])
    #expect(machine.cores.allSatisfy { $0.kind == 0 })
    #expect(
      machine.nodes == [
        Machine.Node(number: 0, cpus: [0, 1, 2, 3, 8, 9, 10, 11], memoryBytes: 1 << 30),
        Machine.Node(number: 1, cpus: [4, 5, 6, 7, 12, 13, 14, 15], memoryBytes: 2 << 30),
      ])
    #expect(
      machine.caches == [
        Machine.Cache(level: 1, bytes: 32 << 10, lineBytes: 64, sharedBy: 2, instances: 8),
        Machine.Cache(level: 2, bytes: 1 << 20, lineBytes: 64, sharedBy: 2, instances: 8),
        Machine.Cache(level: 3, bytes: 32 << 20, lineBytes: 64, sharedBy: 4, instances: 4),
      ])
    #expect(machine.lastLevelCacheBytes == 128 << 20)
    #expect(machine.cacheBytes(level: 2) == 1 << 20)
    #expect(machine.cacheBytes(level: 4) == nil)
    #expect(machine.transparentHugePages == .always)
    #expect(machine.pageSizes.suffix(2) == [2 << 20, 1 << 30])
  }

  @Test func allowedCPUsCutTheTopology() throws {
    let machine = try MadeUpTree(MadeUpSysfs.twoPackages.contents).machine(allowed: [1, 2, 9, 12])
    #expect(machine.cores.map(\.cpus) == [[1, 9], [2], [12]])
    #expect(machine.cores.map(\.package) == [0, 0, 1])
    #expect(machine.cores.map(\.cacheDomain) == [0, 1, 2])
    #expect(machine.nodes.map(\.cpus) == [[1, 2, 9], [12]])
    #expect(machine.caches.filter { $0.level == 3 }.map(\.sharedBy).sorted() == [1, 2])
    #expect(machine.defaultThreadCount == 3)
  }

  @Test func allowedCPUThatTheTreeLacksBecomesACore() throws {
    let machine = try MadeUpTree(MadeUpSysfs.hybrid.contents).machine(allowed: [0, 1, 40])
    #expect(machine.cores.map(\.cpus) == [[0, 1], [40]])
  }

  @Test func hybridKindsAreRankedFromTheSlowest() throws {
    let tree = try MadeUpTree(MadeUpSysfs.hybrid.contents)
    let machine = tree.machine(allowed: Array(0..<8))
    #expect(machine.cores.map(\.cpus) == [[0, 1], [2, 3], [4], [5], [6], [7]])
    #expect(machine.cores.map(\.kind) == [1, 1, 0, 0, 0, 0])
    #expect(machine.caches.filter { $0.level == 1 }.map(\.instances) == [2, 4])
    #expect(machine.cacheBytes(level: 1) == 32 << 10)
    #expect(tree.machine(allowed: [0, 1, 2, 3]).cores.map(\.kind) == [0, 0])
  }

  @Test func capacitiesRankKindsWhereNoNamesAre() throws {
    var sysfs = MadeUpSysfs.hybrid
    sysfs.others = [:]
    for cpu in 0..<8 { sysfs.others["/sys/devices/system/cpu/cpu\(cpu)/cpu_capacity"] = cpu < 4 ? "1024" : "420" }
    #expect(try MadeUpTree(sysfs.contents).machine(allowed: Array(0..<8)).cores.map(\.kind) == [1, 1, 0, 0, 0, 0])
  }

  @Test func oneCPU() throws {
    let sysfs = MadeUpSysfs(online: "0", cores: [.init(cpus: "0", l2: ("512K", "0"))])
    let machine = try MadeUpTree(sysfs.contents).machine(allowed: [0])
    #expect(machine.cores == [Machine.Core(cpus: [0], package: 0, node: 0, cacheDomain: 0, kind: 0)])
    #expect(machine.nodes.map(\.cpus) == [[0]])
    #expect(machine.caches.map(\.level) == [1, 2])
    #expect(machine.defaultThreadCount == 1)
    #expect(machine.cpusForThreads(1) == [0])
    #expect(machine.cpusForThreads(2) == nil)
  }

  @Test func emptyTreeStillMakesAMachine() throws {
    let machine = try MadeUpTree([:]).machine(allowed: [2, 3, 5])
    #expect(machine.topologySource == .assumed)
    #expect(machine.cores.map(\.cpus) == [[2], [3], [5]])
    #expect(machine.nodes == [Machine.Node(number: 0, cpus: [2, 3, 5], memoryBytes: 0)])
    #expect(machine.cacheSource == .cpuid || machine.cacheSource == .assumed)
    #expect(machine.cacheBytes(level: 1).map { $0 >= 4096 } == true)
    #expect(machine.cacheBytes(level: 2).map { $0 >= 4096 } == true)
    #expect(machine.cpuQuota == nil)
    #expect(machine.transparentHugePages == .unknown)
    #expect(machine.cpusForThreads(3)?.sorted() == [2, 3, 5])
  }

  @Test(arguments: ["", "-1", "9999999999999999999", "0-", "-", "7-3", "0-99999999", "\u{0}\u{1}", "K"])
  func damagedFilesLeaveTheirPartEmpty(garbage: String) throws {
    let contents = MadeUpSysfs.twoPackages.contents.mapValues { _ in garbage }
    let machine = try MadeUpTree(contents).machine(allowed: [0, 1])
    #expect(machine.cores.map(\.cpus) == [[0], [1]])
    #expect(machine.caches.allSatisfy { $0.bytes > 0 && $0.instances > 0 })
    #expect(machine.nodes.allSatisfy { $0.memoryBytes >= 0 })
    #expect(machine.pageSizes.allSatisfy { $0 >= 4096 })
  }

  @Test func singleNodeHasAllTheMemory() throws {
    var sysfs = MadeUpSysfs.hybrid
    sysfs.others["/proc/meminfo"] = "MemTotal:       33554432 kB\nMemFree:  1 kB"
    #expect(try MadeUpTree(sysfs.contents).machine(allowed: [0]).nodes.map(\.memoryBytes) == [32 << 30])
  }

  @Test(arguments: [
    ("always [madvise] never", Machine.TransparentHugePages.madvise), ("always madvise [never]", .never), ("on", .unknown),
  ])
  func hugePageModeStandsInBrackets(text: String, mode: Machine.TransparentHugePages) throws {
    let tree = try MadeUpTree(["/sys/kernel/mm/transparent_hugepage/enabled": text])
    #expect(tree.machine(allowed: [0]).transparentHugePages == mode)
  }
}

@Suite struct CPUListTests {
  @Test(arguments: [
    ("0-3,8", [0, 1, 2, 3, 8]), ("5", [5]), ("", []), (" 1,0 \n", [0, 1]), ("0-1,1-2", [0, 1, 2]), ("3-1,4", [4]), ("a,2", [2]),
  ])
  func parse(text: String, cpus: [Int]) {
    #expect(CPUList.parse(text) == cpus)
  }

  @Test(arguments: [([0, 1, 2, 3, 8], "0-3,8"), ([5], "5"), ([], ""), ([0, 1], "0-1")])
  func format(cpus: [Int], text: String) {
    #expect(CPUList.format(cpus) == text)
  }
}

@Suite struct CPUQuotaTests {
  private func quota(_ contents: [String: String]) throws -> Double? { try MadeUpTree(contents).read(CPUQuota.read) }

  @Test func unifiedGroupOfAContainer() throws {
    #expect(try quota(["/proc/self/cgroup": "0::/", "/sys/fs/cgroup/cpu.max": "150000 100000"]) == 1.5)
  }

  @Test func smallestQuotaOfTheAncestorsCounts() throws {
    let contents = [
      "/proc/self/cgroup": "0::/user.slice/session.scope",
      "/sys/fs/cgroup/user.slice/cpu.max": "200000 100000",
      "/sys/fs/cgroup/user.slice/session.scope/cpu.max": "max 100000",
    ]
    #expect(try quota(contents) == 2)
  }

  @Test(arguments: ["cpu", "cpu,cpuacct"])
  func legacyGroup(controllers: String) throws {
    let contents = [
      "/proc/self/cgroup": "4:memory:/a\n3:\(controllers):/a/b",
      "/sys/fs/cgroup/\(controllers)/a/cpu.cfs_quota_us": "-1",
      "/sys/fs/cgroup/\(controllers)/a/cpu.cfs_period_us": "100000",
      "/sys/fs/cgroup/\(controllers)/a/b/cpu.cfs_quota_us": "50000",
      "/sys/fs/cgroup/\(controllers)/a/b/cpu.cfs_period_us": "100000",
    ]
    #expect(try quota(contents) == 0.5)
  }

  @Test func pathThatOnlyTheHostSeesEndsAtTheMountPoint() throws {
    let contents = [
      "/proc/self/cgroup": "3:cpu,cpuacct:/docker/0123abcd",
      "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000",
      "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
    ]
    #expect(try quota(contents) == 3)
  }

  @Test func pathOutsideTheNamespaceReadsTheMountPoint() throws {
    #expect(try quota(["/proc/self/cgroup": "0::/../../x", "/sys/fs/cgroup/cpu.max": "100000 50000"]) == 2)
  }

  @Test(arguments: ["max 100000", "", "100000", "100000 0", "-5 100000", "x y", "1 2 3"])
  func noQuota(text: String) throws {
    #expect(try quota(["/proc/self/cgroup": "0::/", "/sys/fs/cgroup/cpu.max": text]) == nil)
  }

  @Test(arguments: ["", "nonsense", "0:", "::::"])
  func damagedGroupFile(text: String) throws {
    #expect(try quota(["/proc/self/cgroup": text, "/sys/fs/cgroup/cpu.max": "100000 100000"]) == nil)
  }

  @Test func quotaCapsTheThreadsAndForbidsPinning() throws {
    var sysfs = MadeUpSysfs.twoPackages
    sysfs.others["/proc/self/cgroup"] = "0::/"
    sysfs.others["/sys/fs/cgroup/cpu.max"] = "250000 100000"
    let machine = try MadeUpTree(sysfs.contents).machine(allowed: Array(0..<16))
    #expect(machine.cpuQuota == 2.5)
    #expect(machine.defaultThreadCount == 3)
    #expect(machine.cpusForThreads(2) == nil)

    sysfs.others["/sys/fs/cgroup/cpu.max"] = "1600000 100000"
    let unhindered = try MadeUpTree(sysfs.contents).machine(allowed: Array(0..<16))
    #expect(unhindered.defaultThreadCount == 8)
    #expect(unhindered.cpusForThreads(2) != nil)
  }
}
