import Foundation
import Testing

@testable import Tessera

/// A /sys and /proc tree in a temporary folder, removed with its owner.
final class MadeUpTree {
  private let root: URL

  init(_ contents: [String: String]) throws {
    // Hundreds of small files: much faster in memory than on a disk.
    let memory = URL(fileURLWithPath: "/dev/shm")
    let parent = FileManager.default.isWritableFile(atPath: memory.path) ? memory : FileManager.default.temporaryDirectory
    root = parent.appendingPathComponent("tessera-machine-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
    for (path, text) in contents {
      let file = root.appendingPathComponent(path)
      try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data((text + "\n").utf8).write(to: file)
    }
  }

  deinit { try? FileManager.default.removeItem(at: root) }

  /// Calls `body` while the tree stands.
  func read<Result>(_ body: (SystemFiles) -> Result) -> Result {
    withExtendedLifetime(self) { body(SystemFiles(root: root.path)) }
  }

  func machine(allowed: [Int]) -> Machine {
    read { Machine(completing: SysfsTopology.read($0), allowedCPUs: allowed, files: $0) }
  }
}

/// The files that Linux would show for a machine described core by core.
struct MadeUpSysfs {
  struct Core {
    var cpus: String
    var package = 0
    var l1: (size: String, line: Int) = ("32K", 64)
    var l2: (size: String, cpus: String)
    var l3: (size: String, cpus: String)?
  }

  var online: String
  var cores: [Core]
  /// CPU lists and kilobytes of memory.
  var nodes: [(cpus: String, kilobytes: Int)] = []
  var others: [String: String] = [:]

  var contents: [String: String] {
    var contents = others
    contents["/sys/devices/system/cpu/online"] = online
    for core in cores {
      for cpu in CPUList.parse(core.cpus) {
        let folder = "/sys/devices/system/cpu/cpu\(cpu)"
        contents["\(folder)/topology/core_cpus_list"] = core.cpus
        contents["\(folder)/topology/physical_package_id"] = "\(core.package)"
        var caches = [
          (1, "Data", core.l1.size, core.cpus), (1, "Instruction", "64K", core.cpus), (2, "Unified", core.l2.size, core.l2.cpus),
        ]
        if let l3 = core.l3 { caches.append((3, "Unified", l3.size, l3.cpus)) }
        for (index, (level, type, size, cpus)) in caches.enumerated() {
          let cache = "\(folder)/cache/index\(index)"
          contents["\(cache)/level"] = "\(level)"
          contents["\(cache)/type"] = type
          contents["\(cache)/size"] = size
          contents["\(cache)/coherency_line_size"] = "\(core.l1.line)"
          contents["\(cache)/shared_cpu_list"] = cpus
        }
      }
    }
    for (number, node) in nodes.enumerated() {
      contents["/sys/devices/system/node/node\(number)/cpulist"] = node.cpus
      contents["/sys/devices/system/node/node\(number)/meminfo"] =
        "Node \(number) MemTotal:       \(node.kilobytes) kB\nNode \(number) MemFree:        17 kB"
    }
    return contents
  }

  /// Two packages, each one node of four cores with two threads; two cores share a level-3 cache. CPU c + 8 is c's sibling.
  static let twoPackages = MadeUpSysfs(
    online: "0-15",
    cores: (0..<8).map { core in
      let pair = core / 2 * 2
      return Core(
        cpus: "\(core),\(core + 8)", package: core / 4, l2: ("1024K", "\(core),\(core + 8)"),
        l3: ("32768K", "\(pair)-\(pair + 1),\(pair + 8)-\(pair + 9)"))
    },
    nodes: [("0-3,8-11", 1 << 20), ("4-7,12-15", 2 << 20)],
    others: [
      "/sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never",
      "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "0",
      "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "0",
    ])

  /// Two fast cores with two threads, CPUs 0-3, and four slow ones that share a level-2 cache, CPUs 4-7.
  static let hybrid = MadeUpSysfs(
    online: "0-7",
    cores: (0..<2).map { core in
      let cpus = "\(2 * core)-\(2 * core + 1)"
      return Core(cpus: cpus, l1: ("48K", 64), l2: ("2M", cpus), l3: ("24M", "0-7"))
    } + (4..<8).map { Core(cpus: "\($0)", l2: ("4M", "4-7"), l3: ("24M", "0-7")) },
    nodes: [("0-7", 1 << 24)],
    others: ["/sys/devices/cpu_core/cpus": "0-3", "/sys/devices/cpu_atom/cpus": "4-7"])

  /// One package and node with eight level-3 caches of eight cores each, without SMT.
  static let chiplets = MadeUpSysfs(
    online: "0-63",
    cores: (0..<64).map { core in
      let first = core / 8 * 8
      return Core(cpus: "\(core)", l2: ("1M", "\(core)"), l3: ("32M", "\(first)-\(first + 7)"))
    },
    nodes: [("0-63", 1 << 24)])
}
