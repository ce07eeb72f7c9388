// The safetensors header: whatever the bytes, an error or a header whose tensors tile the file; and what is read can be written
// and read again.
import Tessera

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzSafetensors(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = UnsafeRawBufferPointer(start: start, count: count)
  guard let header = try? SafetensorsHeader(parsing: bytes, file: "fuzz") else { return 0 }
  var end = header.dataOffset
  for tensor in header.tensors {
    precondition(tensor.offset == end, "'\(tensor.name)' begins at \(tensor.offset), not \(end)")
    precondition(header[tensor.name] == tensor, "'\(tensor.name)' is not found under its name")
    end += tensor.byteCount
  }
  precondition(end == count, "the tensors end at \(end) of \(count)")
  rewrite(header)
  return 0
}

private func rewrite(_ header: SafetensorsHeader) {
  let tensors = header.tensors.filter { !$0.isPadding }
    .map { SafetensorsWriter.Tensor(name: $0.name, type: $0.type, shape: $0.shape) }
  let metadata = header.metadata.map { (key: $0.key, value: $0.value) }
  guard
    let placed = try? SafetensorsWriter.place(tensors, file: "fuzz"),
    var file = try? SafetensorsWriter.header(of: placed, metadata: metadata, file: "fuzz")
  else { preconditionFailure("a header that was read cannot be written") }
  file += [UInt8](repeating: 0, count: placed.reduce(0) { $0 + $1.byteCount })
  guard let again = try? file.withUnsafeBytes({ try SafetensorsHeader(parsing: $0, file: "again") }) else {
    preconditionFailure("a header that was written cannot be read")
  }
  precondition(again.metadata == header.metadata, "metadata changed")
  precondition(again.tensors.filter { !$0.isPadding }.map(\.name) == tensors.map(\.name), "names changed")
  precondition(again.tensors.filter { !$0.isPadding }.map(\.shape) == tensors.map(\.shape), "shapes changed")
}
