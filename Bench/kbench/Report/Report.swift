internal import CKernels
internal import Tessera

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif

/// `{"machine": {...}, "results": [...]}`: everything a later reader needs to judge the figures.
struct Report {
  let machine: Machine
  let commandLine: [String]
  let threads: Int
  let date = Date()
  /// The best bandwidth of each reading pattern over the whole run, by name.
  var patterns: [(name: String, bytesPerSecond: Double)] = []
  var rows: [ResultRow] = []
  /// Kernels that were wrong, one sentence each.
  var errors: [String] = []
  /// What the reader has to know, such as a working set that memory cut short.
  var notes: [String] = []

  /// One result per line.
  func json() throws -> String {
    let results = rows.map { "  " + $0.json.text }.joined(separator: ",\n")
    return "{\"machine\": \(try machineJSON.text),\n \"results\": [\n\(results)\n ],\n"
      + " \"errors\": \(JSON.array(errors.map(JSON.string)).text),\n \"notes\": \(JSON.array(notes.map(JSON.string)).text)}\n"
  }

  private var machineJSON: JSON {
    get throws {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
      return .object([
        ("description", .encoded(String(decoding: try encoder.encode(machine), as: UTF8.self))),
        ("threads", .integer(threads)),
        ("compiler", .string(BuildInfo.compiler)), ("build", .string(BuildInfo.mode)),
        ("kernels_optimized", .bool(BuildInfo.kernelsAreOptimized)),
        ("revision", .optional(BuildInfo.revision, JSON.string)),
        ("date", .string(date.formatted(.iso8601))),
        ("command", .array(commandLine.map(JSON.string))),
        ("last_level_cache_bytes", .integer(machine.lastLevelCacheBytes)),
        ("read_patterns", .object(patterns.map { ("\($0.name)", .number($0.bytesPerSecond / 1e9)) })),
      ])
    }
  }

  /// Writes the file whole or not at all; `-` is standard output.
  func write(to path: String) throws(BenchError) {
    do {
      try OutputText.save(json(), to: path)
    } catch let error as BenchError {
      throw error
    } catch {
      throw BenchError.failed("the report could not be encoded: \(error)")
    }
  }
}
