internal import ProgramSupport
internal import Tessera
internal import TesseraCompression

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// The report as Markdown tables.
struct Tables {
  let report: Report

  var text: String {
    guard let dense = report.dense else { return "" }
    var paragraphs = [
      "Dense bf16 has a perplexity of **\(fixed(dense.perplexity, 3))**; \(dense.windows.count) windows of "
        + "\(report.windowLength) predictions."
    ]
    if let fewest = report.fewestWindows {
      paragraphs.append(
        "\(report.shortRows) forms were measured on fewer windows, at least the first \(fewest): for these the table has dense's "
          + "perplexity times their ratio on the same windows.")
    }
    let fourBit = weights(.fourBit, "format") {
      "`\($0.weights.format)`"
    } column: {
      $0.weights.search.rawValue
    }
    let tables = [
      ("4-bit weights", fourBit), ("Sparse weights", sparse), ("Caches of latents", caches),
      ("Bytes of cache for a token", cacheBytes), ("One by one", list), ("What matrices lose", errors),
      ("What was expected", expectations),
    ]
    // A table without rows is two lines of frame.
    let filled = tables.filter { $0.1.split(separator: "\n").count > 2 }
    return (paragraphs + filled.map { "### \($0.0)\n\n\($0.1)" }).joined(separator: "\n\n")
  }

  // MARK: Two-way tables

  private func rows(_ families: Form.Family...) -> [(form: Form, row: Report.Row)] { rows(families) }

  private func rows(_ families: [Form.Family]) -> [(form: Form, row: Report.Row)] {
    Form.all.filter { families.contains($0.family) }.compactMap { form in report[form.name].map { (form, $0) } }
  }

  private func weights(
    _ family: Form.Family, _ corner: String, row name: (Form) -> String, column: (Form) -> String
  ) -> String {
    let measured = rows(family)
    return table(
      [corner, "bits per weight"],
      measured.map { form, row in
        Cell(row: [name(form), fixed(row.bitsPerWeight, 3)], column: column(form), text: fixed(report.perplexity(of: row), 3))
      })
  }

  private var sparse: String {
    table(
      ["zeros", "stored as", "bits per weight"],
      (rows(.sparse) + rows(.sparseFourBit)).map { form, row in
        Cell(
          row: [percent(form.weights.sparsity ?? 0), "`\(form.weights.format)`", fixed(row.bitsPerWeight, 3)],
          column: form.weights.criterion.rawValue + (form.weights.search.usesFeedback ? ", error feedback" : ""),
          text: fixed(report.perplexity(of: row), 3))
      })
  }

  private var caches: String {
    table(["latents", "least"], latents { fixed(report.perplexity(of: $0), 3) })
  }

  private var cacheBytes: String {
    var seen = Set<[String]>()
    let whole = rows(.dense).map { Cell(row: ["whole"], column: "bf16", text: "\($0.row.cacheBytesPerToken)") }
    let rest = latents { "\($0.cacheBytesPerToken)" }.map { Cell(row: [$0.row[0]], column: $0.column, text: $0.text) }
    return table(["latents"], (whole + rest).filter { seen.insert($0.row + [$0.column]).inserted })
  }

  private func latents(_ text: (Report.Row) -> String) -> [Cell] {
    rows(.cache).compactMap { form, row in
      guard case .latent(let latent) = form.cache, latent.keptOfKeys == nil else { return nil }
      return Cell(
        row: ["rank \(percent(latent.kept))", latent.objective.rawValue + (latent.isRotated ? "" : ", not rotated")],
        column: latent.bits.map { "\($0) bits" } ?? "bf16", text: text(row))
    }
  }

  private struct Cell {
    let row: [String]
    let column: String
    let text: String
  }

  /// Rows and columns come in the order in which they are first met.
  private func table(_ corner: [String], _ cells: [Cell]) -> String {
    var (names, columns): ([[String]], [String]) = ([], [])
    for cell in cells {
      if !names.contains(cell.row) { names.append(cell.row) }
      if !columns.contains(cell.column) { columns.append(cell.column) }
    }
    let lines = names.map { name in
      name + columns.map { column in cells.first { $0.row == name && $0.column == column }?.text ?? "" }
    }
    return markdown(corner + columns, lines)
  }

  // MARK: Lists

