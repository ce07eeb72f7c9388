/// Which kernel runs: the first in an operation's list that the allowed instruction sets can run and that is meant for so many
/// rows.
///
/// A value, so that tests can choose with made-up features and programs can narrow the choice per executor or per call.
public struct KernelSelection: Sendable, Hashable {
  /// What the machine has.
  public let features: InstructionSet
  /// A cap on what kernels may use, or nil.
  public let level: ISALevel?
  /// With a number here the kernel for that many rows serves every call, so that a row's bits do not depend on how many rows
  /// share the call: decoding and verifying several tokens at once give the same logits.
  public let pinnedRows: Int?

  /// - Parameters:
  ///   - features: what the machine has, `Machine.current.instructionSets` for example.
  ///   - level: a cap below that, or nil. It is not compared with the features: `ISALevel.validate(on:)` does that.
  ///   - pinnedRows: see `pinnedRows`; at least 1 where it is not nil.
  public init(features: InstructionSet, level: ISALevel? = nil, pinnedRows: Int? = nil) {
    precondition(pinnedRows.map { $0 > 0 } ?? true, "kernels cannot be pinned for \(pinnedRows ?? 0) rows")
    self.features = features
    self.level = level
    self.pinnedRows = pinnedRows
  }

  /// Whether the machine has what a kernel needs and the level admits it. The scalar references are always allowed.
  public func allows(_ variant: KernelVariant) -> Bool { allows(variant.instructionSets, tag: variant.isaTag) }

  func allows(_ needed: InstructionSet, tag: String) -> Bool {
    if needed.isEmpty { return true }
    return features.isSuperset(of: needed) && (level?.admits(needed, tag: tag) ?? true)
  }

  /// The kernel for `rows` rows of x. A level that names a kernel's tag gets that kernel, also for fewer rows than it pays from.
  /// - Parameter activations: nil means the first type that the format's kernels read.
  public func variant(for format: WeightFormat, activations: ActivationType? = nil, rows: Int) -> KernelVariant {
    let rows = pinnedRows ?? rows
    guard
      let chosen = KernelVariant.all(for: format, activations: activations).first(where: { candidate in
        allows(candidate) && (rows >= candidate.minRows || candidate.isaTag == level?.exactTag)
      })
    else {
      preconditionFailure("no kernel for \(activations ?? format.activations[0]) activations and \(format) weights")
    }
    return chosen
  }

  /// A kernel by its name.
  /// - Throws: `TesseraError.unknownISA` when no kernel of the format has this name or ISA tag, `unsupportedISA` when the
  ///   features do not allow it.
  public func variant(
    named name: String, for format: WeightFormat, activations: ActivationType? = nil
  ) throws(TesseraError) -> KernelVariant {
    let candidates = KernelVariant.all(for: format, activations: activations)
    guard let variant = candidates.first(where: { $0.name == name || $0.isaTag == name }) else {
      throw .unknownISA(name: name, known: candidates.map(\.isaTag))
    }
    guard features.isSuperset(of: variant.instructionSets) else {
      throw .unsupportedISA(name: variant.name, missing: features.missingTags(for: variant.instructionSets))
    }
    return variant
  }

  /// One line per kernel of the format: whether it is chosen for `rows` rows, and why not if it is not.
  public func explanation(for format: WeightFormat, activations: ActivationType? = nil, rows: Int) -> [String] {
    let chosen = variant(for: format, activations: activations, rows: rows)
    return KernelVariant.all(for: format, activations: activations).map { candidate in
      let missing = features.missingTags(for: candidate.instructionSets)
      if candidate.name == chosen.name { return "\(candidate.name): chosen" }
      if !missing.isEmpty { return "\(candidate.name): needs \(missing.joined(separator: ", "))" }
      if let level, !allows(candidate) { return "\(candidate.name): above the level \(level.name)" }
      if (pinnedRows ?? rows) < candidate.minRows { return "\(candidate.name): pays from \(candidate.minRows) rows on" }
      return "\(candidate.name): works, slower than \(chosen.name)"
    }
  }
}
