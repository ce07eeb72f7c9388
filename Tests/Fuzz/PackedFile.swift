// Packed files with their checksums left aside, which would stop every mutation at the door: whatever the bytes, an error or
// parts that lie inside the file; and weights that pass their own check are safe to unpack.
import Tessera

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzPackedFile(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  // Exactly `count` bytes at an aligned address, so that the address sanitizer sees the first byte too many.
  let copy = AlignedCopy(UnsafeRawBufferPointer(start: start, count: count))
  let contents = MemoryRegion(base: UnsafeRawPointer(copy.memory), byteCount: count, keeping: copy)
  _ = try? PackedFile(contents: contents, file: "fuzz")
  guard let file = try? PackedFile(contents: contents, file: "fuzz", verifying: .structure) else { return 0 }
  for tensor in file.tensors {
    for (name, part) in tensor.parts {
      precondition(
        part.base >= contents.base && part.base + part.byteCount <= contents.base + count, "part '\(name)' of '\(tensor.name)'")
      _ = part.bytes.last
    }
    guard tensor.rows * tensor.columns < 1 << 20, let weights = try? tensor.weights() else { continue }
    switch weights {
    case let weights as DenseWeights: _ = weights.unpacked()
    case let weights as BitmapWeights where weights.format == .bitmapInt8: _ = weights.unpackedInt8()
    case let weights as BitmapWeights: _ = weights.unpackedBFloat16()
    case let weights as Code4Weights: _ = weights.dequantized()
    default: preconditionFailure("weights of an unknown kind")
    }
  }
  return 0
}

private final class AlignedCopy: @unchecked Sendable {
  // Sendable because nothing writes to it after initialisation.
  let memory: UnsafeMutableRawPointer

  init(_ bytes: UnsafeRawBufferPointer) {
    memory = .allocate(byteCount: bytes.count, alignment: 64)
    UnsafeMutableRawBufferPointer(start: memory, count: bytes.count).copyMemory(from: bytes)
  }

  deinit { memory.deallocate() }
}
