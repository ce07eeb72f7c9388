internal import Tessera

/// Turns the command's options into settings, with one sentence for each mistake.
struct ArgumentReader {
  private let command: KBench

  private static let mostContext = 1 << 24

  init(_ command: KBench) { self.command = command }

  func settings() throws(BenchError) -> Settings {
    var settings = Settings()
    if let op = command.op {
      settings.operations = Set(try names(op, "--op", BenchOperation.allCases.map(\.rawValue)).compactMap(BenchOperation.init))
    }
    if let format = command.format {
      let wanted = try formatNames(format, of: settings.operations)
      settings.formats = wanted.compactMap(WeightFormat.init)
      settings.attentionFormats = wanted.compactMap(AttentionFormat.init)
    }
    let context = command.context ?? (command.model == nil ? "16384" : "1024")
    settings.contexts = try list(context, "--context", "tokens from 1 to \(ArgumentReader.mostContext) for each item") {
      Int($0).flatMap { (1...ArgumentReader.mostContext).contains($0) ? $0 : nil }
    }
    if let activations = command.activations {
      settings.activations = try names(activations, "--activations", ActivationType.allCases.map(\.rawValue))
        .compactMap(ActivationType.init)
    }
    settings.rows = try list(command.rows, "--m", "a whole number above 0 for each item") {
      Int($0).flatMap { $0 > 0 ? $0 : nil }
    }
    settings.sparsities = try list(command.sparsity, "--sparsity", "fractions from 0 to 1, such as 0.5,0.7") {
      Double($0).flatMap { (0...1).contains($0) ? $0 : nil }
    }
    guard command.threads >= 0 else {
      throw .usage("--threads \(command.threads): 0 means all allowed cores, 1 and more that many")
    }
    guard command.minTime >= 0, command.minTime <= 3600 else {
      throw .usage("--min-time \(command.minTime): seconds from 0 to 3600")
    }
    guard !command.markdown || command.list else { throw .usage("--markdown goes with --list") }
    guard command.json == nil || !(command.list || command.check) else {
      throw .usage("--json goes with measuring or --machine, not with --list and --check")
    }
    guard command.plot == nil || !(command.list || command.check || command.machine) else {
      throw .usage("--plot goes with measuring")
    }
    guard command.json != "-" || command.plot != "-" else { throw .usage("--json - and --plot - would share standard output") }
    try readMatrices(into: &settings)
    try readModels(into: &settings)
    settings.isa = try isaChoice()
    settings.isHot = command.hot
    settings.isChain = command.chain
    settings.secondsPerCase = command.minTime
    settings.seed = command.seed
    settings.weightFile = command.weights
    return settings
  }

  private func readMatrices(into settings: inout Settings) throws(BenchError) {
    let known = ModelPreset.all.map(\.name)
    if let preset = command.preset {
      settings.presets = try names(preset, "--preset", known).compactMap(ModelPreset.named)
    }
    var shapes: [Shape] = []
    for item in command.shape?.split(separator: ",", omittingEmptySubsequences: false) ?? [] {
      if let preset = ModelPreset.named(String(item)) {
        settings.presets.append(preset)
      } else if let shape = Shape(item) {
        shapes.append(shape)
      } else {
        throw .usage("--shape \(item): neither NxK, as in 14336x4096, nor one of \(known.joined(separator: ", "))")
      }
    }
    if command.chain, !shapes.isEmpty { throw .usage("--chain runs the layers of a preset or of --weights, not single shapes") }
    if settings.presets.isEmpty, shapes.isEmpty, command.weights == nil { settings.presets = Array(ModelPreset.all.prefix(1)) }
    var seen = Set<Shape>()
    settings.shapes = (shapes + settings.presets.flatMap(\.shapes)).filter { seen.insert($0).inserted }
  }

  private func readModels(into settings: inout Settings) throws(BenchError) {
    guard let model = command.model else {
      guard command.layers == nil else { throw .usage("--layers goes with --model") }
      guard command.head == nil else { throw .usage("--head goes with --model") }
      return
    }
    guard !command.chain, command.weights == nil, command.shape == nil, command.preset == nil else {
      throw .usage("--model runs a preset whole, with random weights; it goes without --chain, --weights, --shape and --preset")
    }
    settings.models = try names(model, "--model", ModelPreset.all.map(\.name)).compactMap(ModelPreset.named)
    if let layers = command.layers {
      guard let most = settings.models.map(\.blockCount).min(), (1...most).contains(layers) else {
        throw .usage("--layers \(layers): at least 1, and no more than the model has")
      }
      settings.models = settings.models.map { $0.cut(to: layers) }
    }
    if let head = command.head {
      guard let format = WeightFormat(rawValue: head) else {
        throw .usage("--head \(head): known are \(WeightFormat.allCases.map(\.rawValue).joined(separator: ", "))")
      }
      settings.headFormat = format
    }
    if settings.packings.isEmpty { throw .usage("--model: no format of weights among --op and --format") }
  }

  /// Names are looked up now, so that a wrong one is told before minutes of packing.
  private func isaChoice() throws(BenchError) -> ISAChoice {
    switch command.isa {
    case "best": return .best
    case "all": return .all
    default:
      let choice = ISAChoice.named(command.isa.split(separator: ",", omittingEmptySubsequences: false).map(String.init))
      let selection = KernelSelection(features: Machine.current.instructionSets)
      for format in WeightFormat.allCases {
        do throws(TesseraError) {
          for activations in format.activations {
            _ = try choice.variants(for: format, activations, rows: 1, selection: selection)
          }
        } catch {
          switch error {
          case .unknownISA: throw .usage("--isa \(command.isa): \(error), best, all, or a name that --list shows")
          default: throw .failed("--isa \(command.isa): \(error); --list shows what it can run")
          }
        }
      }
      return choice
    }
  }

  /// Names of formats that the wanted operations have. Some stand for caches and for weights.
  private func formatNames(_ text: String, of operations: Set<BenchOperation>) throws(BenchError) -> [String] {
    func unique(_ names: [String]) -> [String] { names.reduce(into: []) { if !$0.contains($1) { $0.append($1) } } }
    let (weights, caches) = (WeightFormat.allCases, AttentionFormat.allCases.map(\.rawValue))
    let wanted = try names(text, "--format", unique(weights.map(\.rawValue) + caches))
    let wholeModels = command.model != nil ? "--model" : command.chain ? "--chain" : nil
    let ofWeights = weights.filter { operations.contains(BenchOperation($0.operation)) }.map(\.rawValue)
    let there = unique(ofWeights + (wholeModels == nil && operations.contains(.attention) ? caches : []))
    if let stranger = wanted.first(where: { !there.contains($0) }) {
      let what = wholeModels ?? operations.map(\.rawValue).sorted().joined(separator: ", ")
      let list = there.isEmpty ? "none" : there.joined(separator: ", ")
      throw .usage("--format \(stranger): no format of \(what); there are \(list)")
    }
    return wanted
  }

  private func names(_ text: String, _ option: String, _ known: [String]) throws(BenchError) -> [String] {
    try list(text, option, "known are \(known.joined(separator: ", "))") { known.contains(String($0)) ? String($0) : nil }
  }

  private func list<Value>(
    _ text: String, _ option: String, _ rule: String, _ parse: (Substring) -> Value?
  ) throws(BenchError) -> [Value] {
    var values: [Value] = []
    for item in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let value = parse(item) else { throw .usage("\(option) \(text): '\(item)' is wrong; \(rule)") }
      values.append(value)
    }
    return values
  }
}
