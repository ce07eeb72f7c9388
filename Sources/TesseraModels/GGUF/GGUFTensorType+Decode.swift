extension GGUFTensorType {
  /// Writes the weights that `bytes` stand for to `weights`, for a type that `isSupported`.
  ///
  /// The sizes must match: `weights.count` is a multiple of `block.weights`, and every block takes `block.bytes` bytes.
  func decode<Element: WeightElement>(_ bytes: RawSpan, into weights: UnsafeMutableBufferPointer<Element>) {
    precondition(
      weights.count % block.weights == 0 && bytes.byteCount == weights.count / block.weights * block.bytes,
      "\(weights.count) weights of type \(self) do not take \(bytes.byteCount) bytes")
    var span = weights.mutableSpan
    switch self {
    case .f32: F32Block.decode(bytes, into: &span)
    case .f16: F16Block.decode(bytes, into: &span)
    case .bf16: BF16Block.decode(bytes, into: &span)
    case .q8_0: Q8_0Block.decodeAll(bytes, into: weights)
    case .q4_0: Q4_0Block.decodeAll(bytes, into: weights)
    case .q4_1: Q4_1Block.decodeAll(bytes, into: weights)
    case .q5_0: Q5_0Block.decodeAll(bytes, into: weights)
    case .q5_1: Q5_1Block.decodeAll(bytes, into: weights)
    case .q4_K: Q4_KBlock.decodeAll(bytes, into: weights)
    case .q5_K: Q5_KBlock.decodeAll(bytes, into: weights)
    case .q6_K: Q6_KBlock.decodeAll(bytes, into: weights)
    case .mxfp4: MXFP4Block.decodeAll(bytes, into: weights)
    case .nvfp4: NVFP4Block.decodeAll(bytes, into: weights)
    default: preconditionFailure("\(self) is not among the types that can be dequantised")
    }
  }
}
