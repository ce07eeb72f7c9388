internal import CCompression
internal import Tessera

/// What the loops in C read: the ways to read a group's codes, and the grid of scales.
struct SearchTables {
  private let candidates: [cc_candidate]
  private let clips: [Float]
  private let refits: Int
  private let code4: Code4Format
  private let exactScales: Bool

  init(_ quantizer: Code4Quantizer) {
    let all = SearchTables.candidates(quantizer.code4, tiesGoDown: quantizer.comparison.tiesGoDown)
    candidates = quantizer.comparison.candidates.map { Array(all[$0]) } ?? all
    clips = quantizer.clips
    refits = quantizer.refits
    code4 = quantizer.code4
    exactScales = quantizer.comparison.exactScales
  }

  /// One for each special value. Where the range of values is not symmetric: the largest weight becomes the nearer end, whatever
  /// its sign, or the further end under a scale of the sign that this takes.
  private static func candidates(_ code4: Code4Format, tiesGoDown: Bool) -> [cc_candidate] {
    func make(_ values: [Float], selector: Int = 0, divisor: Float, followsSign: Bool = false) -> cc_candidate {
      var candidate = cc_candidate()
      // A power of two is rounded down, so the largest weight lies in 4..<8 of it: near 6 and below 8.
      let divisor = code4.scale == .powerOfTwo ? 4 : divisor
      cc_candidate_make(
        values, UInt32(selector), divisor, followsSign ? 1 : 0, tiesGoDown ? .CC_TIES_DOWN : .CC_TIES_AWAY_FROM_ZERO, &candidate)
      return candidate
    }
    let least = -(code4.values.min() ?? 0)
    let most = code4.values.max() ?? 0
    guard code4.specialValues.isEmpty else {
      let selectors = code4.specialValues.indices.filter { code4.specialValues.firstIndex(of: code4.specialValues[$0]) == $0 }
      return selectors.map { selector in
        let values = (0..<16).map { code4.value(code: $0, selector: selector) }
        return make(values, selector: selector, divisor: max(most, abs(code4.specialValues[selector])))
      }
    }
    let plain = make(code4.values, divisor: most)
    return least == most ? [plain] : [plain, make(code4.values, divisor: least, followsSign: true)]
  }

  func withSearch(
    tensorScale: Float, _ body: (UnsafePointer<cc_search>) throws(CompressionError) -> Void
  ) throws(CompressionError) {
    try candidates.withUnsafeBufferPointer { candidates throws(CompressionError) in
      try clips.withUnsafeBufferPointer { clips throws(CompressionError) in
        guard let first = candidates.baseAddress, let clip = clips.baseAddress else {
          preconditionFailure("\(candidates.count) candidates and \(clips.count) clips")
        }
        var search = cc_search(
          candidates: first, candidate_count: candidates.count, clips: clip, clip_count: clips.count, refits: refits,
          scale_type: code4.scale.searchType, exact_scales: exactScales ? 1 : 0, group: code4.group, tensor_scale: tensorScale)
        try body(&search)
      }
    }
  }
}
