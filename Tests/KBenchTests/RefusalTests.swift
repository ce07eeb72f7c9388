import ArgumentParser
import Tessera
import Testing

@testable import kbench

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What the arguments may say and the machine cannot do.
@Suite struct RefusalTests {
  private func bench(_ arguments: String) throws -> Bench {
    let executor = try Executor(threads: 1)
    let settings = try ArgumentReader(KBench.parse(arguments.split(separator: " ").map(String.init))).settings()
    let report = Report(machine: executor.machine, commandLine: [], threads: 1)
    return Bench(settings: settings, executor: executor, console: Console(printsTables: false), report: report) { _ in }
  }

  private func expectRefused(_ culprit: String, _ body: () throws -> Void) {
    let error = #expect(throws: BenchError.self) { try body() }
    #expect(error?.exitCode == 2)
    #expect(error?.description.contains(culprit) == true, "\(error?.description ?? "")")
  }

  @Test(
    .enabled(if: availableMemory() != nil, "the system does not say how much memory is free"),
    arguments: [
      ("--shape 9223372036854775807x2", "9223372036854775807x2"), ("--shape 4294967296x4294967296", "416 EiB"),
      ("--shape 100000000x1000000", "100000000x1000000"), ("--shape 16x16 --m 1,9223372036854775807", "M = 9223372036854775807"),
      ("--shape 16x16 --m 1000000000000", "M = 1000000000000"),
    ])
  func matricesBeyondMemoryAreRefusedBeforeTheyAreMade(arguments: String, culprit: String) throws {
    let bench = try bench(arguments)
    expectRefused(culprit) { try bench.runMultiplications(bench.matrixSources(in: nil)) }
  }

  @Test(.enabled(if: availableMemory() != nil, "the system does not say how much memory is free"))
  func chainsBeyondMemoryAreRefused() throws {
    let bench = try bench("--chain --preset smollm2-135m --m 1000000000000")
    expectRefused("M = 1000000000000") { try bench.runChains(nil) }
    let model = try self.bench("--model smollm2-135m --m 16000000")
    expectRefused("M = 16000000") { try model.runModels() }
  }

  // MARK: Files

  private func temporaryFolder() throws -> String {
    let path = "/tmp/kbench-test-\(UInt64.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    return path
  }

  @Test func aReportReplacesAFileInOneStep() throws {
    let folder = try temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for text in ["first, longer", "second"] {
      try OutputText.save(text, to: folder + "/a")
      #expect(try String(contentsOfFile: folder + "/a", encoding: .utf8) == text)
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["a"])
    expectRefused(folder) { try OutputText.save("", to: folder) }
    expectRefused(folder + "/b/c") { try OutputText.save("", to: folder + "/b/c") }
  }

  @Test func devicesAreWrittenToAndStay() throws {
    // First, because a mistake would cost this machine its device.
    try #require(OutputText.isStream("/dev/null"))
    try OutputText.save("nothing", to: "/dev/null")
    #expect(OutputText.isStream("-"))
    #expect(!OutputText.isStream("/tmp"))
    #expect(!OutputText.isStream("/nowhere"))
    #if os(Linux)
      expectRefused("/dev/full") { try OutputText.save("something", to: "/dev/full") }
    #endif
  }

  #if os(Linux)
    /// A table that cannot be written is a failure, not a silent success.
    @Test func aFullDiskIsTold() async {
      let result = await #expect(processExitsWith: .exitCode(2), observing: [\.standardErrorContent]) {
        let full = open("/dev/full", O_WRONLY)
        try #require(full >= 0 && dup2(full, STDOUT_FILENO) >= 0)
        Console(printsTables: true).line("a table")
      }
      let message = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
      #expect(message.contains("kbench: standard output cannot be written: No space left on device"), "\(message)")
    }
  #endif
}
