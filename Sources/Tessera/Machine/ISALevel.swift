#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// How far up the instruction sets a kernel may go, by the name that a user gives.
///
/// | name | kernels that may be chosen |
/// |---|---|
/// | `scalar` | the scalar references |
/// | `avx2` | everything without AVX-512 and AMX |
/// | `avx512` | everything without AMX |
/// | `amx` | everything |
/// | any other tag, such as `avx512bf16` | exactly the kernels whose name ends in it |
public struct ISALevel: Sendable, Hashable {
  /// As it was given: `avx512`, `amxbf16`.
  public let name: String
  /// The features that kernels of this level may use.
  public let features: InstructionSet
  /// What the machine must have for the level to make sense.
  public let needed: InstructionSet
  /// The tag that a kernel's name must end in, when the level names exactly one.
  public let exactTag: String?

  /// Every name that `init(_:)` takes.
  public static var knownNames: [String] { ["scalar"] + InstructionSet.tagged.map(\.tag) + ["amx"] }

  /// The level or the tag of this name.
  /// - Throws: `TesseraError.unknownISA` for a name that is not in `knownNames`.
  public init(_ name: String) throws(TesseraError) {
    let upToAVX512 = InstructionSet.anyAVX2.union(.anyAVX512)
    let everything = upToAVX512.union(.anyAMX)
    self.name = name
    switch name {
    case "scalar": (features, needed, exactTag) = ([], [], nil)
    case "avx2": (features, needed, exactTag) = (.anyAVX2, .avx2, nil)
    case "avx512": (features, needed, exactTag) = (upToAVX512, [.avx2, .avx512], nil)
    case "amx": (features, needed, exactTag) = (everything, .amxtile, nil)
    default:
      guard let bit = InstructionSet.tagged.first(where: { $0.tag == name })?.bit else {
        throw TesseraError.unknownISA(name: name, known: Self.knownNames)
      }
      exactTag = name
      if InstructionSet.anyAMX.contains(bit) {
        (features, needed) = (everything, [bit, .amxtile])
      } else if InstructionSet.anyAVX512.contains(bit) {
        (features, needed) = (upToAVX512, [bit, .avx512])
      } else {
        (features, needed) = (.anyAVX2, [bit, .avx2])
      }
    }
  }

  /// Whether a kernel that needs `isa`, its name ending in `tag`, belongs to this level. It says nothing about the machine.
  public func admits(_ isa: InstructionSet, tag: String) -> Bool {
    guard features.isSuperset(of: isa) else { return false }
    return exactTag == nil || exactTag == tag
  }

  /// - Throws: `TesseraError.unsupportedISA` with the missing tags when a machine with `available` cannot run the level.
  public func validate(on available: InstructionSet) throws(TesseraError) {
    let missing = available.missingTags(for: needed)
    if !missing.isEmpty { throw TesseraError.unsupportedISA(name: name, missing: missing) }
  }

  /// The level that the value of `TESSERA_ISA` asks for; nil when it is unset or empty.
  ///
  /// - Throws: `TesseraError.unknownISA`, or `TesseraError.unsupportedISA` when `available` lacks what it needs.
  public static func requested(
    by value: String? = environmentValue, on available: InstructionSet
  ) throws(TesseraError) -> ISALevel? {
    guard let value, !value.isEmpty else { return nil }
    let level = try ISALevel(value)
    try level.validate(on: available)
    return level
  }

  /// The value of the environment variable `TESSERA_ISA`.
  public static var environmentValue: String? { getenv("TESSERA_ISA").map { String(cString: $0) } }
}
