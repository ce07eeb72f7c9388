/// The library's kernels as text, for `kbench --list` and the README: a row for each format and type of x, a column for each ISA
/// tag. A cell
/// says from how many rows of x on the kernel is chosen, or `-` where there is none.
package struct KernelTable: Sendable {
  package let header: [String]
  package let rows: [[String]]

  /// - Parameter features: a star marks the kernels that these can run; nil marks none, so that the table is the same on every
  ///   machine of an architecture.
  package init(markingWhatRunsOn features: InstructionSet? = nil) {
    let tags = KernelTable.tags
    header = ["operation", "format", "x"] + tags
    let multiplications = WeightFormat.allCases.flatMap { format in
      format.activations.map { x in
        let kernels = KernelVariant.all(for: format, activations: x).map { Kernel($0) }
        return [format.operation.rawValue, format.rawValue, x.rawValue] + tags.map { kernels.cell(tag: $0, features: features) }
      }
    }
    let attention = AttentionKernel.Step.allCases.flatMap { step in
      (step == .softmax ? [nil] : KVFormat.allCases.map { $0 }).compactMap { format -> [String]? in
        let kernels = AttentionKernel.all(step, format).map { Kernel($0) }
        guard !kernels.isEmpty else { return nil }
        let name = format.map { "\($0) \(step.rawValue)" } ?? step.rawValue
        return ["attention", name, "float32"] + tags.map { kernels.cell(tag: $0, features: features) }
      }
    }
    rows = multiplications + attention
  }

  /// Of all kernels, from the plainest instruction set to the newest.
  private static var tags: [String] {
    let used = Set(KernelVariant.all.map(\.isaTag) + AttentionKernel.all.map(\.isaTag))
    return ISALevel.knownNames.filter(used.contains)
  }

  /// One line for each row, names as code.
  package var markdown: String {
    let code = rows.map { row in row.enumerated().map { $0 < 3 ? "`\($1)`" : $1 } }
    let lines = [header, header.map { _ in "---" }] + code
    return lines.map { "| " + $0.joined(separator: " | ") + " |" }.joined(separator: "\n")
  }
}

/// What the table says of a kernel of any operation.
private struct Kernel {
  let tag: String
  let instructionSets: InstructionSet
  let minRows: Int

  init(_ variant: KernelVariant) { (tag, instructionSets, minRows) = (variant.isaTag, variant.instructionSets, variant.minRows) }
  init(_ kernel: AttentionKernel) { (tag, instructionSets, minRows) = (kernel.isaTag, kernel.instructionSets, kernel.minRows) }
}

extension [Kernel] {
  fileprivate func cell(tag: String, features: InstructionSet?) -> String {
    let tagged = filter { $0.tag == tag }
    guard let kernel = tagged.min(by: { $0.minRows < $1.minRows }) else { return "-" }
    let star = features?.isSuperset(of: kernel.instructionSets) == true ? " *" : ""
    return "M >= \(kernel.minRows)" + star
  }
}
