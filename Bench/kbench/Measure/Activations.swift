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

  /// Some rows as kernels read them.
  func packed(rows chosen: [Int], layout: ActivationLayout) throws(TesseraError) -> PackedActivations {
    let stride = layout.planeByteCount
    let planes = layout.type.planes
    var scales = [Float](repeating: 1, count: chosen.count)
    let converter = PackedActivations.converter
    let region = try MemoryRegion(byteCount: chosen.count * planes * stride) { bytes in
      values.withUnsafeBufferPointer { values in
        guard let source = values.baseAddress, let target = bytes.baseAddress else { return }
        for (index, row) in chosen.enumerated() {
          scales[index] = layout.fill(
            target + index * planes * stride, stride: stride, from: .float32(source + row * inputs), with: converter)
        }
      }
    }
    return PackedActivations(region: region, stride: stride, scales: scales, layout: layout)
  }
}

struct PackedActivations {
  let region: MemoryRegion
  let stride: Int
  let scales: [Float]
  let layout: ActivationLayout

  /// The portable one: the last in the list.
  static var converter: ck_x_converter {
    var count = 0
    return ck_x_converters(&count)[count - 1]
  }

  /// The numbers that kernels multiply.
  func row(_ row: Int) -> [Double] {
    let base = region.base + row * layout.type.planes * stride
    let bytes = base.assumingMemoryBound(to: Int8.self)
    return (0..<layout.inputs).map { input in
      let place = layout.position(of: input)
      return switch layout.type {
      case .int16: Double(256 * Int(bytes[place]) + Int(bytes[stride + place])) * Double(scales[row])
      case .int8: Double(bytes[place]) * Double(scales[row])
      case .bfloat16: Double(Float(BFloat16(bits: base.assumingMemoryBound(to: UInt16.self)[place])))
      }
    }
  }
}
