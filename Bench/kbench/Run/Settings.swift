internal import Tessera

/// What a run measures, made from the arguments and checked.
struct Settings {
  var operations: Set<BenchOperation> = Set(BenchOperation.allCases)
  var formats = Settings.usualFormats
  /// What rows of x become, where a format's kernels read several types.
  var activations = ActivationType.allCases
  var attentionFormats = AttentionFormat.usual
  /// Tokens in the caches of attention.
  var contexts: [Int] = [16384]
  var shapes: [Shape] = []
  /// The models whose chains are run.
  var presets: [ModelPreset] = []
  /// The models that are run whole.
  var models: [ModelPreset] = []
  /// How their heads are stored where their layers are compressed; nil: as dense as in SparAMX.
  var headFormat: WeightFormat?
  var rows: [Int] = [1, 4, 16]
  var sparsities: [Double] = [0.5]
  var isa: ISAChoice = .best
  var isHot = false
  var isChain = false
  var secondsPerCase = 0.3
  var seed: UInt64 = 1
  var weightFile: String?

  var mostRows: Int { rows.max() ?? 1 }

  /// One or two of each kind.
  static let usualFormats: [WeightFormat] = [.bf16, .bitmapBF16, .bitmapInt8, .razerG16, .razerG128]

  /// The formats of the wanted operations, each at every sparsity that makes a difference to it, for every type of activations.
  var packings: [PackingChoice] {
    formats.filter { operations.contains(BenchOperation($0.operation)) }.flatMap { format in
      let sparsities: [Double?] = format.storesEveryElement ? [nil] : sparsities
      return format.activations.filter { format.activations.count == 1 || activations.contains($0) }.flatMap { activations in
        sparsities.map { PackingChoice(format: format, activations: activations, sparsity: $0) }
      }
    }
  }
}

extension Settings {
  /// How the head is stored beside layers in a packing; nil for dense. It reads the rows that the layers read, if its kernels do.
  func head(beside packing: PackingChoice) -> PackingChoice? {
    guard let headFormat, headFormat != .bf16, packing.format != .bf16 else { return nil }
    let known = headFormat.activations
    return PackingChoice(
      format: headFormat, activations: known.contains(packing.activations) ? packing.activations : known[0],
      sparsity: headFormat.storesEveryElement ? nil : 0)
  }

  /// What `--check` runs of attention: the kernels of its formats, and the softmax with any of them.
  var checkedAttention: [AttentionKernel] {
    AttentionKernel.all.filter { kernel in
      isa.checks(kernel.name, kernel.instructionSets, tag: kernel.isaTag)
        && attentionFormats.contains { kernel.format == nil || [$0.keys, $0.values].contains(kernel.format) }
    }
  }
}

/// How a matrix is packed and multiplied.
struct PackingChoice {
  let format: WeightFormat
  let activations: ActivationType
  /// nil for formats that store every element.
  let sparsity: Double?

  static let dense = PackingChoice(format: .bf16, activations: .bfloat16, sparsity: nil)
}

/// What `--op` names.
enum BenchOperation: String, CaseIterable {
  case readBandwidth = "read_bandwidth"
  case forkJoin = "fork_join"
  case denseGEMM = "dense_gemm"
  case bitmapGEMM = "bitmap_gemm"
  case code4GEMM = "code4_gemm"
  case attention

  init(_ operation: Tessera.Operation) {
    switch operation {
    case .denseGEMM: self = .denseGEMM
    case .bitmapGEMM: self = .bitmapGEMM
    case .code4GEMM: self = .code4GEMM
    }
  }
}

/// Which kernels are measured for a format.
enum ISAChoice {
  /// The one that the library would choose.
  case best
  /// Every one that this machine can run but the scalar references.
  case all
  /// The kernels of these names or tags, or the best below a level.
  case named([String])

  /// In the order of the list. Formats without a kernel of a given name have none.
  /// - Throws: `TesseraError.unknownISA`, `TesseraError.unsupportedISA`.
  func variants(
    for format: WeightFormat, _ activations: ActivationType, rows: Int, selection: KernelSelection
  ) throws(TesseraError) -> [KernelVariant] {
    let list = KernelVariant.all(for: format, activations: activations)
    switch self {
    case .best: return [selection.variant(for: format, activations: activations, rows: rows)]
    case .all:
      let able = list.filter { selection.allows($0) && !$0.instructionSets.isEmpty }
      return able.isEmpty ? list.suffix(1) : able
    case .named(let names):
      var chosen: [KernelVariant] = []
      for name in names {
        for variant in try ISAChoice.variants(named: name, in: list, rows: rows, features: selection.features)
        where !chosen.contains(where: { $0.name == variant.name }) {
          chosen.append(variant)
        }
      }
      return chosen
    }
  }

  /// The choices of attention's kernels to compare, each with the tag of its kernel for keys: one for each that differs.
  func attentionSelections(
    for format: AttentionFormat, rows: Int, selection: KernelSelection
  ) -> [KernelSelection] {
    let levels: [String]
    switch self {
    case .best: return [selection]
    case .all: levels = ["amx", "avx512", "avx2"]
    case .named(let names): levels = names
    }
    var seen = Set<[String]>()
    return levels.compactMap { name in
      guard let level = try? ISALevel(name), (try? level.validate(on: selection.features)) != nil else { return nil }
      let choice = KernelSelection(features: selection.features, level: level, pinnedRows: selection.pinnedRows)
      return seen.insert(format.kernels(of: choice, rows: rows).map(\.name)).inserted ? choice : nil
    }
  }

  /// Whether `--check` runs a kernel: every one, or those of the given names and levels.
  func checks(_ kernel: String, _ isa: InstructionSet, tag: String) -> Bool {
    guard case .named(let names) = self else { return true }
    return names.contains { $0 == kernel || (try? ISALevel($0))?.admits(isa, tag: tag) == true }
  }

  private static func variants(
    named name: String, in list: [KernelVariant], rows: Int, features: InstructionSet
  ) throws(TesseraError) -> [KernelVariant] {
    func matches(_ variant: KernelVariant) -> Bool { variant.name == name || variant.isaTag == name }
    if KernelVariant.all.contains(where: matches) {
      let matching = list.filter(matches)
      for variant in matching {
        let missing = features.missingTags(for: variant.instructionSets)
        guard missing.isEmpty else { throw .unsupportedISA(name: variant.name, missing: missing) }
      }
      return matching
    }
    let level = try ISALevel(name)
    try level.validate(on: features)
    guard let first = list.first else { return [] }
    let selection = KernelSelection(features: features, level: level)
    return [selection.variant(for: first.formats[0], activations: first.activations, rows: rows)]
  }
}
