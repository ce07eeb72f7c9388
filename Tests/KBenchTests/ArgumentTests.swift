import ArgumentParser
import Tessera
import Testing

@testable import kbench

@Suite struct ArgumentTests {
  private func settings(_ arguments: String...) throws -> Settings {
    try ArgumentReader(KBench.parse(arguments)).settings()
  }

  @Test func defaultsAreOneBlockOfLlama() throws {
    let settings = try settings()
    #expect(settings.shapes.map(\.description) == ["4096x4096", "1024x4096", "14336x4096", "4096x14336"])
    #expect(settings.rows == [1, 4, 16])
    #expect(settings.packings.map(\.sparsity) == [nil, 0.5, 0.5, nil, nil, nil, nil, nil, nil])
  }

  @Test func shapesAndPresetsMix() throws {
    let settings = try settings("--shape", "100x70,smollm2-135m,192x576", "--m", "2", "--sparsity", "0,1", "--op", "bitmap_gemm")
    #expect(settings.shapes.map(\.description) == ["100x70", "192x576", "576x576", "1536x576", "576x1536"])
    #expect(settings.packings.map(\.format) == [.bitmapBF16, .bitmapBF16, .bitmapInt8, .bitmapInt8])
  }

  @Test func formatsOfCachesAndWeightsMix() throws {
    let settings = try settings("--format", "int8,bf16,sparse-70", "--context", "1,16384", "--preset", "llama-2-7b,smollm2-135m")
    #expect(settings.formats == [.bf16])
    #expect(settings.attentionFormats == [.int8, .bf16, .sparse70])
    #expect(settings.contexts == [1, 16384])
    #expect(settings.presets.map(\.queryHeads) == [32, 9])
    #expect(settings.presets.map(\.keyValueHeads) == [32, 3])
    #expect(settings.presets.map(\.headDimension) == [128, 64])
  }

  @Test func cachesAndWeightsOfOneFormatHaveOneName() throws {
    let settings = try settings("--op", "attention,dense_gemm", "--format", "bf16")
    #expect(settings.formats == [.bf16])
    #expect(settings.attentionFormats == [.bf16])
    #expect(AttentionFormat.allCases.filter { !$0.isLatent }.map(\.rawValue) == KVFormat.ofWholeKeys.map(\.rawValue))
  }

  @Test func modelsRunWhole() throws {
    let settings = try settings("--model", "llama-3.1-8b,smollm2-135m", "--layers", "3", "--format", "bf16,razer-g128")
    #expect(settings.models.map(\.blockCount) == [3, 3])
    #expect(settings.models.map(\.name) == ["llama-3.1-8b, 3 layers", "smollm2-135m, 3 layers"])
    #expect(settings.contexts == [1024])
    #expect(try self.settings("--model", "llama-2-7b").models.map(\.name) == ["llama-2-7b"])
  }

  @Test(arguments: [
    (["--context", "0"], "'0'"), (["--context", "16777217"], "'16777217'"), (["--context", "1k"], "'1k'"),
    (["--shape", "12x"], "--shape 12x"), (["--shape", "0x5"], "--shape 0x5"), (["--shape", ""], "--shape"),
    (["--preset", "gpt-9"], "gpt-9"), (["--m", "0"], "'0'"), (["--m", "1,,2"], "''"), (["--m", "1e3"], "'1e3'"),
    (["--op", "gemm"], "'gemm'"), (["--format", "fp4"], "'fp4'"), (["--sparsity", "1.5"], "'1.5'"),
    (["--sparsity", "nan"], "'nan'"), (["--threads", "-1"], "-1"), (["--min-time", "-2"], "-2"),
    (["--isa", "avx1024"], "'avx1024'"), (["--isa", "avx2,"], "''"), (["--markdown"], "--list"),
    (["--chain", "--shape", "16x16"], "--chain"), (["--model", "gpt-9"], "gpt-9"), (["--layers", "2"], "--layers"),
    (["--head", "nvfp4"], "--head"), (["--model", "llama-2-7b", "--head", "fp5"], "--head fp5"),
    (["--model", "llama-2-7b", "--layers", "33"], "--layers 33"), (["--model", "llama-2-7b", "--chain"], "--model"),
    (["--model", "llama-2-7b", "--format", "int8"], "no format of --model"),
    (["--chain", "--format", "sparse-50"], "no format of --chain"), (["--format", "dense-bf16"], "'dense-bf16'"),
    (["--op", "attention", "--format", "bf16,razer-g128"], "razer-g128: no format of attention; there are bf16, int8,"),
    (["--op", "dense_gemm,attention", "--format", "razer-g32"], "no format of attention, dense_gemm; there are bf16,"),
    (["--op", "fork_join", "--format", "bf16"], "bf16: no format of fork_join; there are none"),
    (["--json", "-", "--plot", "-"], "--plot"), (["--list", "--json", "x"], "--json"), (["--check", "--json", "-"], "--json"),
    (["--machine", "--plot", "x.svg"], "--plot"),
  ])
  func mistakesNameTheCulprit(arguments: [String], culprit: String) throws {
    let command = try KBench.parse(arguments)
    let error = #expect(throws: BenchError.self) { try ArgumentReader(command).settings() }
    #expect(error?.exitCode == 64)
    #expect(error?.description.contains(culprit) == true, "\(error?.description ?? "")")
    #expect(error?.description.contains("\n") == false)
  }
}
