internal import Tessera

/// What the library holds and what it would choose here, as text.
enum Listing {
  /// The table of formats x instruction sets. On a terminal a star marks what this machine can run; the Markdown is the README's.
  static func kernels(markdown: Bool, features: InstructionSet) -> String {
    if markdown { return KernelTable().markdown }
    let table = KernelTable(markingWhatRunsOn: features)
    let cells = [table.header] + table.rows
    let widths = table.header.indices.map { column in cells.map { $0[column].count }.max() ?? 0 }
    let lines = cells.map { row in
      var text = zip(row, widths).map { $0.leftAligned($1) }.joined(separator: "  ")
      while text.last == " " { text.removeLast() }
      return text
    }
    return lines.joined(separator: "\n") + "\n\nM: rows of x from which a kernel is chosen. *: this machine can run it."
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
