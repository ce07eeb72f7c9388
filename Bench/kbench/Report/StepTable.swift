internal import ProgramSupport

/// What each step of a model takes, a column for each format.
enum StepTable {
  static func text(_ rows: [ResultRow]) -> String {
    let names = ["milliseconds"] + ModelStep.allCases.map(\.rawValue) + ["all"]
    let columns = rows.map { row in
      let steps = row.steps ?? []
      let all = steps.reduce(0) { $0 + $1.seconds }
      return ["\(Table.formatName(row)) \(row.isa)"]
        + steps.map { "\(fixed($0.seconds * 1e3, 3)) \(fixed($0.seconds / all * 100, 0).rightAligned(3))%" }
        + [fixed(row.median * 1e3, 3) + "     "]
    }
    let width = (names.map(\.count).max() ?? 0) + 2
    return names.indices.map { line in
      "  " + names[line].leftAligned(width)
        + columns.map { column in
          column[line].rightAligned((column.map(\.count).max() ?? 0) + 3)
        }.joined()
    }.joined(separator: "\n")
  }
}
