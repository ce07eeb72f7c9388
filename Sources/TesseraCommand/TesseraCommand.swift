internal import ArgumentParser
internal import ProgramSupport

@main
struct TesseraCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tessera",
    abstract: "Runs language models on compressed layers.",
    discussion: """
      A model is a folder in Hugging Face's form (config.json, tokenizer.json, safetensors), a GGUF file, or a packed model, of \
      the Llama family. The layers of the first two can be compressed while they are loaded.

      Exit codes: 0 all is well; 2 the machine, its memory or a file lacks what was asked for; 64 the arguments make no sense.

      Environment: TESSERA_ISA caps the instruction sets.
      """,
    subcommands: [GenerateCommand.self, PerplexityCommand.self, CompressCommand.self, InspectCommand.self])

  /// Every mistake is one line; help keeps its own form.
  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let error as ProgramError {
      Terminal.warn("\(error)")
      exit(withError: ExitCode(error.exitCode))
    } catch {
      guard exitCode(for: error) == .validationFailure else { exit(withError: error) }
      Terminal.warn("\(message(for: error)); tessera help lists the commands")
      exit(withError: ExitCode.validationFailure)
    }
  }
}
