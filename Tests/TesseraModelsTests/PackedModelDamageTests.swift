import Tessera
import TesseraLayers
import TesseraModels
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Packed models that were damaged, and what opening one costs.
@Suite struct PackedModelDamageTests {
  private let folder = TemporaryFolder()

  /// A model with all kinds of tensors: bitmaps with bf16 and int8, 4-bit codes, dense panels, plain rows, bytes.
  private func write(_ model: LlamaTestModel, on executor: Executor) throws -> String {
    try model.write(to: folder)
    let whole = try LlamaModel(LlamaCheckpoint(path: folder.path), on: executor) { matrix throws(ModelError) in
      do throws(TesseraError) {
        switch matrix.place {
        case .layer(_, .gate):
          return try SparAMXLinear(
            matrix.weights.span, outputs: matrix.outputs, inputs: matrix.inputs, pruning: Pruning(sparsity: 0.5))
        case .layer(_, .down):
          return try SparAMXLinear(matrix.weights.span, outputs: matrix.outputs, inputs: matrix.inputs, values: .int8)
        case .layer(_, .up):
          let codes = (0..<matrix.outputs * matrix.inputs).map { UInt8($0 % 16) }
          let scales = [UInt16](repeating: 0x38, count: matrix.outputs * ((matrix.inputs + 15) / 16))
          return RaZeRLinear(
            weights: try Code4Weights(
              packing: codes.span, scales: scales.span, tensorScale: 0.01, format: .razerG16, outputs: matrix.outputs,
              inputs: matrix.inputs))
        default: return try DenseLinear(matrix.weights.span, outputs: matrix.outputs, inputs: matrix.inputs)
        }
      } catch {
        throw ModelError.operation(error)
      }
    }
    let path = folder.file("model.tessera")
    try whole.write(files: ModelFiles(folder: folder.path), to: path)
    return path
  }

  /// One bit at each of 1,000 places. With checksums every one is an error that names the tensor, or the header. By structure
  /// alone what is left must run, to whatever numbers.
  @Test func aFlippedBitIsFoundAndNeverFatal() throws {
    let executor = try Executor(threads: 1)
    let path = try write(LlamaTestModel(hidden: 16, layers: 1, heads: 2, sharedHeads: 1, feedForward: 80), on: executor)
    let bytes = try readFile(path)
    let header = try bytes.withUnsafeBytes { try SafetensorsHeader(parsing: $0, file: path) }
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = SeededGenerator(seed: seed)
    var ran = 0
    for round in 0..<1000 {
      // Half of the places in the data, which the padded header would otherwise outweigh.
      let places = round % 2 == 0 ? 0..<bytes.count : header.dataOffset..<bytes.count
      let place = Int.random(in: places, using: &random)
      var damaged = bytes
      damaged[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      let comment: Comment = "seed \(seed), round \(round), byte \(place)"
      let contents = try region(damaged)

      let tensor = header.tensors.first { ($0.offset..<$0.offset + $0.byteCount).contains(place) }
      let error = #expect(throws: WeightFileError.self, comment) { try PackedFile(contents: contents, file: "damaged") }
      if let tensor {
        #expect(error?.description.contains("'\(tensor.name)'") == true, "\(comment): \(error?.description ?? "")")
      }
      if (try? run(contents, on: executor)) != nil { ran += 1 }
    }
    #expect(ran > 100, "seed \(seed): of 1000 damaged models \(ran) ran")
  }

  private func run(_ contents: MemoryRegion, on executor: Executor) throws {
    let packed = try PackedModel(PackedFile(contents: contents, file: "damaged", verifying: .structure))
    var runner = LlamaRunner(try packed.model(), on: executor)
    var state = runner.model.makeState()
    _ = try runner.forward([3, 99, 0], continuing: &state)
  }

  @Test func checksumsAreComparedOnDemand() throws {
    let path = try write(LlamaTestModel(layers: 1), on: Executor(threads: 1))
    var bytes = try readFile(path)
    let header = try bytes.withUnsafeBytes { try SafetensorsHeader(parsing: $0, file: path) }
    let tensor = try #require(header["model.layers.0.self_attn.o_proj.weight.values"])
    bytes[tensor.offset] ^= 1
    folder.write(bytes, to: "damaged.tessera")
    let damaged = folder.file("damaged.tessera")
    let packed = try PackedModel(path: damaged)
    _ = try packed.model()
    for tensor in packed.file.tensors where tensor.name != "model.layers.0.self_attn.o_proj.weight" {
      try packed.file.verify(tensor.name)
    }
    let error = #expect(throws: WeightFileError.self) {
      try packed.file.verify("model.layers.0.self_attn.o_proj.weight")
    }
    #expect(error?.kind == "checksumMismatch" && error?.description.contains(tensor.name) == true)
    #expect(throws: ModelError.self) { try PackedModel(path: damaged, verifying: .checksums) }
  }

