#if os(Linux) && Numa
  internal import CNuma

  #if canImport(Glibc)
    internal import Glibc
  #elseif canImport(Musl)
    internal import Musl
  #endif
#endif

/// Where pages of memory live on a machine with several NUMA nodes.
///
/// Everything here is a hint. Without libnuma, on a kernel without NUMA, or in a container that forbids the calls,
/// nothing happens and pages go to the node of the thread that first writes them.
public enum Placement {
  /// Whether the system lets this process see and choose nodes.
  public static var isAvailable: Bool {
    #if os(Linux) && Numa
      numaIsAvailable
    #else
      false
    #endif
  }

  /// Asks for the pages of `bytes` that have not been touched yet to come from the node of `cpu`, or from another
  /// one when that node is full.
  ///
  /// A page that two ranges share belongs to the earlier one, so placing consecutive ranges places every page once.
  /// - Parameter moving: whether pages that have been touched already move there, as far as the system can. Not those of files.
  /// - Returns: whether the system took the request.
  @discardableResult
  public static func prefer(
    nodeOfCPU cpu: Int, for bytes: UnsafeMutableRawBufferPointer, moving: Bool = false
  ) -> Bool {
    #if os(Linux) && Numa
      guard isAvailable, let base = bytes.baseAddress, let cpu = Int32(exactly: cpu) else { return false }
      let node = numa_node_of_cpu(cpu)
      guard node >= 0, node < mostNodes else { return false }
      let page = UInt(sysconf(Int32(_SC_PAGESIZE)))
      let begin = (UInt(bitPattern: base) + page - 1) / page * page
      let end = (UInt(bitPattern: base) + UInt(bytes.count) + page - 1) / page * page
      guard begin < end, let start = UnsafeMutableRawPointer(bitPattern: begin) else { return false }
      var mask = [UInt](repeating: 0, count: mostNodes / UInt.bitWidth)
      mask[Int(node) / UInt.bitWidth] = 1 << (UInt(node) % UInt(UInt.bitWidth))
      // mbind itself, because numa_tonode_memory prints where a container forbids the call. Its count of bits is one too many.
      let flags = moving ? UInt32(MPOL_MF_MOVE) : 0
      return mbind(start, end - begin, Int32(MPOL_PREFERRED), mask, UInt(mostNodes) + 1, flags) == 0
    #else
      return false
    #endif
  }

  /// The node of the page that holds `address`, which must have been touched; nil when the system does not say.
  public static func node(of address: UnsafeRawPointer) -> Int? {
    #if os(Linux) && Numa
      guard isAvailable else { return nil }
      var node: Int32 = -1
      let flags = UInt32(MPOL_F_NODE) | UInt32(MPOL_F_ADDR)
      guard get_mempolicy(&node, nil, 0, UnsafeMutableRawPointer(mutating: address), flags) == 0 else { return nil }
      return node >= 0 ? Int(node) : nil
    #else
      return nil
    #endif
  }

  #if os(Linux) && Numa
    private static let numaIsAvailable = numa_available() >= 0
    private static let mostNodes = 1024
  #endif
}
