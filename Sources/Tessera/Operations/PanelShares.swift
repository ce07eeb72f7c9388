/// Which thread reads which panels of a matrix: a contiguous share of nearly equal bytes for each thread, cut into chunks that
/// become smaller towards the end of the share.
///
/// Packing and multiplying split alike, so the thread that writes a page first, and thereby chooses its NUMA node, is the thread
/// that will read it. Each chunk is a quarter of what is left of its share: large ones keep kernels running, small ones at the
/// end let all threads finish together.
package struct PanelShares {
  /// No more than threads or panels.
  package let count: Int
  /// The chunks that each share is taken in.
  package let chunks: Int
  private let group: Int
  private let panelsPerShare: Double

  /// A chunk is worth a kernel's start from here on: some 10 us of reading.
  private static let chunkBytes = 64.0 * 1024
  private static let mostChunks = 16
  /// Of what is left of a share, what remains after the next chunk.
  private static let rest = 0.75
  /// The AMX kernels take 4 panels at a time up to this many rows, blocks of 8 beyond (CKernels/support/gemm_amx.h); large chunks
  /// of whole groups let them.
  private static let decodingRows = 64
  private static let groupPanels = 4
  private static let blockPanels = 8

  /// - Parameter rows: M. What one row of x and what many read differ by a few panels at the edge of a share.
  package init(of weights: some PackedWeights, threads: Int, rows: Int = 1) {
    count = min(threads, weights.panelCount)
    group = rows > PanelShares.decodingRows ? PanelShares.blockPanels : PanelShares.groupPanels
    panelsPerShare = Double(weights.panelCount) / Double(count)
    var chunks = 1
    var left = Double(weights.byteCount) / Double(count) * PanelShares.rest
    while count > 1, chunks < PanelShares.mostChunks, left >= PanelShares.chunkBytes {
      chunks += 1
      left *= PanelShares.rest
    }
    self.chunks = chunks
  }

  /// One chunk of a share; empty when its part of the bytes is less than a panel.
  package func panels(share: Int, chunk: Int, of weights: some PackedWeights) -> Range<Int> {
    let end = boundary(share: share + 1, of: weights)
    let first = chunk == 0 ? boundary(share: share, of: weights) : boundary(share: share, chunk: chunk, of: weights)
    let last = chunk + 1 == chunks ? end : boundary(share: share, chunk: chunk + 1, of: weights)
    return min(first, end)..<min(last, end)
  }

  /// The fraction of a share that is left when a chunk begins.
  package static func left(atChunk chunk: Int) -> Double {
    var left = 1.0
    for _ in 0..<chunk { left *= rest }
    return left
  }

  private func boundary(share: Int, of weights: some PackedWeights) -> Int {
    share == count ? weights.panelCount : boundary(share: share, chunk: 0, of: weights)
  }

  /// Where a chunk begins: rounded down to whole groups, or to parts of a group where the chunk itself is less than two. Later
  /// chunks are rounded to parts of what earlier ones are rounded to, so boundaries stay in order.
  private func boundary(share: Int, chunk: Int, of weights: some PackedWeights) -> Int {
    let left = PanelShares.left(atChunk: chunk)
    var grain = group
    while grain > 1, Double(grain) * 2 > panelsPerShare * left * (1 - PanelShares.rest) { grain /= 2 }
    return weights.panel(at: (Double(share) + 1 - left) / Double(count)) / grain * grain
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
