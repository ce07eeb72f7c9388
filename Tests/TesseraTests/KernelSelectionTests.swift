internal import Testing

@testable internal import Tessera

/// A machine that need not exist, and the tags of the kernels that it gets: for one row, and for many.
struct MadeUpFeatures: Sendable, CustomTestStringConvertible {
  let name: String
  let features: InstructionSet
  /// For each type of x the tag for a single row and the tag for as many rows as anything could want; int16 rows go where int8
  /// rows go.
  let expected: [ActivationType: (one: String, many: String)]

  var testDescription: String { name }

  private static let avx512: InstructionSet = [.avx2, .avx512]
  private static let iceLake: InstructionSet = [.avx2, .avx512, .avx512vbmi, .avx512vbmi2, .avx512vnni]
  private static let zen4 = iceLake.union(.avx512bf16)
  private static let sapphireRapids = zen4.union([.avx512fp16, .amxtile, .amxbf16, .amxint8, .avxvnni])

  static let all: [MadeUpFeatures] = [
    MadeUpFeatures("nothing", [], bf16: ("scalar", "scalar"), int8: ("scalar", "scalar")),
    MadeUpFeatures("AVX2", [.avx2], bf16: ("avx2", "avx2"), int8: ("avx2", "avx2")),
    MadeUpFeatures("AVX2 with VNNI", [.avx2, .avxvnni], bf16: ("avx2", "avx2"), int8: ("avx2", "avx2")),
    MadeUpFeatures("AVX-512 alone", avx512, bf16: ("avx2", "avx2"), int8: ("avx2", "avx2")),
    MadeUpFeatures(
      "Cascade Lake: no VBMI2", avx512.union(.avx512vnni), bf16: ("avx2", "avx2"), int8: ("avx2", "avx2")),
    MadeUpFeatures("Ice Lake: no BF16", iceLake, bf16: ("avx2", "avx2"), int8: ("avx512vnni", "avx512vnni")),
    MadeUpFeatures("Zen 4", zen4, bf16: ("avx512bf16", "avx512bf16"), int8: ("avx512vnni", "avx512vnni")),
    MadeUpFeatures(
      "Sapphire Rapids", sapphireRapids, bf16: ("avx512bf16", "amxbf16"), int8: ("avx512vnni", "amxint8")),
    MadeUpFeatures(
      "Sapphire Rapids without permission for tiles", sapphireRapids.subtracting([.amxtile, .amxbf16, .amxint8]),
      bf16: ("avx512bf16", "avx512bf16"), int8: ("avx512vnni", "avx512vnni")),
    MadeUpFeatures(
      "tiles without int8", sapphireRapids.subtracting(.amxint8), bf16: ("avx512bf16", "amxbf16"),
      int8: ("avx512vnni", "avx512vnni")),
  ]

  private init(_ name: String, _ features: InstructionSet, bf16: (String, String), int8: (String, String)) {
    self.name = name
    self.features = features
    expected = [.bfloat16: bf16, .int16: int8, .int8: int8]
  }

  static let amx = KernelSelection(features: sapphireRapids)
}

