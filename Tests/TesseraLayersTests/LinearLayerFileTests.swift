import Tessera
import TesseraLayers
import Testing

/// Layers through a packed file: written, mapped, and multiplied from in place.
@Suite struct LinearLayerFileTests {
  private let folder = TemporaryFolder()
  private static let (outputs, inputs) = (37, 90)

  /// One layer of each format, some with a bias.
  private static func layers() throws -> [any PackedLinearLayer] {
    let matrix = Matrix.random(outputs, inputs, seed: 21).elements
    let bias = randomFloats(outputs, in: -1...1, seed: 22)
    let half = Pruning(sparsity: 0.5)
    let dense = try DenseLinear(matrix.span, outputs: outputs, inputs: inputs, bias: bias)
    let bf16 = try SparAMXLinear(matrix.span, outputs: outputs, inputs: inputs, pruning: half)
    let int8 = try SparAMXLinear(matrix.span, outputs: outputs, inputs: inputs, bias: bias, pruning: half, values: .int8)
    return [dense, bf16, int8, try razer(.razerG16, bias: bias), try razer(.int4G128, bias: nil)]
  }

  private static func razer(_ format: WeightFormat, bias: [Float]?) throws -> RaZeRLinear {
    let code4 = try #require(format.code4)
    let groups = (inputs - 1) / code4.group + 1
    let codes = (0..<outputs * inputs).map { UInt8(truncatingIfNeeded: $0 &* 7 >> 2) & 15 }
    let scales: [UInt16] = (0..<outputs * groups).map {
      code4.scale.byteCount == 1 ? UInt16($0 * 11 % 256) : 0x3000 + UInt16($0 % 2000)
    }
    return RaZeRLinear(
      weights: try Code4Weights(
        packing: codes.span, scales: scales.span, tensorScale: 0.125, format: format, outputs: outputs, inputs: inputs,
        specialValues: code4.specialValues.isEmpty ? nil : [7, -7, 5, -5], bias: bias))
  }

  private func written(_ layers: [any PackedLinearLayer]) throws -> String {
    let path = folder.file("w.safetensors")
    try PackedFile.write(layers.map { $0.packedTensor(named: $0.format.rawValue) }, to: path)
    return path
  }

  @Test func comeBackWithTheSameBits() throws {
    let layers = try Self.layers()
    let path = try written(layers)
    let file = try PackedFile.open(path)
    let x = randomFloats(3 * Self.inputs, in: -1...1, seed: 23)
    for layer in layers {
      let back: any LinearLayer = try file.linearLayer(named: layer.format.rawValue)
      #expect(back.format == layer.format)
      #expect(back.summary == layer.summary)
      for executor in try executors() {
        let expected = try layer(x.span, rows: 3, on: executor).map(\.bitPattern)
        let result = try back(x.span, rows: 3, on: executor).map(\.bitPattern)
        #expect(result == expected, "\(layer.format)")
      }
    }
    let again = folder.file("again.safetensors")
    try PackedFile.write(file.tensors.map { try file.linearLayer(named: $0.name).packedTensor(named: $0.name) }, to: again)
    #expect(try bytes(of: again) == bytes(of: path))
  }

  @Test func useTheirWeightsWhereTheyAreMapped() throws {
    let contents = try MappedFile(path: try written(try Self.layers())).region
    let file = try PackedFile(contents: contents, file: "w")
    let dense = try DenseLinear(file.tensor(named: "bf16")).weights
    let bf16 = try SparAMXLinear(file.tensor(named: "bitmap-bf16")).weights
    let int8 = try SparAMXLinear(file.tensor(named: "bitmap-int8")).weights
    let regions = [
      dense.values, dense.bias, bf16.values, bf16.bitmap, bf16.offsets, int8.values, int8.bitmap, int8.offsets, int8.rowScale,
      int8.rowSum, int8.bias,
    ]
    for region in regions {
      let region = try #require(region)
      #expect(region.base >= contents.base && region.base + region.byteCount <= contents.base + contents.byteCount)
    }
  }

  /// A weight format has one name, in files too.
  @Test func everyWeightFormatIsAPackedFormat() {
    for format in WeightFormat.allCases { #expect(PackedFormat(rawValue: format.rawValue) != nil, "\(format)") }
  }

  // MARK: Bad input

  @Test func aMissingTensorIsNamed() throws {
    let path = try written(try Self.layers())
    let file = try PackedFile.open(path)
    #expect(throws: WeightFileError.missingTensor(file: path, tensor: "up")) { try file.linearLayer(named: "up") }
  }

  @Test func aTensorOfAnotherLayerIsRefused() throws {
    let path = try written(try Self.layers())
    let file = try PackedFile.open(path)
    #expect(
      throws: WeightFileError.unsupportedType(
        file: path, tensor: "bf16", type: "bf16", supported: "bitmap-bf16, bitmap-int8")
    ) { try SparAMXLinear(file.tensor(named: "bf16")) }
    #expect(
      throws: WeightFileError.unsupportedType(file: path, tensor: "bitmap-int8", type: "bitmap-int8", supported: "bf16")
    ) { try DenseLinear(file.tensor(named: "bitmap-int8")) }
  }

  /// Each bit of a bitmap flipped in turn, with the checksums left aside: the counts no longer agree, and no kernel sees them.
  @Test func aFlippedBitOfABitmapIsRefused() throws {
    let weights = Matrix(2, 3, [3, 0, -1, 0, 0, 2]).elements
    let layer = try SparAMXLinear(weights.span, outputs: 2, inputs: 3)
    let path = folder.file("w.safetensors")
    try PackedFile.write([layer.packedTensor(named: "w")], to: path)
    let whole = try MappedFile(path: path).region
    let bitmap = try #require(try PackedFile(contents: whole, file: "w").tensor(named: "w").parts["bitmap"])
    let offset = bitmap.base - whole.base
    for bit in 0..<8 * bitmap.byteCount {
      let damaged = try MemoryRegion(byteCount: whole.byteCount) { target in
        target.copyMemory(from: whole.bytes)
        target[offset + bit / 8] ^= 1 << (bit % 8)
      }
      #expect(throws: WeightFileError.self, "bit \(bit): checksums") { try PackedFile(contents: damaged, file: "w") }
      let tensor = try PackedFile(contents: damaged, file: "w", verifying: .structure).tensor(named: "w")
      let error = #expect(throws: WeightFileError.self, "bit \(bit)") { try SparAMXLinear(tensor) }
      guard case .corruptTensor("w", "w", _) = error else {
        Issue.record("bit \(bit): \(String(describing: error))")
        continue
      }
    }
  }

  private func bytes(of path: String) throws -> [UInt8] { try MappedFile(path: path).withBytes { Array($0) } }
}
