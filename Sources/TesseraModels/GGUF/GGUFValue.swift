internal import Tessera

/// The value of a metadata key, typed as in the file.
public enum GGUFValue: Sendable {
  case uint8(UInt8)
  case int8(Int8)
  case uint16(UInt16)
  case int16(Int16)
  case uint32(UInt32)
  case int32(Int32)
  case float32(Float)
  case bool(Bool)
  case string(String)
  case array(GGUFArray)
  case uint64(UInt64)
  case int64(Int64)
  case float64(Double)

  /// The value of any integer type, if it fits an Int.
  public var integer: Int? {
    switch self {
    case .uint8(let value): Int(value)
    case .int8(let value): Int(value)
    case .uint16(let value): Int(value)
    case .int16(let value): Int(value)
    case .uint32(let value): Int(exactly: value)
    case .int32(let value): Int(value)
    case .uint64(let value): Int(exactly: value)
    case .int64(let value): Int(exactly: value)
    default: nil
    }
  }

  /// The value of either floating-point type.
  public var number: Double? {
    switch self {
    case .float32(let value): Double(value)
    case .float64(let value): value
    default: nil
    }
  }

  /// The value, if it is a bool.
  public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  /// The value, if it is a string.
  public var string: String? { if case .string(let value) = self { value } else { nil } }
  /// The value, if it is an array.
  public var array: GGUFArray? { if case .array(let value) = self { value } else { nil } }
}

/// The types that a metadata value, or an element of an array, can have. The raw value is the id in the file.
public enum GGUFValueType: UInt32, Sendable {
  case uint8 = 0
  case int8 = 1
  case uint16 = 2
  case int16 = 3
  case uint32 = 4
  case int32 = 5
  case float32 = 6
  case bool = 7
  case string = 8
  case array = 9
  case uint64 = 10
  case int64 = 11
  case float64 = 12

  /// The bytes that a value takes, or for a string and an array the fewest.
  var minimumBytes: Int {
    switch self {
    case .uint8, .int8, .bool: 1
    case .uint16, .int16: 2
    case .uint32, .int32, .float32: 4
    case .uint64, .int64, .float64, .string: 8
    case .array: 12
    }
  }
}

/// An array in the metadata: it stays in the file and is read when asked for, so that opening a file with a large vocabulary
/// allocates nothing for it.
public struct GGUFArray: Sendable {
  /// The type of every element; never an array.
  public let elementType: GGUFValueType
  /// The number of elements.
  public let count: Int
  /// The elements as they lie in the file, their extent already checked.
  let region: MemoryRegion

  /// All elements, if they are strings of valid UTF-8.
  public var strings: [String]? {
    guard elementType == .string else { return nil }
    var reader = GGUFReader(file: "", region: region)
    var strings: [String] = []
    strings.reserveCapacity(count)
    for _ in 0..<count {
      guard let string = try? reader.string("array element") else { return nil }
      strings.append(string)
    }
    return strings
  }

  /// All elements, if they are of an integer type and each fits an Int.
  public var integers: [Int]? { elements(\.integer) }

  /// All elements, if they are of a floating-point type.
  public var numbers: [Double]? { elements(\.number) }

  /// All elements, if they are bools.
  public var bools: [Bool]? { elements(\.bool) }

  private func elements<Element>(_ property: (GGUFValue) -> Element?) -> [Element]? {
    guard elementType != .string else { return nil }
    var reader = GGUFReader(file: "", region: region)
    var elements: [Element] = []
    for _ in 0..<count {
      guard let value = try? reader.value(of: elementType, key: ""), let element = property(value) else { return nil }
      elements.append(element)
    }
    return elements
  }
}

extension GGUFReader {
  /// Reads a value of `type`. `key` names it in errors.
  mutating func value(of type: GGUFValueType, key: String) throws(WeightFileError) -> GGUFValue {
    switch type {
    case .uint8: .uint8(try integer(key))
    case .int8: .int8(try integer(key))
    case .uint16: .uint16(try integer(key))
    case .int16: .int16(try integer(key))
    case .uint32: .uint32(try integer(key))
    case .int32: .int32(try integer(key))
    case .uint64: .uint64(try integer(key))
    case .int64: .int64(try integer(key))
    case .float32: .float32(Float(bitPattern: try integer(key)))
    case .float64: .float64(Double(bitPattern: try integer(key)))
    case .bool: .bool(try bool(key))
    case .string: .string(try string(key))
    case .array: .array(try array(key))
    }
  }

  mutating func valueType(of key: String) throws(WeightFileError) -> GGUFValueType {
    let id: UInt32 = try integer("the type of \(key)")
    guard let type = GGUFValueType(rawValue: id) else {
      throw WeightFileError.wrongMetadata(file: file, key: key, detail: "unknown value type \(id)")
    }
    return type
  }

  private mutating func bool(_ key: String) throws(WeightFileError) -> Bool {
    let byte: UInt8 = try integer(key)
    guard byte <= 1 else { throw WeightFileError.wrongMetadata(file: file, key: key, detail: "a bool of value \(byte)") }
    return byte == 1
  }

  /// Checks an array's extent and moves over it.
  private mutating func array(_ key: String) throws(WeightFileError) -> GGUFArray {
    let type = try valueType(of: key)
    guard type != .array else { throw WeightFileError.wrongMetadata(file: file, key: key, detail: "an array of arrays") }
    let count: UInt64 = try integer("the length of \(key)")
    try require(count, recordsOf: type.minimumBytes, field: key)
    let start = position
    if type == .string {
      for _ in 0..<count { try skipString(key) }
    } else {
      try skip(count * UInt64(type.minimumBytes), field: key)
    }
    let elements = MemoryRegion(base: region.base + start, byteCount: position - start, keeping: region)
    return GGUFArray(elementType: type, count: Int(count), region: elements)
  }
}
