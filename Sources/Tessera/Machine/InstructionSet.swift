internal import CKernels

/// The instruction-set extensions that a CPU offers or a kernel needs.
///
/// The raw value is the C library's `ck_isa`. The empty set is plain scalar code, which runs everywhere.
public struct InstructionSet: OptionSet, Sendable, Hashable {
  /// Bits of the C library's `ck_isa`.
  public let rawValue: UInt32

  /// A set of the given bits of `ck_isa`.
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  private init(_ bit: Int) { rawValue = UInt32(bit) }

  /// AVX2 with FMA, F16C, BMI1, BMI2 and POPCNT.
  public static let avx2 = InstructionSet(CK_ISA_AVX2)
  /// AVX-512 F, BW, DQ, VL and CD.
  public static let avx512 = InstructionSet(CK_ISA_AVX512)
  /// Permutations of bytes.
  public static let avx512vbmi = InstructionSet(CK_ISA_AVX512VBMI)
  /// Expansion of bytes and words, which bitmaps are expanded by.
  public static let avx512vbmi2 = InstructionSet(CK_ISA_AVX512VBMI2)
  /// Dot products of four int8.
  public static let avx512vnni = InstructionSet(CK_ISA_AVX512VNNI)
  /// Dot products of two bfloat16.
  public static let avx512bf16 = InstructionSet(CK_ISA_AVX512BF16)
  /// Arithmetic in binary16; no kernel uses it.
  public static let avx512fp16 = InstructionSet(CK_ISA_AVX512FP16)
  /// AMX tiles, with the operating system's permission to use them.
  public static let amxtile = InstructionSet(CK_ISA_AMXTILE)
  /// Tile products of bfloat16.
  public static let amxbf16 = InstructionSet(CK_ISA_AMXBF16)
  /// Tile products of int8.
  public static let amxint8 = InstructionSet(CK_ISA_AMXINT8)
  /// The VEX form of VNNI, on CPUs without AVX-512.
  public static let avxvnni = InstructionSet(CK_ISA_AVXVNNI)

  /// Each extension with its tag, the last part of a kernel's name.
  static let tagged: [(tag: String, bit: InstructionSet)] = [
    ("avx2", .avx2), ("avxvnni", .avxvnni),
    ("avx512", .avx512), ("avx512vbmi", .avx512vbmi), ("avx512vbmi2", .avx512vbmi2), ("avx512vnni", .avx512vnni),
    ("avx512bf16", .avx512bf16), ("avx512fp16", .avx512fp16),
    ("amxtile", .amxtile), ("amxbf16", .amxbf16), ("amxint8", .amxint8),
  ]

  static let anyAVX2: InstructionSet = [.avx2, .avxvnni]
  static let anyAVX512: InstructionSet = [
    .avx512, .avx512vbmi, .avx512vbmi2, .avx512vnni, .avx512bf16, .avx512fp16,
  ]
  static let anyAMX: InstructionSet = [.amxtile, .amxbf16, .amxint8]

  /// What this CPU, its operating system and its hypervisor allow. Asks the kernel for AMX on the way.
  public static func detect() -> InstructionSet { InstructionSet(rawValue: ck_isa_detect()) }

  /// The tags of the extensions in this set, from the oldest to the newest; `["scalar"]` for the empty set.
  public var tags: [String] {
    isEmpty ? ["scalar"] : Self.tagged.filter { contains($0.bit) }.map(\.tag)
  }

  /// The tags of what `needed` has and this set lacks; empty when all is there.
  public func missingTags(for needed: InstructionSet) -> [String] {
    let missing = needed.subtracting(self)
    return missing.isEmpty ? [] : missing.tags
  }

  /// This set without what lies above `level`.
  public func capped(to level: ISALevel) -> InstructionSet { intersection(level.features) }
}

extension InstructionSet: CustomStringConvertible {
  /// The tags, separated by spaces.
  public var description: String { tags.joined(separator: " ") }
}

extension InstructionSet: Codable {
  /// Decodes a list of tags, as `encode(to:)` writes it.
  public init(from decoder: any Decoder) throws {
    var container = try decoder.unkeyedContainer()
    var set: InstructionSet = []
    while !container.isAtEnd {
      let tag = try container.decode(String.self)
      if tag == "scalar" { continue }
      guard let entry = Self.tagged.first(where: { $0.tag == tag }) else {
        throw DecodingError.dataCorruptedError(in: container, debugDescription: "no instruction set is called '\(tag)'")
      }
      set.insert(entry.bit)
    }
    self = set
  }

  /// Encodes the tags as a list of strings.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.unkeyedContainer()
    for tag in tags { try container.encode(tag) }
  }
}
