internal import CKernels

/// The kernels that one sequence of a call runs.
struct AttentionKernels {
  enum Keys {
    case rows(ck_attention_keys_variant)
    case latents(ck_latent_keys_variant)
  }

  let keys: Keys
  let softmax: ck_attention_softmax_variant
  let values: ck_attention_values_variant
  /// Multiplies sums of latents by the matrices that lift them; nil where nothing is lifted.
  let lift: KernelVariant?
  let converter: ck_x_converter

  /// - Parameter rows: query rows of a key-value head.
  init(_ contents: AttentionContents, rows: Int, from selection: KernelSelection) {
    let keyStep: AttentionKernel.Step = contents.latents.keys == nil ? .keys : .latentKeys
    switch (selection.attention(keyStep, contents.keys.format, rows: rows).function, contents.latents.keys) {
    case (.keys(let kernel), nil): keys = .rows(kernel)
    case (.latentKeys(let kernel), _?): keys = .latents(kernel)
    default: preconditionFailure("the kernel of \(keyStep) computes another step")
    }
    guard
      case .softmax(let softmax) = selection.attention(.softmax, nil, rows: rows).function,
      case .values(let values) = selection.attention(.values, contents.values.format, rows: rows).function
    else { preconditionFailure("a kernel of softmax or values computes another step") }
    self.softmax = softmax
    self.values = values
    lift = contents.latents.values?.lifts == nil ? nil : selection.variant(for: .bf16, rows: rows)
    converter = activationConverter(for: selection)
  }

  /// Scratch for the largest need of one of them.
  /// - Parameters:
  ///   - rows: query rows of a cell.
  ///   - headRows: of each of its key-value heads.
  func scratchBytes(_ contents: AttentionContents, rows: Int, headRows: Int) -> Int {
    var most = kernels(contents.values.parts) { values.scratch_bytes(rows, $0.dimension) }
    switch keys {
    case .rows(let kernel): most = max(most, kernels(contents.keys.parts) { kernel.scratch_bytes(rows, $0.dimension) })
    case .latents(let kernel):
      guard let latents = contents.latents.keys else { preconditionFailure("a kernel of latents for a cache without them") }
      for group in contents.keys.parts.indices {
        var operands = latents.operands(group)
        most = max(most, kernel.scratch_bytes(&operands, headRows * latents.headsPerGroup))
      }
    }
    for weights in contents.latents.values?.lifts ?? [] {
      guard let lift else { break }
      most = max(most, weights.scratchByteCount(lift, liftCall(weights, rows: headRows)))
    }
    return most
  }

  private func kernels(_ parts: [KVRows.Part], _ bytes: (KVRows.Part) -> Int) -> Int { parts.reduce(0) { max($0, bytes($1)) } }

  /// A call of that size: what a kernel's need of scratch depends on. Nobody runs it.
  private func liftCall(_ weights: DenseWeights, rows: Int) -> GEMMCall {
    let nowhere = UnsafeMutableRawPointer(mutating: weights.values.base)
    return GEMMCall(
      ck_gemm_call(
        m: rows, n: weights.outputs, k: weights.inputs, x: UnsafeRawPointer(nowhere),
        x_stride: weights.activationLayout.planeByteCount, x_scale: nil, bias: nil, y: nowhere, y_stride: weights.outputs,
        y_type: .CK_F32))
  }
}
