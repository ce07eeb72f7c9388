/// The CPU time that the control groups of this process grant it, in CPUs.
///
/// A quota is not an affinity: all CPUs stay visible, but a process that uses more time than its quota is stopped for
/// the rest of the period, so a pool that spins on more threads than the quota stalls for whole periods.
enum CPUQuota {
  /// The smallest quota of the group and its ancestors; nil when none is set.
  ///
  /// Inside a container the group's path may name directories that only the host sees. Walking up ends at the mount
  /// point, which then is the container's own group.
  static func read(_ files: SystemFiles) -> Double? {
    guard let groups = files.text("/proc/self/cgroup") else { return nil }
    var quotas: [Double] = []
    for line in groups.split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      let path = String(fields[2])
      if fields[0] == "0", fields[1].isEmpty {
        for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
          quotas += ancestors(of: path, mount: mount).compactMap { unifiedQuota(files, $0) }
        }
      } else if fields[1].split(separator: ",").contains("cpu") {
        for mount in ["/sys/fs/cgroup/\(fields[1])", "/sys/fs/cgroup/cpu"] {
          quotas += ancestors(of: path, mount: mount).compactMap { legacyQuota(files, $0) }
        }
      }
    }
    return quotas.min()
  }

  /// The directories of a group and of everything above it, down to the mount point itself.
  private static func ancestors(of path: String, mount: String) -> [String] {
    let parts = path.split(separator: "/")
    if parts.contains("..") { return [mount] }
    return (0...parts.count).map { depth in ([mount[...]] + parts.prefix(depth)).joined(separator: "/") }
  }

  /// Version 2: `cpu.max` holds "quota period" in microseconds, or "max period".
  private static func unifiedQuota(_ files: SystemFiles, _ directory: String) -> Double? {
    let fields = files.text("\(directory)/cpu.max")?.split(separator: " ") ?? []
    guard fields.count == 2, let quota = Int(fields[0]), let period = Int(fields[1]) else { return nil }
    return ratio(quota, period)
  }

  /// Version 1: quota and period in files of their own; a quota of -1 is none.
  private static func legacyQuota(_ files: SystemFiles, _ directory: String) -> Double? {
    guard
      let quota = files.integer("\(directory)/cpu.cfs_quota_us"), let period = files.integer("\(directory)/cpu.cfs_period_us")
    else { return nil }
    return ratio(quota, period)
  }

  private static func ratio(_ quota: Int, _ period: Int) -> Double? {
    quota > 0 && period > 0 ? Double(quota) / Double(period) : nil
  }
}
