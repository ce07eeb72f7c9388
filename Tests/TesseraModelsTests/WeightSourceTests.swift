import Tessera
import Testing

@testable import TesseraModels

@Suite struct WeightSourceTests {
  @Test func opensGGUFByItsMagic() throws {
    let source = try openWeights(fixture("gguf-golden.gguf"))
    #expect(source is GGUFFile)
    #expect(try source.shape(of: "Q4_1") == [2, 256])
    #expect(try source.float32("Q4_1").count == 512)
  }

  @Test func everythingElseIsReadAsSafetensors() {
    // The script is text: its first eight bytes are no header length.
    let script = fixture("make_gguf_golden.py")
    #expect {
      try openWeights(script)
    } throws: { error in
      guard case .headerLength(script, _, _)? = error as? WeightFileError else { return false }
      return true
    }
  }

  @Test func absentFilesAndFoldersWithoutACheckpointAreNamed() {
    let absent = fixture("absent")
    #expect(throws: WeightFileError.cannotOpen(file: absent, errno: 2)) { try openWeights(absent) }
    let folder = fixture("")
    #expect(throws: WeightFileError.cannotOpen(file: "\(folder)model.safetensors", errno: 2)) { try openWeights(folder) }
  }
}
