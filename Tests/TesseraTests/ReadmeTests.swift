import Foundation
import Testing

@testable import Tessera

/// Compares what README.md and Docs/ say with what they speak of.
@Suite struct ReadmeTests {
  private let readme = Page("README.md")

  @Test func exampleIsTheProgramThatIsBuilt() throws {
    let program = try Page("Examples/Readme/main.swift").text()
    let example = try #require(try readme.codeBlocks("swift").first)
    #expect(example == program, "README.md and Examples/Readme/main.swift differ")
    #expect(example.split(separator: "\n", omittingEmptySubsequences: false).dropLast().count <= 20)
    #expect(try #require(try readme.line(of: "```swift")) <= 10, "the example belongs on the first screen")
  }

  /// `DocumentationExamples` builds these files, and its tests run them.
  @Test(arguments: Page.modules)
  func examplesOfTheModulesAreBuilt(module: String) throws {
    let program = try Page("Examples/Documentation/\(module).swift").text()
    let page = Page(Page.catalogue(of: module))
    #expect(try page.codeBlocks("swift") == [program], "the page of \(module) and its example differ")
    if module == "TesseraModels" { #expect(try readme.codeBlocks("swift").last == program) }
  }

  #if os(Linux)
    /// The program lies beside the tests; what it prints first is what its comment says.
    @Test func exampleRuns() throws {
      let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      let process = Process()
      process.executableURL = URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("ReadmeExample")
      let output = Pipe()
      process.standardOutput = output
      try process.run()
      let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      #expect(process.terminationStatus == 0)
      let said = try #require(try readme.text().firstMatch(of: #/print\(layer\.summary\)  // (.+)\n/#))
      #expect(text == "\(said.1)\ny has 4 rows of 512\n")
    }
  #endif

  #if arch(x86_64)
    @Test func tableIsWhatTheLibraryHolds() throws {
      let table = try #require(try readme.text().firstMatch(of: #/<!-- kbench --list --markdown -->\n((?:\|.*\n)+)<!-- end -->/#))
      #expect(
        table.1 == KernelTable().markdown + "\n",
        "put the output of kbench --list --markdown between the markers in README.md")
    }
  #endif

  @Test func firstCommandsAreTargetsOfTheMakefile() throws {
    let commands = try #require(try readme.codeBlocks("sh").first).split(separator: "\n")
    let makefile = try Page("Makefile").text()
    #expect(commands == ["make demo", "make bench", "make test"])
    for command in commands { #expect(makefile.contains("\n\(command.dropFirst("make ".count)):")) }
  }

  @Test func productsAreThePackages() throws {
    let manifest = try Page("Package.swift").text()
    let products = manifest.matches(of: #/\.library\(name: "(\w+)"/#).map { String($0.1) }
    let section = try #require(try readme.text().firstMatch(of: #/\| product \|.*\n\|[-|]+\n((?:\|.*\n)+)/#))
    #expect(section.1.matches(of: #/\| `(\w+)` \|/#).map { String($0.1) }.sorted() == products.sorted())
  }

  @Test(arguments: ["README.md", "CONTRIBUTING.md"] + Page.docs + Page.modules.map(Page.catalogue))
  func linksAndPathsLeadSomewhere(name: String) throws {
    let page = Page(name)
    for target in try page.links + page.paths {
      #expect(FileManager.default.fileExists(atPath: target.path), "\(name) speaks of \(target.path), which is not there")
    }
  }
}

/// A text file of the repository.
struct Page {
  private static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  static let docs: [String] = {
    let names = try? FileManager.default.contentsOfDirectory(atPath: root.appendingPathComponent("Docs").path)
    return (names ?? []).filter { $0.hasSuffix(".md") }.map { "Docs/\($0)" }.sorted()
  }()

  static let modules = ["Tessera", "TesseraLayers", "TesseraModels", "TesseraCompression", "TesseraCalibration"]

  /// The landing page of a module's documentation.
  static func catalogue(of module: String) -> String { "Sources/\(module)/\(module).docc/\(module).md" }

  private let url: URL

  init(_ path: String) { url = Page.root.appendingPathComponent(path) }

  func text() throws -> String { try String(contentsOf: url, encoding: .utf8) }

  /// The number, from 1, of the first line that is `line`.
  func line(of line: String) throws -> Int? {
    try text().split(separator: "\n", omittingEmptySubsequences: false).firstIndex { $0 == line }.map { $0 + 1 }
  }

  /// The fenced blocks of a language, each with its last line end.
  func codeBlocks(_ language: String) throws -> [String] {
    var blocks: [String] = []
    var block: String?
    for line in try text().split(separator: "\n", omittingEmptySubsequences: false) {
      if let text = block {
        if line == "```" { blocks.append(text) }
        block = line == "```" ? nil : text + line + "\n"
      } else if line == "```\(language)" {
        block = ""
      }
    }
    return blocks
  }

  /// What its links inside the repository point to.
  var links: [URL] {
    get throws {
      try text().matches(of: #/\]\(([^)#\s]+)(?:#[^)]*)?\)/#).map { String($0.1) }.filter { !$0.contains("://") }
        .map { url.deletingLastPathComponent().appendingPathComponent($0) }
    }
  }

  /// Files and folders that it names as code, from the root of the repository; those with a placeholder are left out.
  var paths: [URL] {
    get throws {
      let folders = #/`((?:CKernels|Sources|Tests|Bench|Scripts|Examples|Docs)/[\w./+-]*)`/#
      return try text().matches(of: folders).map { String($0.1) }
        .filter { !$0.contains("OPERATION") }
        .map { Page.root.appendingPathComponent($0) }
    }
  }
}
