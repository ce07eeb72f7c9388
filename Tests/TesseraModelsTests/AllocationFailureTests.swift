#if os(Linux)
  import Tessera
  import TesseraLayers
  import TesseraModels
  import Testing

  #if canImport(Glibc)
    import Glibc
  #elseif canImport(Musl)
    import Musl
  #endif

  /// Memory that the system refuses: an error with the bytes, nothing leaked, and everything as it was before.
  ///
  /// Each test is a process of its own whose address space ends a little beyond what it has.
  @Suite(.disabled(if: isSanitized, "a sanitizer needs the address space"))
  struct AllocationFailureTests {
    @Test func packingIsRefused() async {
      await #expect(processExitsWith: .success) { try AllocationFailureTests.packingIsRefused() }
    }

    private static func packingIsRefused() throws {
      let (outputs, inputs) = (2048, 4096)
      let weights = [BFloat16](repeating: BFloat16(1), count: outputs * inputs)
      try withLittleMemory {
        #expect(throws: TesseraError.outOfMemory(bytes: 16 << 20)) {
          try DenseWeights(packing: weights.span, outputs: outputs, inputs: inputs)
        }
        #expect(throws: TesseraError.outOfMemory(bytes: 16 << 20 + 64)) {
          try BitmapWeights(packing: weights.span, outputs: outputs, inputs: inputs)
        }
        #expect(throws: TesseraError.outOfMemory(bytes: 8 << 20 + 64)) {
          try BitmapWeights(quantizing: weights.span, outputs: outputs, inputs: inputs)
        }
        #expect(throws: TesseraError.outOfMemory(bytes: 16 << 20)) {
          try SparAMXLinear(weights.span, outputs: outputs, inputs: inputs, pruning: Pruning(sparsity: 0.5))
        }
        #expect(throws: TesseraError.outOfMemory(bytes: 1 << 60)) { try MemoryRegion(byteCount: 1 << 60) { _ in } }
        #expect(throws: TesseraError.outOfMemory(bytes: .max)) { try MemoryRegion(byteCount: .max) { _ in } }
        // What fits is packed.
        let row = Array(weights[..<inputs])
        let packed = try DenseWeights(packing: row.span, outputs: 1, inputs: inputs)
        #expect(packed.unpacked() == row)
      }
      _ = try DenseWeights(packing: weights.span, outputs: outputs, inputs: inputs)
    }

    @Test func multiplyingIsRefusedAndWorksAgain() async {
      await #expect(processExitsWith: .success) { try AllocationFailureTests.multiplyingIsRefusedAndWorksAgain() }
    }

    private static func multiplyingIsRefusedAndWorksAgain() throws {
      let rows = 1 << 18
      let ones = [BFloat16](repeating: BFloat16(1), count: 16 * 16)
      let layer = try DenseLinear(ones.span, outputs: 16, inputs: 16)
      let executor = try Executor(threads: 1)
      let x = [Float](repeating: 1, count: rows * 16)
      var y = [Float](repeating: -1, count: rows * 16)
      try withLittleMemory {
        // Rows of x are 64 bytes in the workspace, rows of y as many in a new array.
        var target = y.mutableSpan
        #expect(throws: TesseraError.outOfMemory(bytes: rows * 64)) {
          try layer(x.span, rows: rows, into: &target, on: executor)
        }
        #expect(throws: TesseraError.outOfMemory(bytes: rows * 64)) { try layer(x.span, rows: rows, on: executor) }
        let row = Array(x[..<16])
        let small = try layer(row.span, rows: 1, on: executor)
        #expect(small == [Float](repeating: 16, count: 16))
      }
      #expect(y.allSatisfy { $0 == -1 })
      var target = y.mutableSpan
      try layer(x.span, rows: rows, into: &target, on: executor)
      #expect(y.allSatisfy { $0 == 16 })
    }

    @Test func mappingIsRefused() async {
      await #expect(processExitsWith: .success) { try AllocationFailureTests.mappingIsRefused() }
    }

    private static func mappingIsRefused() throws {
      let folder = TemporaryFolder()
      let path = folder.write("a", to: "a")
      #expect(truncate(path, 1 << 25) == 0)
      try withLittleMemory {
        for open in [{ _ = try MappedFile(path: path) }, { _ = try PackedFile.open(path) }, { _ = try openWeights(path) }] {
          #expect(throws: WeightFileError.cannotMap(file: path, byteCount: 1 << 25, errno: ENOMEM)) { try open() }
        }
      }
      #expect(try MappedFile(path: path).byteCount == 1 << 25)
    }

    @Test func readingATensorIsRefused() async {
      await #expect(processExitsWith: .success) { try AllocationFailureTests.readingATensorIsRefused() }
    }

    private static func readingATensorIsRefused() throws {
      let folder = TemporaryFolder()
      let count = 1 << 23
      let safetensors = folder.write(
        safetensors(#"{"t":{"dtype":"F16","shape":[\#(count)],"data_offsets":[0,\#(2 * count)]}}"#), to: "a.safetensors")
      let tensor = GGUFDraft.Tensor(name: Array("t".utf8), sizes: [UInt64(count)], type: 1, data: [])
      let gguf = folder.write(GGUFDraft(tensors: [tensor]).bytes, to: "a.gguf")
      for path in [safetensors, gguf] {
        let header = try MappedFile(path: path).byteCount
        #expect(truncate(path, header + 2 * count) == 0)
        let source = try openWeights(path)
        try withLittleMemory {
          #expect(throws: WeightFileError.outOfMemory(file: path, tensor: "t", byteCount: UInt64(4 * count))) {
            try source.float32("t")
          }
          #expect(throws: WeightFileError.outOfMemory(file: path, tensor: "t", byteCount: UInt64(2 * count))) {
            try source.bfloat16("t")
          }
        }
      }
    }
  }

  /// Runs `body` with address space for 6 MiB more than there is, and expects it to give back what it took.
  private func withLittleMemory(_ body: () throws -> Void) throws {
    let resource = __rlimit_resource_t(RLIMIT_AS.rawValue)
    var old = rlimit()
    getrlimit(resource, &old)
    let before = try addressSpace()
    var narrow = rlimit(rlim_cur: rlim_t(before + 6 << 20), rlim_max: old.rlim_max)
    #expect(setrlimit(resource, &narrow) == 0)
    defer { setrlimit(resource, &old) }
    try body()
    #expect(try addressSpace() < before + 4 << 20)
  }

  /// Bytes, from the first field of statm: pages.
  private func addressSpace() throws -> Int {
    let file = try #require(fopen("/proc/self/statm", "r"))
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    try #require(fgets(&line, Int32(line.count), file) != nil)
    let field = line.prefix { $0 != 0 && $0 != 0x20 }.map(UInt8.init(bitPattern:))
    return try #require(Int(String(decoding: field, as: UTF8.self))) * sysconf(Int32(_SC_PAGESIZE))
  }

  private let isSanitized = dlsym(nil, "__tsan_init") != nil || dlsym(nil, "__asan_init") != nil
#endif
