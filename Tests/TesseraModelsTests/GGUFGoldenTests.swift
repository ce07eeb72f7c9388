import Tessera
import Testing

@testable import TesseraModels

/// The dequantisers against the values that the Python package `gguf` computes (Tests/Fixtures/make_gguf_golden.py), which also
/// shows that a file from the format's own writer opens.
@Suite struct GGUFGoldenTests {
  let file: GGUFFile

  init() throws { file = try GGUFFile(path: fixture("gguf-golden.gguf")) }

  @Test(arguments: GGUFTensorType.supported)
  func dequantisesToTheBitsOfTheReference(type: GGUFTensorType) throws {
    let got = try file.float32(type.name)
    let expected = try file.float32("\(type.name).expected")
    #expect(got.count == expected.count)
    let different = got.indices.filter { !same(got[$0], expected[$0]) }
    #expect(different.isEmpty)
    #expect(got.filter(\.isFinite).count > got.count / 2)
  }

  @Test(arguments: GGUFTensorType.supported)
  func roundsTheSameValuesToBFloat16(type: GGUFTensorType) throws {
    let got = try file.bfloat16(type.name)
    let expected = try file.float32(type.name).map { BFloat16($0) }
    #expect(zip(got, expected).allSatisfy { $0 == $1 || (Float($0).isNaN && Float($1).isNaN) })
  }

  @Test func bfloat16TensorsKeepEveryBit() throws {
    let bytes = try file.bytes(of: "BF16").bytes
    let got = try file.bfloat16("BF16")
    #expect(got.indices.allSatisfy { got[$0].bits == bytes.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self) })
  }

  @Test(arguments: GGUFTensorType.supported)
  func oneRowIsThatRowOfTheWhole(type: GGUFTensorType) throws {
    let tensor = try file.tensor(named: type.name)
    let whole = try file.float32(tensor.name)
    let row = try file.float32(tensor.name, rows: 1..<2)
    #expect(tensor.rows == 2 && row.count == tensor.columns)
    #expect(zip(row, whole[tensor.columns...]).allSatisfy { same($0, $1) })
    #expect(try file.float32(tensor.name, rows: 1..<1).isEmpty)
  }

  @Test func readsMetadataOfEveryType() throws {
    #expect(try file.string("general.architecture") == "golden")
    #expect(try file.integer("golden.uint8") == 200)
    #expect(try file.integer("golden.int8") == -100)
    #expect(try file.integer("golden.uint16") == 60000)
    #expect(try file.integer("golden.int16") == -30000)
    #expect(try file.integer("golden.uint32") == 4_000_000_000)
    #expect(try file.integer("golden.int32") == -2_000_000_000)
    #expect(try file.integer("golden.int64") == -(1 << 62))
    #expect(try file.number("golden.float32") == Double(Float(0.1)))
    #expect(try file.number("golden.float64") == 0.1)
    #expect(try file.string("golden.string") == "Grüße")
    #expect(try file.strings("golden.strings") == ["", "a", "zwei", "三"])
    #expect(try file.integers("golden.integers") == [1, -2, 3])
    #expect(file.metadata["golden.numbers"]?.array?.numbers == [0.5, -1.5])
    #expect(file.metadata["golden.bools"]?.array?.bools == [true, false, true])
    #expect(file.metadata["golden.bool"]?.bool == true)
    #expect(file.metadata["golden.uint64"].map(String.init(describing:)) == "uint64(9223372036854775808)")
  }

  @Test func metadataOfTheWrongTypeIsAnError() {
    let path = file.path
    func wrong(_ key: String, _ detail: String) -> WeightFileError { .wrongMetadata(file: path, key: key, detail: detail) }
    #expect(throws: wrong("golden.uint64", "is not an integer")) { try file.integer("golden.uint64") }
    #expect(throws: wrong("golden.string", "is not a float")) { try file.number("golden.string") }
    #expect(throws: wrong("golden.bool", "is not a string")) { try file.string("golden.bool") }
    #expect(throws: wrong("golden.integers", "is not an array of UTF-8 strings")) { try file.strings("golden.integers") }
    #expect(throws: wrong("golden.strings", "is not an array of integers")) { try file.integers("golden.strings") }
    #expect(throws: wrong("absent", "is absent")) { try file.integer("absent") }
  }
}

/// Every half-precision value through the Float16 of the standard library, where there is one.
@Suite struct Binary16Tests {
  #if !(os(macOS) && arch(x86_64))
    @Test func everyPatternHasTheValueOfFloat16() {
      let wrong = (UInt16.min...UInt16.max).filter { !same(Float(binary16: $0), Float(Float16(bitPattern: $0))) }
      #expect(wrong.isEmpty)
    }
  #endif
}

private func same(_ a: Float, _ b: Float) -> Bool { a.bitPattern == b.bitPattern || (a.isNaN && b.isNaN) }
