/// Which thread reads which panels of a matrix: a contiguous share of nearly equal bytes for each thread, cut into chunks.
///
/// Packing and multiplying split alike, so the thread that writes a page first, and thereby chooses its NUMA node, is the thread
/// that will read it.
package struct PanelShares {
  /// No more than threads or panels.
  package let count: Int
  /// The chunks that each share is taken in.
  package let chunks: Int
  private let group: Int

  /// A chunk is worth a kernel's start from here on: some 10 us of reading.
  private static let chunkBytes = 64 << 10
  /// The AMX kernels take 4 panels at a time up to this many rows, blocks of 8 beyond (CKernels/support/gemm_amx.h); chunks of
  /// whole groups let them.
  private static let decodingRows = 64
  private static let groupPanels = 4
  private static let blockPanels = 8

  /// - Parameter rows: M. What one row of x and what many read differ by a few panels at the edge of a share.
  package init(of weights: some PackedWeights, threads: Int, rows: Int = 1) {
    let group = rows > PanelShares.decodingRows ? PanelShares.blockPanels : PanelShares.groupPanels
    count = min(threads, weights.panelCount)
    // Enough that the slowest thread ends close to the others, as few as the kernels' groups want.
    let most = min(weights.byteCount / count / PanelShares.chunkBytes, weights.panelCount / count / group, 16)
    chunks = count > 1 ? max(1, most) : 1
    self.group = chunks > 1 ? group : 1
  }

  /// One chunk of a share; empty when a group of panels is larger than the chunk's part of the bytes.
  package func panels(share: Int, chunk: Int, of weights: some PackedWeights) -> Range<Int> {
    weights.panels(part: share * chunks + chunk, of: count * chunks, group: group)
  }

  /// All chunks of a share.
  package func panels(share: Int, of weights: some PackedWeights) -> Range<Int> {
    let first = panels(share: share, chunk: 0, of: weights)
    let last = panels(share: share, chunk: chunks - 1, of: weights)
    return first.lowerBound..<last.upperBound
  }

  /// What the thread of a share reads and `weights` own. Not mapped files: their pages belong to the page cache, which every
  /// process that maps them shares.
  package func memory(ofShare share: Int, of weights: some PackedWeights) -> [UnsafeRawBufferPointer] {
    let panels = panels(share: share, of: weights)
    return weights.parts.filter(\.region.isAllocation).map { $0.bytes(of: panels) }
  }
}
