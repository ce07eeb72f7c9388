import Tessera
import Testing

@Suite struct InstructionSetTests {
  static let sapphireRapids: InstructionSet = [
    .avx2, .avx512, .avx512vbmi, .avx512vbmi2, .avx512vnni, .avx512bf16, .avx512fp16, .amxtile, .amxbf16, .amxint8, .avxvnni,
  ]
  static let zen4: InstructionSet = [.avx2, .avx512, .avx512vbmi, .avx512vbmi2, .avx512vnni, .avx512bf16]

  @Test func tagsAreTheKernelsTags() {
    #expect(InstructionSet([]).tags == ["scalar"])
    #expect(
      Self.sapphireRapids.tags == [
        "avx2", "avxvnni", "avx512", "avx512vbmi", "avx512vbmi2", "avx512vnni", "avx512bf16", "avx512fp16",
        "amxtile", "amxbf16", "amxint8",
      ])
    #expect(Self.sapphireRapids.description.hasPrefix("avx2 avxvnni avx512 "))
  }

  @Test func missingTagsNamesWhatIsAbsent() {
    #expect(Self.zen4.missingTags(for: [.avx512, .avx512fp16, .amxbf16]) == ["avx512fp16", "amxbf16"])
    #expect(Self.zen4.missingTags(for: []) == [])
    #expect(Self.zen4.missingTags(for: .avx512bf16) == [])
  }

  @Test func detectionIsConsistent() {
    let here = InstructionSet.detect()
    #expect(here == InstructionSet.detect())
    if here.contains(.avx512) { #expect(here.contains(.avx2)) }
    if !here.contains(.avx512) { #expect(here.isDisjoint(with: [.avx512vbmi, .avx512bf16, .amxtile])) }
    if !here.contains(.amxtile) { #expect(here.isDisjoint(with: [.amxbf16, .amxint8])) }
  }

  @Test func familyLevelsCapTheFeatures() throws {
    #expect(try Self.sapphireRapids.capped(to: ISALevel("scalar")) == [])
    #expect(try Self.sapphireRapids.capped(to: ISALevel("avx2")) == [.avx2, .avxvnni])
    #expect(try Self.sapphireRapids.capped(to: ISALevel("avx512")) == Self.zen4.union([.avx512fp16, .avxvnni]))
    #expect(try Self.sapphireRapids.capped(to: ISALevel("amx")) == Self.sapphireRapids)
  }

  @Test func familyLevelsAdmitEveryTagBelowThem() throws {
    let avx512 = try ISALevel("avx512")
    #expect(avx512.admits([.avx2, .avx512, .avx512bf16], tag: "avx512bf16"))
    #expect(avx512.admits([], tag: "scalar"))
    #expect(!avx512.admits([.avx512, .amxtile, .amxbf16], tag: "amxbf16"))
    #expect(try !ISALevel("avx2").admits([.avx2, .avx512], tag: "avx512"))
    #expect(try ISALevel("scalar").admits([], tag: "scalar"))
  }

  @Test func exactTagsAdmitOnlyTheirOwnKernels() throws {
    let level = try ISALevel("avx512bf16")
    #expect(level.exactTag == "avx512bf16")
    #expect(level.admits([.avx2, .avx512, .avx512vbmi2, .avx512bf16], tag: "avx512bf16"))
    #expect(!level.admits([.avx2, .avx512], tag: "avx512"))
    #expect(!level.admits([], tag: "scalar"))
  }

  @Test(arguments: ISALevel.knownNames)
  func everyKnownNameParses(name: String) throws {
    let level = try ISALevel(name)
    #expect(level.name == name)
    #expect(level.features.isSuperset(of: level.needed))
    try level.validate(on: Self.sapphireRapids)
  }

  @Test(arguments: ["", "avx", "AVX2", "avx512 ", "sse4", "neon", "amxfp16"])
  func unknownNameIsAnErrorThatListsTheKnownOnes(name: String) {
    #expect(throws: TesseraError.unknownISA(name: name, known: ISALevel.knownNames)) { try ISALevel(name) }
  }

  @Test func lackingLevelNamesWhatIsMissing() throws {
    #expect(throws: TesseraError.unsupportedISA(name: "amx", missing: ["amxtile"])) {
      try ISALevel("amx").validate(on: Self.zen4)
    }
    #expect(throws: TesseraError.unsupportedISA(name: "amxint8", missing: ["amxtile", "amxint8"])) {
      try ISALevel("amxint8").validate(on: Self.zen4)
    }
    #expect(throws: TesseraError.unsupportedISA(name: "avx512", missing: ["avx2", "avx512"])) {
      try ISALevel("avx512").validate(on: [])
    }
  }

  @Test func environmentValueIsReadAsALevel() throws {
    #expect(try ISALevel.requested(by: nil, on: Self.zen4) == nil)
    #expect(try ISALevel.requested(by: "", on: Self.zen4) == nil)
    #expect(try ISALevel.requested(by: "avx2", on: Self.zen4) == ISALevel("avx2"))
    #expect(throws: TesseraError.unknownISA(name: "fast", known: ISALevel.knownNames)) {
      try ISALevel.requested(by: "fast", on: Self.zen4)
    }
    #expect(throws: TesseraError.unsupportedISA(name: "avx512fp16", missing: ["avx512fp16"])) {
      try ISALevel.requested(by: "avx512fp16", on: Self.zen4)
    }
  }
}
