internal import CKernels
internal import Tessera

/// A case's matrices as a kernel gets them: packed, in memory that ends or begins at an inaccessible page and cannot be written.
struct Operands {
  let kernelCase: KernelCase
  let format: WeightFormat
  let type: ck_type
  private let x: GuardedBuffer
  private let xStride: Int
  private let xScale: GuardedBuffer
  private let bias: GuardedBuffer?
  private let weights: Weights

  /// The buffers stay alive as long as the pointers into them.
  private enum Weights {
    case dense(values: GuardedBuffer)
    case bitmap(ck_bitmap_weights, buffers: [(name: String, buffer: GuardedBuffer)])
  }

  /// nil when the system refuses memory.
  init?(_ kernelCase: KernelCase, format: WeightFormat, elements: Elements) {
    self.kernelCase = kernelCase
    self.format = format
    type = format == .bitmapInt8 ? .CK_INT8 : .CK_BF16
    let rowBytes = ck_k_padded(kernelCase.k, type) * (type == .CK_INT8 ? 1 : 2)
    xStride = rowBytes + 64 * kernelCase.xGap
    guard let x = GuardedBuffer(byteCount: (kernelCase.m - 1) * xStride + rowBytes, guardPage: kernelCase.guardPage),
      let xScale = GuardedBuffer(copying: elements.xScale, guardPage: kernelCase.guardPage),
      let weights = Operands.pack(elements, kernelCase, format)
    else { return nil }
    self.x = x
    self.xScale = xScale
    self.weights = weights
    bias = elements.bias.flatMap { GuardedBuffer(copying: $0, guardPage: kernelCase.guardPage) }
    if bias == nil, elements.bias != nil { return nil }
    Operands.fill(x, stride: xStride, from: elements.x, kernelCase)
    for buffer in [x, xScale] { buffer.freeze() }
    bias?.freeze()
  }

  private static func fill(_ x: GuardedBuffer, stride: Int, from matrix: Elements.Matrix, _ kernelCase: KernelCase) {
    let k = kernelCase.k
    for row in 0..<kernelCase.m {
      let target = x.base + row * stride
      switch matrix {
      case .bfloat16(let bits):
        bits.withUnsafeBufferPointer { bits in
          guard let source = bits.baseAddress else { return }
          ck_x_from_bf16(source + row * k, k, ck_k_padded(k, .CK_BF16), target.assumingMemoryBound(to: UInt16.self))
        }
      case .int8(let codes):
        let padded = ck_k_padded(k, .CK_INT8)
        target.assumingMemoryBound(to: Int8.self).update(repeating: 0, count: padded)
        codes.withUnsafeBytes { codes in
          target.copyMemory(from: UnsafeRawPointer(codes.baseAddress.unsafelyUnwrapped + row * k), byteCount: k)
        }
      }
    }
  }

  private static func pack(_ elements: Elements, _ kernelCase: KernelCase, _ format: WeightFormat) -> Weights? {
    switch (elements.w, format) {
    case (.bfloat16(let bits), .bf16): packDense(bits, kernelCase)
    case (.bfloat16(let bits), _): bits.withUnsafeBytes { packBitmap($0, .CK_BF16, scales: nil, kernelCase) }
    case (.int8(let codes), _): codes.withUnsafeBytes { packBitmap($0, .CK_INT8, scales: elements.wScale, kernelCase) }
    }
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
      m: rows, n: kernelCase.n, k: kernelCase.k, x: x.base + row * xStride, x_stride: xStride,
      x_scale: type == .CK_INT8 ? UnsafePointer(xScale.pointer(to: Float.self) + row) : nil,
      bias: bias.map { UnsafePointer($0.pointer(to: Float.self)) }, y: y.base, y_stride: kernelCase.n + kernelCase.yGap,
      y_type: kernelCase.output == .float32 ? .CK_F32 : .CK_BF16)
  }

  /// Where a fault happened, in terms of the operands.
  func place(of address: UInt) -> String? {
    var buffers: [(name: String, buffer: GuardedBuffer)] = [("x", x), ("x_scale", xScale)]
    if let bias { buffers.append(("bias", bias)) }
    switch weights {
    case .dense(let values): buffers.append(("values", values))
    case .bitmap(_, let parts): buffers += parts
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
}

extension GuardedBuffer {
  convenience init?<Element: BitwiseCopyable>(copying elements: [Element], guardPage: KernelCase.Guard) {
    self.init(byteCount: elements.count * MemoryLayout<Element>.stride, guardPage: guardPage)
    elements.withUnsafeBytes { source in
      UnsafeMutableRawBufferPointer(start: base, count: byteCount).copyMemory(from: source)
    }
  }
}
