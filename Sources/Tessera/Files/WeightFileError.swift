#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// What can be wrong with a file of weights: safetensors, packed or GGUF.
///
/// Every case names the file, where it applies the tensor or field, and the numbers that contradict each other. `file` is the
/// path that was opened. Cases are added as formats are; switch with a `default`.
public enum WeightFileError: Error, Sendable, Equatable {
  // The file as the operating system sees it.
  /// The system does not open the file, for the reason that `errno` gives.
  case cannotOpen(file: String, errno: Int32)
  /// A directory, pipe, socket or device.
  case notRegularFile(file: String)
  /// The system does not map the file.
  case cannotMap(file: String, byteCount: UInt64, errno: Int32)
  /// The file could not be made, written, synced or renamed; a file that was there before is as it was.
  case writeFailed(file: String, errno: Int32)
  /// The system refused `byteCount` bytes for the weights of a tensor.
  case outOfMemory(file: String, tensor: String, byteCount: UInt64)
  /// A file name inside an index that would leave the index's folder.
  case unsafePath(file: String, name: String)

  // The file as a whole.
  /// `field` needs `needed` bytes from its position on, and `available` are left.
  case tooShort(file: String, field: String, needed: UInt64, available: UInt64)
  /// The first bytes are not those of the format.
  case badMagic(file: String, expected: [UInt8], got: [UInt8])
  /// A version of the format that this reader does not know.
  case unsupportedVersion(file: String, got: String, supported: String)
  /// The last tensor ends before the file does.
  case trailingBytes(file: String, expected: UInt64, got: UInt64)
  /// `value` of `what` is above the cap that Tessera sets.
  case tooLarge(file: String, what: String, value: UInt64, limit: UInt64)

  // The header.
  /// The header claims a length that no header has.
  case headerLength(file: String, length: UInt64, limit: UInt64)
  /// `position` counts bytes from the start of the header.
  case malformedHeader(file: String, position: Int, detail: String)
  /// Two tensors or keys have one name.
  case duplicateName(file: String, name: String)
  /// A name that is empty, too long, or has NUL in it.
  case invalidName(file: String, name: String, detail: String)
  /// A metadata key that is absent, of the wrong type or out of range.
  case wrongMetadata(file: String, key: String, detail: String)

  // One tensor.
  /// There is no tensor of this name.
  case missingTensor(file: String, tensor: String)
  /// A shape that no tensor can have, or not one of this type or format.
  case badShape(file: String, tensor: String, shape: [UInt64], detail: String)
  /// A type that the format does not have.
  case unknownType(file: String, tensor: String, type: String)
  /// A type that the format knows and this reader cannot turn into what was asked for.
  case unsupportedType(file: String, tensor: String, type: String, supported: String)
  /// The bytes `offset ..< offset + byteCount` do not lie inside the `available` bytes of the data section.
  case badExtent(file: String, tensor: String, offset: UInt64, byteCount: UInt64, available: UInt64)
  /// The tensor begins at `got`; the one before it ends at `expected`.
  case overlapOrHole(file: String, tensor: String, expected: UInt64, got: UInt64)
  /// Shape and type, or the format, say `expected` bytes; the file gives the tensor `got`.
  case wrongByteCount(file: String, tensor: String, expected: UInt64, got: UInt64)
  /// The tensor does not begin where a kernel could use it.
  case misaligned(file: String, tensor: String, offset: UInt64, alignment: UInt64)
  /// The bytes are not those that were written. `tensor` is `__metadata__` for the header.
  case checksumMismatch(file: String, tensor: String, expected: UInt64, got: UInt64)
  /// The contents contradict themselves: counts, offsets, scales, table indices.
  case corruptTensor(file: String, tensor: String, detail: String)
}

extension WeightFileError: CustomStringConvertible {
  /// One sentence with the file, the tensor or field, and the numbers.
  public var description: String {
    switch self {
    case .cannotOpen(let file, let errno):
      "\(file): cannot be opened: \(systemMessage(errno))"
    case .notRegularFile(let file):
      "\(file): is not a regular file"
    case .cannotMap(let file, let byteCount, let errno):
      "\(file): its \(byteCount) bytes cannot be mapped: \(systemMessage(errno))"
    case .writeFailed(let file, let errno):
      "\(file): cannot be written: \(systemMessage(errno))"
    case .outOfMemory(let file, let tensor, let byteCount):
      "\(file): the system refused \(byteCount) bytes for tensor '\(tensor)'"
    case .unsafePath(let file, let name):
      "\(file): the file name '\(name)' does not stay in the folder of the index"
    case .tooShort(let file, let field, let needed, let available):
      "\(file): \(field) needs \(needed) bytes, \(available) are left"
    case .badMagic(let file, let expected, let got):
      "\(file): begins with bytes \(got), expected \(expected)"
    case .unsupportedVersion(let file, let got, let supported):
      "\(file): version \(got) is not supported; supported: \(supported)"
    case .trailingBytes(let file, let expected, let got):
      "\(file): should end after \(expected) bytes and has \(got)"
    case .tooLarge(let file, let what, let value, let limit):
      "\(file): \(what) is \(value), above the limit of \(limit)"
    case .headerLength(let file, let length, let limit):
      "\(file): a header of \(length) bytes; it must have 2...\(limit)"
    case .malformedHeader(let file, let position, let detail):
      "\(file): header byte \(position): \(detail)"
    case .duplicateName(let file, let name):
      "\(file): the name '\(name)' occurs twice"
    case .invalidName(let file, let name, let detail):
      "\(file): the name '\(name)' \(detail)"
    case .wrongMetadata(let file, let key, let detail):
      "\(file): metadata '\(key)': \(detail)"
    case .missingTensor(let file, let tensor):
      "\(file): has no tensor '\(tensor)'"
    case .badShape(let file, let tensor, let shape, let detail):
      "\(file): tensor '\(tensor)' of shape \(shape): \(detail)"
    case .unknownType(let file, let tensor, let type):
      "\(file): tensor '\(tensor)' has the unknown type '\(type)'"
    case .unsupportedType(let file, let tensor, let type, let supported):
      "\(file): tensor '\(tensor)' has type \(type); supported here: \(supported)"
    case .badExtent(let file, let tensor, let offset, let byteCount, let available):
      "\(file): tensor '\(tensor)' claims \(byteCount) bytes at \(offset) of \(available)"
    case .overlapOrHole(let file, let tensor, let expected, let got):
      "\(file): tensor '\(tensor)' begins at \(got), expected \(expected)"
    case .wrongByteCount(let file, let tensor, let expected, let got):
      "\(file): tensor '\(tensor)' has \(got) bytes, its shape and format need \(expected)"
    case .misaligned(let file, let tensor, let offset, let alignment):
      "\(file): tensor '\(tensor)' at byte \(offset) of the file is not aligned to \(alignment)"
    case .checksumMismatch(let file, let tensor, let expected, let got):
      "\(file): tensor '\(tensor)' has checksum \(hexadecimal(got)), recorded \(hexadecimal(expected))"
    case .corruptTensor(let file, let tensor, let detail):
      "\(file): tensor '\(tensor)' is corrupt: \(detail)"
    }
  }
}

private func systemMessage(_ errno: Int32) -> String {
  guard let text = strerror(errno) else { return "error \(errno)" }
  return "\(String(cString: text)) (error \(errno))"
}

private func hexadecimal(_ value: UInt64) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}