  /// What fits none of the tables above.
  private var list: String {
    guard let dense = report.dense else { return "" }
    let split = rows(.cache).filter { form, _ in
      guard case .latent(let latent) = form.cache else { return true }
      return latent.keptOfKeys != nil
    }
    return markdown(
      ["form", "bits per weight", "cache bytes", "perplexity", "over dense"],
      (split + rows(.combined)).map { form, row in
        [
          form.name, fixed(row.bitsPerWeight, 3), "\(row.cacheBytesPerToken)", fixed(report.perplexity(of: row), 3),
          "\(report.perplexity(of: row) < dense.perplexity ? "" : "+")"
            + "\(fixed((report.perplexity(of: row) / dense.perplexity - 1) * 100, 2)) %",
        ]
      })
  }

  /// A thousandth is a part of 1000.
  private var errors: String {
    markdown(
      ["form", "weights, thousandths", "outputs, thousandths", "perplexity over dense"],
      rows([.fourBit, .sparse, .sparseFourBit]).compactMap { form, row in
        guard let errors = row.errors, let dense = report.dense else { return nil }
        return [
          form.name, fixed(1000 * errors.weights, 2), fixed(1000 * errors.outputs, 2),
          fixed((report.perplexity(of: row) / dense.perplexity - 1) * 100, 2) + " %",
        ]
      })
  }

  private var expectations: String {
    markdown(
      ["lower", "than", "perplexities", "difference", "holds"],
      Expectation.all.compactMap { expectation in
        guard let better = report[expectation.better], let worse = report[expectation.worse] else { return nil }
        let (mean, error) = Report.difference(worse, from: better)
        let holds = mean > 2 * error ? "yes" : mean < -2 * error ? "**no**" : "not to be told"
        return [
          better.name, worse.name, "\(fixed(report.perplexity(of: better), 3)), \(fixed(report.perplexity(of: worse), 3))",
          "\(fixed((exp(mean) - 1) * 100, 2)) ± \(fixed(error * 100, 2)) %", holds,
        ]
      })
  }

  private func markdown(_ header: [String], _ rows: [[String]]) -> String {
    ([header, header.map { _ in "---" }] + rows).map { "| \($0.joined(separator: " | ")) |" }.joined(separator: "\n")
  }

  private func percent(_ part: Double) -> String { "\(Int((part * 100).rounded()))%" }
}

/// What the methods' papers lead one to expect on a model that was never quantised.
struct Expectation {
  let better: String
  let worse: String

  static let all: [Expectation] = {
    func fourBit(_ format: WeightFormat, _ search: WeightChoice.Search = .nearest) -> String {
      WeightChoice(format: format, search: search).name
    }
    func sparse(
      _ format: WeightFormat, _ sparsity: Double, _ criterion: WeightChoice.Criterion, isRepaired: Bool = false
    ) -> String {
      let searches: [WeightChoice.Search] = format == .bitmapBF16 ? [.nearest, .feedback] : [.refitAndClips, .feedbackAndClips]
      let search = searches[isRepaired ? 1 : 0]
      return WeightChoice(format: format, sparsity: sparsity, criterion: criterion, search: search).name
    }
    func latent(_ kept: Double, _ objective: LatentChoice.Objective) -> String {
      LatentChoice(kept: kept, objective: objective).name
    }
    let formats = [WeightChoice.Search.nearest, .feedbackAndClips].flatMap { search in
      [WeightFormat.nvfp4, .int4G32, .iq4NL, .fp4G32, .mxfp4].map {
        Expectation(better: fourBit(.razerG16, search), worse: fourBit($0, search))
      } + [WeightFormat.int4G128, .fp4G128].map { Expectation(better: fourBit(.razerG128, search), worse: fourBit($0, search)) }
    }
    let searches = [WeightFormat.razerG128, .razerG16].flatMap { format in
      [WeightChoice.Search.refit, .clips, .weighted, .feedback, .feedbackAndClips].map {
        Expectation(better: fourBit(format, $0), worse: fourBit(format))
      }
    }
    let pruning = [WeightFormat.bitmapBF16, .bitmapRazerG128].flatMap { format in
      [0.3, 0.5, 0.7].flatMap {
        [
          Expectation(better: sparse(format, $0, .wanda), worse: sparse(format, $0, .magnitude)),
          Expectation(better: sparse(format, $0, .wanda, isRepaired: true), worse: sparse(format, $0, .wanda)),
        ]
      }
    }
    let latents = [0.7, 0.5].flatMap { kept in
      [
        Expectation(better: latent(kept, .whitened), worse: latent(kept, .plain)),
        Expectation(better: latent(kept, .queryWeighted), worse: latent(kept, .whitened)),
      ]
    }
    return formats + searches + pruning + latents
  }()
}
