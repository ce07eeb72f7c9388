internal import Tessera

/// What the library holds and what it would choose here, as text.
enum Listing {
  /// The table of formats x instruction sets. On a terminal a star marks what this machine can run; the Markdown is the same on every
  /// machine of an architecture, for the README.
  static func kernels(markdown: Bool, features: InstructionSet) -> String {
    let tags = columnTags
    let header = ["operation", "format"] + tags
    let rows = WeightFormat.allCases.map { format in
      [format.operation.rawValue, format.rawValue]
        + tags.map { tag in cell(format, tag: tag, features: markdown ? nil : features) }
    }
    if markdown {
      let code = rows.map { row in row.enumerated().map { $0 < 2 ? "`\($1)`" : $1 } }
      let lines = [header, header.map { _ in "---" }] + code
      return lines.map { "| " + $0.joined(separator: " | ") + " |" }.joined(separator: "\n")
    }
    let widths = header.indices.map { column in ([header] + rows).map { $0[column].count }.max() ?? 0 }
    let lines = ([header] + rows).map { row in
      var text = zip(row, widths).map { $0.leftAligned($1) }.joined(separator: "  ")
      while text.last == " " { text.removeLast() }
      return text
    }
    return lines.joined(separator: "\n") + "\n\nM: rows of x from which a kernel is chosen. *: this machine can run it."
  }

  /// The tags of all kernels, from the plainest instruction set to the newest.
  private static var columnTags: [String] {
    let used = Set(KernelVariant.all.map(\.isaTag))
    return ISALevel.knownNames.filter(used.contains)
  }

  private static func cell(_ format: WeightFormat, tag: String, features: InstructionSet?) -> String {
    guard let variant = KernelVariant.all(for: format).first(where: { $0.isaTag == tag }) else { return "-" }
    let star = features?.isSuperset(of: variant.instructionSets) == true ? " *" : ""
    return "M >= \(variant.minRows)" + star
  }

  private static let explainedRows = [1, 4, 16, 512]

  /// For each format the kernel for some numbers of rows, and what became of the others.
  static func choices(_ selection: KernelSelection) -> String {
    var text = selection.level.map { "TESSERA_ISA = \($0.name)\n" } ?? ""
    for format in WeightFormat.allCases {
      text += "\(format.operation) \(format)\n"
      var groups: [(rows: [Int], lines: [String])] = []
      for rows in explainedRows {
        let lines = selection.explanation(for: format, rows: rows)
        if let last = groups.indices.last, groups[last].lines == lines {
          groups[last].rows.append(rows)
        } else {
          groups.append(([rows], lines))
        }
      }
      for group in groups {
        text += "  M = \(group.rows.map(String.init).joined(separator: ", "))\n"
        text += group.lines.map { "    \($0)\n" }.joined()
      }
    }
    return text
  }
}
