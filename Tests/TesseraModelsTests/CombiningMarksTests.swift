import Tessera
import Testing

@testable import TesseraModels

/// Strings are hashed and compared by their canonical form, which takes minutes to find in a long run of combining marks. So no
/// long string of a file may be hashed or compared.
@Suite(.timeLimit(.minutes(1)))
struct CombiningMarksTests {
  private static let marks = String(repeating: "\u{301}\u{323}", count: 400_000)
  private static let empty = #"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#

  @Test(arguments: [
    #"{"\#(marks)":\#(empty)}"#, #"{"__metadata__":{"\#(marks)":""}}"#, #"{"a":{"\#(marks)":1}}"#,
    #"{"a":{"dtype":"\#(marks)","shape":[0],"data_offsets":[0,0]}}"#,
  ])
  func inASafetensorsHeader(header: String) {
    let error = #expect(throws: WeightFileError.self) { try SafetensorsHeaderTests.parse(safetensors(header)) }
    #expect(error?.kind == "malformedHeader")
  }

  @Test func inTheVersionOfAPackedFile() {
    let header = #"{"__metadata__":{"tessera.version":"\#(Self.marks)"}}"#
    let error = #expect(throws: WeightFileError.self) { try PackedFileTests.open(safetensors(header)) }
    #expect(error?.kind == "unsupportedVersion")
  }

  @Test func inTheDescriptionOfAPackedTensor() {
    let description = #"{\"format\":\"\#(Self.marks)\"}"#
    let header =
      #"{"__metadata__":{"tessera.version":"1","tessera.checksum":"0123456789abcdef","tessera.tensor.a":"\#(description)"}}"#
    let error = #expect(throws: WeightFileError.self) { try PackedFileTests.open(safetensors(header), verifying: .structure) }
    #expect(error?.kind == "wrongMetadata")
  }

  @Test(arguments: [#"{"weight_map":{"\#(marks)":"a"}}"#, #"{"weight_map":{"a":"\#(marks)"}}"#, #"{"\#(marks)":0}"#])
  func inAnIndex(text: String) {
    let error = #expect(throws: WeightFileError.self) {
      try Array(text.utf8).withUnsafeBytes { try SafetensorsIndex(parsing: $0, file: "f") }
    }
    #expect(error?.kind == "malformedHeader")
  }

  @Test func inAGGUFFile() throws {
    var draft = GGUFDraft.single
    draft.metadata = [entry(Self.marks, .uint8, [1])]
    let long = try region(draft.bytes)
    #expect(throws: WeightFileError.self) { try GGUFFile(region: long, path: "f") }
    draft = .single
    draft.tensors[0].name = Array(Self.marks.utf8)
    let named = try region(draft.bytes)
    #expect(throws: WeightFileError.self) { try GGUFFile(region: named, path: "f") }
  }
}
