internal import CKernels
internal import Tessera

/// Random rows of x, as a caller has them and as kernels read them.
struct TestActivations {
  let rows: Int
  let inputs: Int
  let values: [Float]

  init(rows: Int, inputs: Int, seed: UInt64) {
    self.rows = rows
    self.inputs = inputs
    var generator = SplitMix64(seed: seed, stream: rows)
    values = (0..<rows * inputs).map { _ in generator.normal() }
  }

  /// Some rows in the layout of ck_gemm.h.
  func packed(rows chosen: [Int], type: ck_type) throws(TesseraError) -> PackedActivations {
    let padded = ck_k_padded(inputs, type)
    let stride = padded * (type == .CK_INT8 ? 1 : 2)
    var scales = [Float](repeating: 1, count: chosen.count)
    let region = try MemoryRegion(byteCount: chosen.count * stride) { bytes in
      values.withUnsafeBufferPointer { values in
        guard let source = values.baseAddress, let target = bytes.baseAddress else { return }
        for (index, row) in chosen.enumerated() {
          let target = target + index * stride
          let source = source + row * inputs
          if type == .CK_INT8 {
            scales[index] = ck_x_quantize_f32(source, inputs, padded, target.assumingMemoryBound(to: Int8.self))
          } else {
            ck_x_from_f32(source, inputs, padded, target.assumingMemoryBound(to: UInt16.self))
          }
        }
      }
    }
    return PackedActivations(region: region, stride: stride, scales: scales, inputs: inputs, type: type)
  }
}

struct PackedActivations {
  let region: MemoryRegion
  let stride: Int
  let scales: [Float]
  let inputs: Int
  let type: ck_type

  /// The numbers that kernels multiply.
  func row(_ row: Int) -> [Double] {
    let base = region.base + row * stride
    if type == .CK_INT8 {
      let codes = UnsafeBufferPointer(start: base.assumingMemoryBound(to: Int8.self), count: inputs)
      return codes.map { Double($0) * Double(scales[row]) }
    }
    let bits = UnsafeBufferPointer(start: base.assumingMemoryBound(to: UInt16.self), count: inputs)
    return bits.map { Double(Float(BFloat16(bits: $0))) }
  }
}