  /// What is copied, norms and small files, is always compared.
  @Test(arguments: ["model.layers.0.input_layernorm.weight.values", "config.json.values", "cache.json.values"])
  func smallTensorsAreCompared(name: String) throws {
    let path = try write(LlamaTestModel(layers: 1), on: Executor(threads: 1))
    var bytes = try readFile(path)
    let header = try bytes.withUnsafeBytes { try SafetensorsHeader(parsing: $0, file: path) }
    bytes[try #require(header[name]).offset] ^= 1
    let damaged = folder.write(bytes, to: "damaged.tessera")
    let error = #expect(throws: ModelError.self) { try PackedModel(path: damaged).model() }
    #expect(error?.description.contains("'\(name)'") == true, "\(error?.description ?? "")")
  }

  #if os(Linux)
    /// Memory of the process's own, in a process of its own: opening and running a model copies none of its matrices.
    @Test func matricesAreNotCopied() async {
      await #expect(processExitsWith: .success) {
        let folder = TemporaryFolder()
        let executor = try Executor(threads: 1)
        try LlamaTestModel(hidden: 512, layers: 4, heads: 8, dimension: 64, feedForward: 1024, vocabulary: 1000).write(to: folder)
        let path = folder.file("model.tessera")
        try LlamaModel(path: folder.path, on: executor).write(files: ModelFiles(folder: folder.path), to: path)
        let byteCount = try MappedFile(path: path).byteCount
        // What writing left behind is free to be used again; what grows from here on is the model's.
        let (anonymous, resident) = (try memory("RssAnon"), try memory("VmRSS"))
        var runner = LlamaRunner(try PackedModel(path: path).model(), on: executor)
        var state = runner.model.makeState()
        _ = try runner.forward([3, 99, 0], continuing: &state)
        let limit = byteCount / 10 + state.byteCount
        #expect(try memory("RssAnon") - anonymous < limit, "of \(byteCount)")
        #expect(try memory("VmRSS") - resident < byteCount + limit, "of \(byteCount)")
      }
    }
  #endif

  /// Opening reads headers, norms and what kernels trust: it does not grow with the dense matrices.
  @Test func openingTakesLittle() throws {
    let executor = try Executor(threads: 1)
    let path = try write(LlamaTestModel(hidden: 256, layers: 4, dimension: 32, feedForward: 1024), on: executor)
    let clock = ContinuousClock()
    let times = try (0..<5).map { _ in try clock.measure { _ = try PackedModel(path: path).model() } }
    #if !DEBUG
      #expect((times.min() ?? .zero) < .milliseconds(50), "\(times)")
    #else
      #expect((times.min() ?? .zero) < .seconds(2), "\(times)")
    #endif
  }
}

#if os(Linux)
  /// A line of /proc/self/status in bytes.
  private func memory(_ name: String) throws -> Int {
    let file = try #require(fopen("/proc/self/status", "r"))
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    while fgets(&line, Int32(line.count), file) != nil {
      let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
      guard text.hasPrefix("\(name):") else { continue }
      return try #require(text.split(whereSeparator: { !$0.isNumber }).first.flatMap { Int($0) }) << 10
    }
    throw Missing()
  }

  private struct Missing: Error {}
#endif