#if arch(x86_64)
  @Suite struct KernelSelectionTests {
    /// Between one row and many, the best kernel comes in at its own `minRows` and not before.
    @Test(arguments: MadeUpFeatures.all, WeightFormat.allCases)
    func choosesTheExpectedKernel(machine: MadeUpFeatures, format: WeightFormat) throws {
      let selection = KernelSelection(features: machine.features)
      for x in format.activations {
        let expected = try #require(machine.expected[x])
        let list = KernelVariant.all(for: format, activations: x)
        // Groups too small for the int8 tile multiply are left to the vectors.
        let one = try #require(list.first { $0.isaTag == expected.one } ?? list.last)
        let best = list.first { $0.isaTag == expected.many } ?? one
        for rows in Set([1, 2, 3, 4, 16, 512, max(1, best.minRows - 1), best.minRows, best.minRows + 1]) {
          let tag = rows >= best.minRows ? best.isaTag : one.isaTag
          #expect(selection.variant(for: format, activations: x, rows: rows).isaTag == tag, "\(x), \(rows) rows")
        }
      }
    }

    @Test(arguments: [
      ("scalar", "scalar"), ("avx2", "avx2"), ("avx512", "avx512bf16"), ("amx", "amxbf16"), ("avx512bf16", "avx512bf16"),
      ("amxbf16", "amxbf16"), ("avx512vnni", "scalar"), ("amxint8", "scalar"),
    ])
    func aLevelCapsTheChoice(level: String, tag: String) throws {
      let selection = KernelSelection(features: MadeUpFeatures.amx.features, level: try ISALevel(level))
      for format in [WeightFormat.bf16, .bitmapBF16] {
        #expect(selection.variant(for: format, rows: 512).isaTag == tag, "\(format)")
      }
    }

    /// Somebody who names a kernel wants that kernel, also where it does not pay.
    @Test(arguments: ["amxbf16", "avx512bf16", "avx2"])
    func aLevelThatNamesAKernelHoldsForAnyRows(level: String) throws {
      let selection = KernelSelection(features: MadeUpFeatures.amx.features, level: try ISALevel(level))
      for rows in [1, 2, 3, 4, 512] { #expect(selection.variant(for: .bf16, rows: rows).isaTag == level, "\(rows) rows") }
    }

    @Test(arguments: WeightFormat.allCases, [1, 4, 512])
    func pinnedRowsChooseOneKernelForAll(format: WeightFormat, pinned: Int) {
      let selection = KernelSelection(features: MadeUpFeatures.amx.features, pinnedRows: pinned)
      let expected = MadeUpFeatures.amx.variant(for: format, rows: pinned).name
      for rows in [1, 2, 3, 4, 16, 512] { #expect(selection.variant(for: format, rows: rows).name == expected, "\(rows) rows") }
    }

    @Test func findsAKernelByNameOrTag() throws {
      let byName = try MadeUpFeatures.amx.variant(named: "bitmap_gemm_int8_amxint8", for: .bitmapInt8)
      let byTag = try MadeUpFeatures.amx.variant(named: "amxint8", for: .bitmapInt8)
      #expect(byName.name == byTag.name)
      #expect(byName.formats == [.bitmapInt8])
    }

    @Test func anUnknownNameIsAnErrorThatListsTheKnown() {
      #expect(
        throws: TesseraError.unknownISA(name: "avx9", known: KernelVariant.all(for: .bf16).map(\.isaTag))
      ) { try MadeUpFeatures.amx.variant(named: "avx9", for: .bf16) }
    }

    /// Another format's kernel is as unknown as one that nobody has.
    @Test func theKernelOfAnotherFormatIsUnknown() {
      #expect(throws: TesseraError.self) { try MadeUpFeatures.amx.variant(named: "amxint8", for: .bf16) }
    }

    @Test func aKernelThatTheMachineLacksIsAnErrorThatNamesWhatIsMissing() {
      let zen3 = KernelSelection(features: .avx2)
      #expect(
        throws: TesseraError.unsupportedISA(
          name: "dense_gemm_avx512bf16", missing: ["avx512", "avx512vbmi", "avx512vbmi2", "avx512bf16"])
      ) { try zen3.variant(named: "avx512bf16", for: .bf16) }
    }

    @Test func explainsEachKernel() throws {
      let zen4 = KernelSelection(features: [.avx2, .avx512, .avx512vbmi, .avx512vbmi2, .avx512vnni, .avx512bf16])
      let lines = zen4.explanation(for: .bf16, rows: 1)
      #expect(lines.count == KernelVariant.all(for: .bf16).count)
      for line in [
        "dense_gemm_amxbf16: needs amxtile, amxbf16", "dense_gemm_avx512bf16: chosen",
        "dense_gemm_avx2: works, slower than dense_gemm_avx512bf16",
        "dense_gemm_scalar: works, slower than dense_gemm_avx512bf16",
      ] {
        #expect(lines.contains(line))
      }
      let amx = try #require(KernelVariant.all(for: .bf16).first)
      if amx.minRows > 1 {
        let pays = MadeUpFeatures.amx.explanation(for: .bf16, rows: amx.minRows - 1)
        #expect(pays.first == "dense_gemm_amxbf16: pays from \(amx.minRows) rows on")
      }
      let capped = KernelSelection(features: MadeUpFeatures.amx.features, level: try ISALevel("avx2"))
      #expect(capped.explanation(for: .bf16, rows: 512).first == "dense_gemm_amxbf16: above the level avx2")
    }
  }
#endif

@Suite struct KernelSelectionAnywhereTests {
  @Test(arguments: WeightFormat.allCases)
  func withoutFeaturesTheScalarReferenceRuns(format: WeightFormat) {
    for rows in [1, 2, 512] { #expect(KernelSelection(features: []).variant(for: format, rows: rows).isaTag == "scalar") }
  }

  @Test func theScalarReferenceIsAllowedUnderEveryLevel() throws {
    for name in ISALevel.knownNames {
      let selection = KernelSelection(features: [], level: try ISALevel(name))
      #expect(selection.variant(for: .bf16, rows: 1).isaTag == "scalar", "\(name)")
    }
  }
}
