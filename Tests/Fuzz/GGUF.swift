// GGUF files: whatever the bytes, an error or a file that can be read to the end. Its tables stay within twice the input plus 1
// MiB, every tensor has as many weights as its shape says, and the two element types agree.
import Tessera
import TesseraModels

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzGGUF(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let region = MemoryRegion(base: UnsafeRawPointer(start), byteCount: count, keeping: Input())
  let before = allocatedBytes()
  guard let file = try? GGUFFile(region: region, path: "fuzz") else { return 0 }
  let tables = allocatedBytes() - before
  precondition(tables <= 2 * count + 1 << 20, "\(tables) bytes of tables for a file of \(count)")
  for tensor in file.tensors where tensor.type.isSupported { check(tensor, of: file) }
  for value in file.metadata.values { read(value) }
  return 0
}

/// libFuzzer owns the bytes and frees them after the call.
private final class Input: Sendable {}

@_silgen_name("__sanitizer_get_current_allocated_bytes")
private func allocatedBytes() -> Int

private func check(_ tensor: GGUFTensor, of file: GGUFFile) {
  guard let floats = try? file.float32(tensor.name), let halves = try? file.bfloat16(tensor.name) else {
    preconditionFailure("tensor \(tensor.name) of a supported type cannot be read")
  }
  let count = tensor.shape.reduce(1, *)
  precondition(floats.count == count && halves.count == count, "\(floats.count) weights of shape \(tensor.shape)")
  for (float, half) in zip(floats, halves) {
    precondition(Float(half).isNaN && float.isNaN || BFloat16(float) == half, "\(float) and \(half)")
  }
}

private func read(_ value: GGUFValue) {
  guard let array = value.array else { return }
  let elements = [array.strings?.count, array.integers?.count, array.numbers?.count, array.bools?.count]
  precondition(elements.allSatisfy { $0 == nil || $0 == array.count }, "an array of \(array.count) elements")
}
