import Tessera
import Testing

@testable import TesseraModels

/// The real SmolLM2-135M-Instruct (Scripts/fetch-model.sh) against numbers computed from the same file by an independent reader.
@Suite(.enabled(if: ReferenceModel.isPresent, "models/\(ReferenceModel.name) is absent; Scripts/fetch-model.sh fetches it"))
struct GGUFReferenceModelTests {
  let file: GGUFFile

  init() throws { file = try GGUFFile(path: ReferenceModel.path) }

  @Test func headerSaysWhatTheModelIs() throws {
    #expect(file.version == 3 && file.alignment == 32)
    #expect(file.tensors.count == 272 && file.metadata.count == 33)
    #expect(try file.string("general.architecture") == "llama")
    #expect(try file.integer("llama.block_count") == 30)
    #expect(try file.integer("llama.embedding_length") == 576)
    #expect(try file.number("llama.rope.freq_base") == 100_000)
    let tokens = try file.strings("tokenizer.ggml.tokens")
    #expect(tokens.count == 49152 && tokens[0] == "<|endoftext|>" && tokens[252] == "Ġt")
    #expect(tokens.reduce(0) { $0 + $1.utf8.count } == 369_170)
    #expect(try file.strings("tokenizer.ggml.merges").count == 48900)
    #expect(try file.integers("tokenizer.ggml.token_type").filter { $0 == 3 }.count == 17)
  }

  @Test func tensorsHaveTheShapesAndTypesOfTheModel() throws {
    #expect(file.tensors.filter { $0.type == .q4_1 }.count == 210)
    #expect(file.tensors.filter { $0.type == .f32 }.count == 61)
    #expect(file.tensors.reduce(0) { $0 + $1.weightCount } == 134_515_008)
    #expect(file.tensors.prefix(3).map(\.offset) == [0, 30_081_024, 30_083_328])
    #expect(try file.shape(of: "token_embd.weight") == [49152, 576])
    #expect(try file.shape(of: "blk.0.ffn_down.weight") == [576, 1536])
    #expect(try file.shape(of: "output_norm.weight") == [576])
  }

  @Test func firstBytesAreThoseOfTheFile() throws {
    #expect(try hexadecimal(file.bytes(of: "token_embd.weight").bytes.prefix(20)) == "3219d60d13f7e5ee08d02aa801de56818608fd21")
    #expect(try hexadecimal(file.bytes(of: "blk.0.attn_q.weight").bytes.prefix(20)) == "0f30d8b9458765406f65164b677664502267655a")
  }

  @Test func weightsHaveTheirGoldenValues() throws {
    let embedding = try file.float32("token_embd.weight", rows: 504..<505)
    #expect(agree(embedding.prefix(4), [0.10960388, 0.01743698, -0.0946579, 0.08220291]))
    let query = try file.float32("blk.0.attn_q.weight")
    #expect(agree(query.prefix(4), [-0.09631348, 0.15734863, -0.09631348, -0.73046875]))
    let norm = try file.float32("blk.0.attn_norm.weight")
    #expect(agree(norm.prefix(4), [0.01397705, 0.02380371, -0.01977539, -0.03027344]))
  }

  /// The embeddings of "The capital of France is".
  @Test func embeddingsHaveTheirGoldenNorms() throws {
    let norms = try [504, 3575, 282, 4649, 314].map { token in
      let row = try file.float32("token_embd.weight", rows: token..<token + 1)
      return Float(row.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot())
    }
    #expect(agree(norms[...], [2.0009608, 2.541112, 2.9121258, 2.2826185, 2.6013296]))
  }

  /// Equal to the digits that were written down: seven.
  private func agree(_ got: ArraySlice<Float>, _ expected: [Float]) -> Bool {
    got.count == expected.count && zip(got, expected).allSatisfy { abs($0 - $1) <= 5e-7 * max(abs($1), 0.01) }
  }

  private func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}
