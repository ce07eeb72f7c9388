internal import CKernels
internal import Tessera

/// A case's matrices as a kernel gets them: packed, in memory that ends or begins at an inaccessible page and cannot be written.
struct Operands {
  let kernelCase: KernelCase
  private let layout: ActivationLayout
  private let x: GuardedBuffer
  private let xStride: Int
  private let xScale: GuardedBuffer
  private let bias: GuardedBuffer?
  private let weights: Weights

  /// The buffers stay alive as long as the pointers into them.
  private enum Weights {
    case dense(values: GuardedBuffer)
    case bitmap(ck_bitmap_weights, buffers: [(name: String, buffer: GuardedBuffer)])
    case code4(ck_code4_weights, buffers: [(name: String, buffer: GuardedBuffer)])
  }

  /// nil when the system refuses memory.
  init?(_ kernelCase: KernelCase, activations: ActivationType, elements: Elements) {
    self.kernelCase = kernelCase
    layout = Operands.layout(activations, elements.w, k: kernelCase.k)
    xStride = layout.planeByteCount + 64 * kernelCase.xGap
    guard
      let x = GuardedBuffer(
        byteCount: (kernelCase.m * layout.type.planes - 1) * xStride + layout.planeByteCount, guardPage: kernelCase.guardPage),
      let xScale = GuardedBuffer(copying: elements.xScale, guardPage: kernelCase.guardPage),
      let weights = Operands.pack(elements, kernelCase)
    else { return nil }
    self.x = x
    self.xScale = xScale
    self.weights = weights
    bias = elements.bias.flatMap { GuardedBuffer(copying: $0, guardPage: kernelCase.guardPage) }
    if bias == nil, elements.bias != nil { return nil }
    fill(from: elements.x)
    for buffer in [x, xScale] { buffer.freeze() }
    bias?.freeze()
  }

  private static func layout(_ activations: ActivationType, _ weights: Elements.Weights, k: Int) -> ActivationLayout {
    guard case .code4(let elements) = weights else { return ActivationLayout(activations, inputs: k) }
    return ActivationLayout(
      activations, inputs: k, blockInputs: elements.view.kept_k, step: 64, isEvenOdd: activations == .bfloat16)
  }

  /// Element by element: what `ActivationLayout.position` says is the definition.
  private func fill(from matrix: Elements.Matrix) {
    let k = kernelCase.k
    for row in 0..<kernelCase.m {
      let target = x.base + row * layout.type.planes * xStride
      for plane in 0..<layout.type.planes {
        (target + plane * xStride).initializeMemory(as: UInt8.self, repeating: 0, count: layout.planeByteCount)
      }
      let bytes = target.assumingMemoryBound(to: Int8.self)
      for column in 0..<k {
        let place = layout.position(of: column)
        switch matrix {
        case .bfloat16(let bits): target.assumingMemoryBound(to: UInt16.self)[place] = bits[row * k + column]
        case .int16(let codes):
          let low = Int8(truncatingIfNeeded: codes[row * k + column])
          (bytes[place], bytes[xStride + place]) = (Int8((Int(codes[row * k + column]) - Int(low)) / 256), low)
        case .int8(let codes): bytes[place] = codes[row * k + column]
        }
      }
    }
  }

  private static func pack(_ elements: Elements, _ kernelCase: KernelCase) -> Weights? {
    switch elements.w {
    case .matrix(.bfloat16(let bits)) where kernelCase.format == WeightFormat.bf16.rawValue: packDense(bits, kernelCase)
    case .matrix(.bfloat16(let bits)): bits.withUnsafeBytes { packBitmap($0, .CK_BF16, scales: nil, kernelCase) }
    case .matrix(.int16): preconditionFailure("no weights are int16")
    case .matrix(.int8(let codes)): codes.withUnsafeBytes { packBitmap($0, .CK_INT8, scales: elements.wScale, kernelCase) }
    case .code4(let elements): packCode4(elements, kernelCase)
    }
  }

