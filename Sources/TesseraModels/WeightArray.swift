internal import Tessera

/// The weights of a tensor as a new array, all of whose elements `fill` initialises.
/// - Throws: `outOfMemory`.
func weightArray<Element>(
  of tensor: String, file: String, count: Int, fill: (UnsafeMutableBufferPointer<Element>) -> Void
) throws(WeightFileError) -> [Element] {
  do throws(TesseraError) {
    return try [Element](allocating: count, fill: fill)
  } catch {
    throw WeightFileError.outOfMemory(file: file, tensor: tensor, byteCount: UInt64(count * MemoryLayout<Element>.stride))
  }
}
