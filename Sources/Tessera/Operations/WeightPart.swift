internal import CKernels

/// A region of packed weights, and where in it the panels lie.
public struct WeightPart: Sendable {
  /// What the panels share out between them.
  public let region: MemoryRegion
  /// The first byte of a panel, counted from the region's base; for `panelCount` the region's size.
  public let offset: @Sendable (_ panel: Int) -> Int

  /// The bytes of some panels.
  public func bytes(of panels: Range<Int>) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: region.bytes[offset(panels.lowerBound)..<offset(panels.upperBound)])
  }
}

extension PackedWeights {
  /// A part whose panels all have the same size.
  func evenPart(_ region: MemoryRegion) -> WeightPart {
    let panelBytes = region.byteCount / panelCount
    return WeightPart(region: region) { $0 * panelBytes }
  }

  /// A part of one number for each row of W.
  func rowPart(_ region: MemoryRegion) -> WeightPart {
    let rowBytes = region.byteCount / outputs
    let rows = outputs
    return WeightPart(region: region) { min($0 * Int(CK_PANEL_ROWS), rows) * rowBytes }
  }
}

extension DenseWeights {
  public var parts: [WeightPart] { [evenPart(values)] }
}

extension BitmapWeights {
  public var parts: [WeightPart] {
    let offsets = offsets
    let valueBytes = format == .bitmapInt8 ? 1 : 2
    let last = panelCount
    let valuesEnd = values.byteCount
    return [
      evenPart(bitmap),
      // The zeros behind the values belong to the last panel, as does the last offset.
      WeightPart(region: values) { panel in
        panel == last ? valuesEnd : Int(offsets.base.assumingMemoryBound(to: UInt64.self)[panel]) * valueBytes
      },
      WeightPart(region: offsets) { ($0 == last ? last + 1 : $0) * MemoryLayout<UInt64>.stride },
    ] + [rowScale, rowSum].compactMap { $0 }.map(rowPart)
  }
}

extension Code4Weights {
  /// Nothing for a prefix: its panels lie as those of the whole, which another call may read.
  public var parts: [WeightPart] {
    guard isWhole else { return [] }
    guard let bitmap, let offsets else { return [evenPart(codes), evenPart(scales)] }
    let last = panelCount
    let codesEnd = codes.byteCount
    return [
      // The zeros behind the codes belong to the last panel, as does the last offset.
      WeightPart(region: codes) { panel in
        panel == last ? codesEnd : Int(offsets.base.assumingMemoryBound(to: UInt64.self)[panel])
      },
      evenPart(bitmap),
      WeightPart(region: offsets) { ($0 == last ? last + 1 : $0) * MemoryLayout<UInt64>.stride },
      evenPart(scales),
    ]
  }
}