  private static func packCode4(_ elements: Code4Elements, _ kernelCase: KernelCase) -> Weights? {
    let (n, k, group) = (elements.packedN, elements.packedK, elements.code4.group)
    let type = elements.code4.scale.cType
    let place = kernelCase.guardPage
    var tables = elements.code4.tables
    let tableBytes = withUnsafeBytes(of: &tables) { Array($0) }
    guard let stored = StoredCodes(elements, guardPage: place),
      let scales = GuardedBuffer(byteCount: ck_code4_scales_bytes(n, k, group, type), guardPage: place),
      let constants = GuardedBuffer(copying: tableBytes, guardPage: place)
    else { return nil }
    let groups = (k - 1) / group + 1
    ck_code4_pack_scales(elements.scales, groups, n, k, group, type, 0, ck_panels(n), scales.base)
    let buffers =
      [("codes", stored.codes), ("scales", scales), ("tables", constants)]
      + [("bitmap", stored.bitmap), ("offsets", stored.offsets)].compactMap { name, buffer in buffer.map { (name, $0) } }
    for (_, buffer) in buffers { buffer.freeze() }
    return .code4(
      ck_code4_weights(
        codes: stored.codes.pointer(to: UInt8.self), bitmap: stored.bitmap.map { UnsafePointer($0.pointer(to: UInt64.self)) },
        offsets: stored.offsets.map { UnsafePointer($0.pointer(to: UInt64.self)) }, scales: scales.base,
        tables: constants.pointer(to: ck_code4_tables.self),
        scale_type: type, group: UInt32(group), tensor_scale: elements.tensorScale * elements.code4.unit, packed_k: k,
        view: elements.view),
      buffers: buffers)
  }

  private static func packDense(_ bits: [UInt16], _ kernelCase: KernelCase) -> Weights? {
    let (n, k) = (kernelCase.n, kernelCase.k)
    guard let values = GuardedBuffer(byteCount: ck_dense_packed_bytes(n, k), guardPage: kernelCase.guardPage) else { return nil }
    bits.withUnsafeBufferPointer { bits in
      guard let source = bits.baseAddress else { return }
      ck_dense_pack(source, k, n, k, 0, ck_panels(n), values.pointer(to: UInt16.self))
    }
    values.freeze()
    return .dense(values: values)
  }

  private static func packBitmap(
    _ source: UnsafeRawBufferPointer, _ type: ck_type, scales: [Float]?, _ kernelCase: KernelCase
  ) -> Weights? {
    let (n, k, place) = (kernelCase.n, kernelCase.k, kernelCase.guardPage)
    guard let source = source.baseAddress else { return nil }
    var counts = [UInt64](repeating: 0, count: ck_panels(n))
    ck_bitmap_count(source, k, type, n, k, 0, counts.count, &counts)
    var offsets: [UInt64] = [0]
    for count in counts { offsets.append(offsets[offsets.count - 1] + count) }
    guard let bitmap = GuardedBuffer(byteCount: ck_bitmap_bytes(n, k, type), guardPage: place),
      let values = GuardedBuffer(byteCount: ck_bitmap_values_bytes(offsets[counts.count], type), guardPage: place),
      let starts = GuardedBuffer(copying: offsets, guardPage: place),
      let rowScale = GuardedBuffer(copying: scales ?? [], guardPage: place),
      let rowSum = GuardedBuffer(byteCount: scales == nil ? 0 : n * 4, guardPage: place)
    else { return nil }
    values.pointer(to: UInt8.self).update(repeating: 0, count: values.byteCount)
    ck_bitmap_pack(
      source, k, type, n, k, 0, counts.count, offsets, bitmap.base, values.base,
      scales == nil ? nil : rowSum.pointer(to: Int32.self))
    let buffers = [
      ("bitmap", bitmap), ("values", values), ("offsets", starts), ("row_scale", rowScale), ("row_sum", rowSum),
    ]
    for (_, buffer) in buffers { buffer.freeze() }
    return .bitmap(
      ck_bitmap_weights(
        type: type, bitmap: bitmap.base, values: values.base, offsets: starts.pointer(to: UInt64.self),
        row_scale: scales == nil ? nil : UnsafePointer(rowScale.pointer(to: Float.self)),
        row_sum: scales == nil ? nil : UnsafePointer(rowSum.pointer(to: Int32.self))),
      buffers: buffers)
  }

