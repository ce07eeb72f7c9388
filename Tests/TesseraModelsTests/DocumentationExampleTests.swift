import Tessera
import TesseraLayers
import TesseraModels
import Testing

@testable import DocumentationExamples

/// The examples that the modules' pages show, on a layer small enough to check by hand: exact in bfloat16, half of it small.
@Suite struct DocumentationExampleTests {
  private let folder = TemporaryFolder()
  private let outputs = 2
  private let inputs = 4
  private let weights: [Float] = [1, 0.25, -2, 0.5, 0.125, 4, 0.25, -1]
  private let x: [Float] = [1, 2, 3, 4]
  private let product: [Float] = [-2.5, 4.875]
  private let productOfLargerHalf: [Float] = [-5, 4]

  private var bits: [BFloat16] { weights.map { BFloat16($0) } }

  @Test func productKeepsItsWeightsInAFile() throws {
    let path = folder.file("gate.safetensors")
    let y = try DocumentationExamples.product(
      of: x, rows: 1, by: bits, outputs: outputs, inputs: inputs, keptIn: path)
    #expect(y == product)
    #expect(try PackedFile.open(path).tensors.map(\.name) == ["gate"])
  }

  @Test func layersAreDenseAndSparse() throws {
    let executor = try Executor(threads: 1)
    let layers = try DocumentationExamples.layers(
      of: bits, outputs: outputs, inputs: inputs, activationNorms: [1, 1, 1, 1], on: executor)
    #expect(layers.map(\.format) == [.bf16, .bitmapInt8])
    let results = try DocumentationExamples.outputs(of: layers, for: x, rows: 1, on: executor)
    #expect(results[0] == product)
    for (got, right) in zip(results[1], productOfLargerHalf) { #expect(abs(got - right) < 0.25, "\(got), not \(right)") }
  }

  /// Rows that are exact when their largest weight is worth 8.
  @Test func fourBitsHoldWhatTheyCan() throws {
    let executor = try Executor(threads: 1)
    let rows: [Float] = [1, 0.25, -2, 0.5, 0.5, 4, 0.25, -1]
    let layers = try DocumentationExamples.fourBitLayers(
      of: rows.map { BFloat16($0) }, outputs: outputs, inputs: inputs, meanSquares: [1, 1, 2, 1], on: executor)
    #expect(layers.map(\.format) == [.razerG128, .razerG16])
    #expect(try layers[0](x.span, rows: 1, on: executor) == [-2.5, 5.25])
    let searched = try layers[1](x.span, rows: 1, on: executor)
    for (got, right) in zip(searched, [-2.5, 5.25] as [Float]) { #expect(abs(got - right) < 0.5, "\(got), not \(right)") }
    let error = try DocumentationExamples.relativeError(of: rows, outputs: outputs, inputs: inputs, in: .int4G128)
    #expect(error > 0 && error < 0.01)

    let calibrated = try DocumentationExamples.calibratedLayer(
      of: rows, outputs: outputs, inputs: inputs, seeing: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], on: executor)
    #expect(try calibrated(x.span, rows: 1, on: executor) == [-2.5, 5.25])
  }

  @Test func checkpointBecomesAPackedFile() throws {
    let (checkpoint, packed) = (folder.file("model.safetensors"), folder.file("packed.safetensors"))
    let name = "gate.weight"
    var writer = try SafetensorsWriter(
      path: checkpoint, tensors: [.init(name: name, type: .bf16, shape: [outputs, inputs])])
    try bits.withUnsafeBytes { bytes in try writer.write(bytes) }
    try writer.finish()

    try DocumentationExamples.compress([name], of: checkpoint, into: packed)
    let layer = try DocumentationExamples.layer(named: name, in: packed)
    #expect(try layer(x.span, rows: 1, on: Executor(threads: 1)) == productOfLargerHalf)
  }

  @Test func articleAboutModelsIsBuilt() throws {
    let program = try String(
      decoding: readFile("\(repositoryRoot)/Examples/Documentation/TesseraModels+Text.swift"), as: UTF8.self)
    let page = try String(
      decoding: readFile("\(repositoryRoot)/Sources/TesseraModels/TesseraModels.docc/RunningModels.md"), as: UTF8.self)
    #expect(page.contains("```swift\n\(program)```\n"), "the article and its example differ")
  }

  @Test(.enabled(if: DocumentationModel.isPresent, "\(DocumentationModel.absence)"))
  func modelsGoOnWithTexts() throws {
    var text = ""
    let generation = try DocumentationExamples.complete("The kernel", with: DocumentationModel.path, tokens: 5) { text += $0 }
    #expect(generation.tokens.count == 5 && !text.isEmpty)
    let half = try DocumentationExamples.perplexityOfHalf("The kernel is the core of the system.", with: DocumentationModel.path)
    #expect(half.isFinite && half > 1)
  }
}
