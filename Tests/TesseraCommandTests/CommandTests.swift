internal import ArgumentParser
internal import ProgramSupport
internal import Testing

@testable internal import TesseraCommand

@Suite struct CommandTests {
  @Test func commandsReadTheirOptions() throws {
    let generate = try GenerateCommand.parse(["model", "-p", "Hello", "-n", "5", "--top-k", "3", "--stop", "a", "--stop", "b"])
    #expect(generate.options.model == "model" && generate.prompt == "Hello" && generate.tokens == 5)
    #expect(generate.topK == 3 && generate.stop == ["a", "b"] && generate.temperature == 0)
    let perplexity = try PerplexityCommand.parse(["m", "--file", "t", "--windows", "2", "--weights", "razer-g128", "--json"])
    #expect(perplexity.file == "t" && perplexity.windows == 2 && perplexity.window == 1024 && perplexity.json)
    #expect(try InspectCommand.parse(["m"]).path == "m")
  }

  static let mistakes: [([String], String, Int32)] = [
    (["generate", "m"], "--prompt", 64), (["generate", "m", "-p", "x", "-n", "0"], "--tokens 0", 64),
    (["generate", "m", "-p", "x", "--stop", ""], "--stop", 64), (["generate", "m", "-p", "x", "--temperature", "-1"], "-1", 2),
    (["generate", "no-such-model", "-p", "x"], "no-such-model", 2),
    (["perplexity", "m", "-f", "t", "--window", "0"], "--window 0", 64),
    (["perplexity", "m", "-f", "t", "--windows", "0"], "--windows 0", 64),
    (["perplexity", "m", "-f", "no-such-text"], "no-such-text", 2), (["inspect", "no-such-file"], "no-such-file", 2),
  ]

  @Test(arguments: mistakes.indices)
  func mistakesNameTheCulprit(index: Int) throws {
    let (arguments, culprit, code) = CommandTests.mistakes[index]
    var command = try TesseraCommand.parseAsRoot(arguments)
    let error = #expect(throws: ProgramError.self) { try command.run() }
    #expect(error?.exitCode == code)
    #expect(error?.description.contains(culprit) == true, "\(error?.description ?? "")")
    #expect(error?.description.contains("\n") == false)
  }

  @Test(arguments: [
    (["--weights", "fp5"], "fp5"), (["--head", "fp5"], "--head fp5"), (["--cache", "fp5"], "fp5"),
    (["--sparsity", "1.5"], "1.5"), (["--threads", "-1"], "-1"),
    (["--activations", "int8"], "int8"), (["--weights", "razer-g16", "--activations", "fp8"], "fp8"),
  ])
  func formsThatDoNotExistAreRefused(arguments: [String], culprit: String) throws {
    let options = try ModelOptions.parse(["no-such-model"] + arguments)
    let error = #expect(throws: ProgramError.self) { _ = try options.loadModel(on: options.makeExecutor()) }
    #expect(error?.exitCode == 64)
    #expect(error?.description.contains(culprit) == true, "\(error?.description ?? "")")
  }

  @Test func numbersHaveFixedDigits() {
    #expect(fixed(29.00874, 4) == "29.0087")
    #expect(fixed(-0.04, 1) == "0.0")
    #expect(fixed(7, 0) == "7")
    #expect(fixed(.nan, 2) == "-")
  }
}