  /// The call for `rows` rows of x from `row` on.
  func call(row: Int = 0, rows: Int, into y: GuardedBuffer) -> ck_gemm_call {
    ck_gemm_call(
      m: rows, n: kernelCase.n, k: kernelCase.k, x: x.base + row * layout.type.planes * xStride, x_stride: xStride,
      x_scale: layout.type != .bfloat16 ? UnsafePointer(xScale.pointer(to: Float.self) + row) : nil,
      bias: bias.map { UnsafePointer($0.pointer(to: Float.self)) }, y: y.base, y_stride: kernelCase.n + kernelCase.yGap,
      y_type: kernelCase.output == .float32 ? .CK_F32 : .CK_BF16)
  }

  /// Where a fault happened, in terms of the operands.
  func place(of address: UInt) -> String? {
    var buffers: [(name: String, buffer: GuardedBuffer)] = [("x", x), ("x_scale", xScale)]
    if let bias { buffers.append(("bias", bias)) }
    switch weights {
    case .dense(let values): buffers.append(("values", values))
    case .bitmap(_, let parts), .code4(_, let parts): buffers += parts
    }
    return buffers.lazy.compactMap { $0.buffer.place(of: address, name: $0.name) }.first
  }

  /// Calls body with the packed weights as the kernels of one operation know them.
  func withDense<Result>(_ body: (UnsafePointer<ck_dense_weights>) -> Result) -> Result? {
    guard case .dense(let values) = weights else { return nil }
    var dense = ck_dense_weights(values: values.pointer(to: UInt16.self))
    return body(&dense)
  }

  func withBitmap<Result>(_ body: (UnsafePointer<ck_bitmap_weights>) -> Result) -> Result? {
    guard case .bitmap(var bitmap, _) = weights else { return nil }
    return body(&bitmap)
  }

  func withCode4<Result>(_ body: (UnsafePointer<ck_code4_weights>) -> Result) -> Result? {
    guard case .code4(var code4, _) = weights else { return nil }
    return body(&code4)
  }
}

/// The codes of 4-bit weights, all or those that are not 0 with their bitmap.
private struct StoredCodes {
  let codes: GuardedBuffer
  let bitmap: GuardedBuffer?
  let offsets: GuardedBuffer?

  init?(_ elements: Code4Elements, guardPage place: KernelCase.Guard) {
    let (n, k) = (elements.packedN, elements.packedK)
    let panelCount = ck_panels(n)
    if elements.format.storesEveryElement {
      guard let codes = GuardedBuffer(byteCount: ck_code4_codes_bytes(n, k), guardPage: place) else { return nil }
      ck_code4_pack_codes(elements.codes, k, n, k, 0, panelCount, codes.pointer(to: UInt8.self))
      (self.codes, bitmap, offsets) = (codes, nil, nil)
      return
    }
    var counts = [UInt64](repeating: 0, count: panelCount)
    ck_code4_count_stored(elements.codes, k, n, k, 0, panelCount, &counts)
    let starts = counts.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
    guard let codes = GuardedBuffer(byteCount: ck_code4_stored_bytes(starts[panelCount]), guardPage: place),
      let bitmap = GuardedBuffer(byteCount: ck_bitmap_bytes(n, k, .CK_INT8), guardPage: place),
      let offsets = GuardedBuffer(copying: starts, guardPage: place)
    else { return nil }
    codes.pointer(to: UInt8.self).update(repeating: 0, count: codes.byteCount)
    ck_code4_pack_stored(
      elements.codes, k, n, k, 0, panelCount, starts, bitmap.pointer(to: UInt64.self), codes.pointer(to: UInt8.self))
    (self.codes, self.bitmap, self.offsets) = (codes, bitmap, offsets)
  }
}

extension GuardedBuffer {
  convenience init?<Element: BitwiseCopyable>(copying elements: [Element], guardPage: KernelCase.Guard) {
    self.init(byteCount: elements.count * MemoryLayout<Element>.stride, guardPage: guardPage)
    elements.withUnsafeBytes { source in
      UnsafeMutableRawBufferPointer(start: base, count: byteCount).copyMemory(from: source)
    }
  }
}
