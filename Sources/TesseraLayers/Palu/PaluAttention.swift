public import Tessera

/// Attention whose cache holds latents of low rank (Palu, arXiv 2407.21118): of keys, of values, or of both.
///
/// The projections of keys and of values are cut in two, W = B A. A is applied to every token and its result, the latent, is
/// cached; B belongs to the cache (`LatentKeys`, `LatentValues`). A side without latents is cached whole, as in `DenseAttention`.
///
/// Rebuilding keys costs arithmetic that grows with the rank and with the heads that share a latent; values cost none. So latents
/// of values always save time, those of keys where the machine computes quickly enough: `breakEvenIntensity` says what it takes.
public struct PaluAttention: AttentionLayer {
  public let query: any LinearLayer
  /// A of the keys, or the whole projection.
  public let key: any LinearLayer
  /// A of the values, or the whole projection.
  public let value: any LinearLayer
  /// From heads, or from sums of latents where the lift of values is fused into it.
  public let output: any LinearLayer
  /// The heads.
  public let shape: AttentionShape
  /// nil where keys are cached whole.
  public var latentKeys: LatentKeys? { empty.latentKeys }
  /// nil where values are cached whole.
  public var latentValues: LatentValues? { empty.latentValues }
  private let empty: KVCache

  /// - Parameters:
  ///   - key: outputs as many elements as the latents of all groups, or as the keys of all heads.
  ///   - value: likewise.
  ///   - output: takes what `AttentionContents.outputWidth` says.
  ///   - keyFormat: how the cache stores keys or their latents.
  ///   - valueFormat: how it stores values or theirs.
  /// - Throws: what `KVCache.init` throws, and `TesseraError.sizeMismatch` naming a projection that does not fit.
  public init(
    query: any LinearLayer, key: any LinearLayer, value: any LinearLayer, output: any LinearLayer, shape: AttentionShape,
    latentKeys: LatentKeys?, latentValues: LatentValues?, keyFormat: KVFormat = .bf16, valueFormat: KVFormat = .bf16
  ) throws(TesseraError) {
    empty = try KVCache(
      shape, keys: keyFormat, latentKeys: latentKeys, values: valueFormat, latentValues: latentValues)
    try check("inputs of the key projection", expected: query.inputs, got: key.inputs)
    try check("inputs of the value projection", expected: query.inputs, got: value.inputs)
    try check("outputs of the query projection", expected: shape.queryWidth, got: query.outputs)
    try check("outputs of the key projection", expected: empty.keyWidth, got: key.outputs)
    try check("outputs of the value projection", expected: empty.valueWidth, got: value.outputs)
    try check("inputs of the output projection", expected: empty.contents.outputWidth, got: output.inputs)
    try check("outputs of the output projection", expected: query.inputs, got: output.outputs)
    self.query = query
    self.key = key
    self.value = value
    self.output = output
    self.shape = shape
  }

  public var width: Int { query.inputs }

  public var byteCount: Int {
    query.byteCount + key.byteCount + value.byteCount + output.byteCount + (latentKeys?.byteCount ?? 0)
      + (latentValues?.byteCount ?? 0)
  }

  /// Bytes that the cache takes for a token of this layer.
  public var bytesPerToken: Int { empty.bytesPerToken }

  /// Bytes of a token in a cache of whole keys and values in bf16.
  public var denseBytesPerToken: Int { KVCache(shape).bytesPerToken }

  /// Multiplications and additions that rebuild a token's keys; 0 where keys are cached whole.
  public var rebuildOperations: Int {
    guard let latentKeys else { return 0 }
    return 2 * latentKeys.headsPerGroup * shape.keyDimension * latentKeys.ranks.reduce(0, +)
  }

  /// Operations that rebuilding keys takes for each byte that the cache holds of them, scales and padding included; 0 where keys
  /// are cached whole. A machine reads latents faster than it rebuilds keys where this is above its operations per byte of memory
  /// bandwidth.
  public var rebuildIntensity: Double { Double(rebuildOperations) / Double(empty.keyBytesPerToken) }

  /// How many operations a machine must do in the time in which memory gives it a byte, so that rebuilding keys takes no longer
  /// than reading whole ones in bf16 would; 0 where keys are cached whole. Latents of values are summed like values, so fewer
  /// bytes of them take less time everywhere. Of the machine's operations those count that its kernels reach.
  public var breakEvenIntensity: Double { Double(rebuildOperations) / Double(KVCache(shape).keyBytesPerToken) }

  public var summary: String {
    let keys = latentKeys.map { "of rank \($0.ranks)" } ?? "whole", values = latentValues.map { "of rank \($0.ranks)" } ?? "whole"
    let rebuilding =
      latentKeys == nil ? "no keys to rebuild" : "rebuilt keys pay from \(Int(breakEvenIntensity.rounded())) operations a byte on"
    return "\(shape.queryHeads) heads of \(shape.keyDimension) over \(shape.keyValueHeads), keys \(keys), values \(values), "
      + "\(bytesPerToken) bytes of cache for a token in place of \(denseBytesPerToken), "
      + "\(rebuilding): \(byteText(byteCount))"
  }

  public func makeCache() -> any AttentionCache { empty }

  public func callAsFunction(
    _ x: Span<Float>, _ step: AttentionStep, states: inout [SequenceState], layer: Int, scratch: inout LayerScratch,
    into y: inout MutableSpan<Float>, on executor: Executor
  ) throws(TesseraError) {
    let projections = AttentionProjections(
      query: query, key: key, value: value, output: output, rotatesKeys: latentKeys == nil)
    try projections.attend(x, step, shape, states: &states, layer: layer, scratch: &scratch, into: &y, on: executor)
  }
}

private func check(_ what: String, expected: Int, got: Int) throws(TesseraError) {
  guard expected == got else { throw .sizeMismatch(what: what, expected: expected, got: got) }
}
