// The index of a sharded checkpoint, and with it the JSON reader's own recursion: whatever the bytes, an error or plain file
// names.
@testable import TesseraModels

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzSafetensorsIndex(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = UnsafeRawBufferPointer(start: start, count: count)
  guard let index = try? SafetensorsIndex(parsing: bytes, file: "fuzz") else { return 0 }
  for (file, tensors) in index.shards {
    precondition(!file.contains("/") && file != "..", "'\(file)' leaves the folder")
    precondition(!tensors.isEmpty, "'\(file)' holds nothing")
  }
  return 0
}
