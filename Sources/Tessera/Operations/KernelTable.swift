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
    rows = WeightFormat.allCases.flatMap { format in
      format.activations.map { x in
        [format.operation.rawValue, format.rawValue, x.rawValue]
          + tags.map { KernelTable.cell(format, x, tag: $0, features: features) }
      }
    }
  }

  /// Of all kernels, from the plainest instruction set to the newest.
  private static var tags: [String] {
    let used = Set(KernelVariant.all.map(\.isaTag))
    return ISALevel.knownNames.filter(used.contains)
  }

  private static func cell(_ format: WeightFormat, _ x: ActivationType, tag: String, features: InstructionSet?) -> String {
    guard let variant = KernelVariant.all(for: format, activations: x).first(where: { $0.isaTag == tag }) else { return "-" }
    let star = features?.isSuperset(of: variant.instructionSets) == true ? " *" : ""
    return "M >= \(variant.minRows)" + star
  }

  /// One line for each row, names as code.
  package var markdown: String {
    let code = rows.map { row in row.enumerated().map { $0 < 3 ? "`\($1)`" : $1 } }
    let lines = [header, header.map { _ in "---" }] + code
    return lines.map { "| " + $0.joined(separator: " | ") + " |" }.joined(separator: "\n")
  }
}
