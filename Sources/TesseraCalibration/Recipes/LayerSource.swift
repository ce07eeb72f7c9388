internal import Tessera
internal import TesseraLayers
internal import TesseraModels

/// One decoder layer as the checkpoint has it.
struct LayerSource {
  let index: Int
  let configuration: LlamaConfiguration
  /// `outputs x inputs` each, row after row.
  let weights: [LlamaProjection: [Float]]
  let biases: [LlamaProjection: [Float]]
  let attentionNorm: [Float]
  let feedForwardNorm: [Float]

  init(_ checkpoint: LlamaCheckpoint, layer: Int) throws(ModelError) {
    index = layer
    configuration = checkpoint.configuration
    var weights: [LlamaProjection: [Float]] = [:]
    var biases: [LlamaProjection: [Float]] = [:]
    for projection in LlamaProjection.allCases {
      weights[projection] = try checkpoint.float32(of: .layer(layer, projection))
      biases[projection] = try checkpoint.bias(of: .layer(layer, projection))
    }
    self.weights = weights
    self.biases = biases
    attentionNorm = try checkpoint.attentionNorm(ofLayer: layer)
    feedForwardNorm = try checkpoint.feedForwardNorm(ofLayer: layer)
  }

  /// Of everything that the layer is made of.
  var checksum: String {
    var digests: [String] = []
    for projection in LlamaProjection.allCases {
      digests.append(digest(weights[projection] ?? []))
      digests.append(digest(biases[projection] ?? []))
    }
    return (digests + [digest(attentionNorm), digest(feedForwardNorm)]).joined()
  }

  /// The layer with its weights as they are; `observe` may put something around each projection.
  func layer(
    on executor: Executor, observe: (LlamaProjection, any LinearLayer) -> any LinearLayer
  ) throws(ModelError) -> LlamaLayer {
    func linear(_ projection: LlamaProjection) throws(ModelError) -> any LinearLayer {
      let (outputs, inputs) = configuration.shape(of: projection)
      let values = (weights[projection] ?? []).map { BFloat16($0) }
      do throws(TesseraError) {
        return observe(
          projection,
          try DenseLinear(values.span, outputs: outputs, inputs: inputs, bias: biases[projection], on: executor))
      } catch {
        throw ModelError.operation(error)
      }
    }
    return LlamaLayer(
      attentionNorm: attentionNorm,
      attention: DenseAttention(
        query: try linear(.query), key: try linear(.key), value: try linear(.value), output: try linear(.output),
        shape: configuration.attention),
      feedForwardNorm: feedForwardNorm,
      feedForward: GatedFeedForward(gate: try linear(.gate), up: try linear(.up), down: try linear(.down)))
  }
}

/// The checksum of numbers, as text.
func digest(_ values: [Float]) -> String { values.span.withUnsafeBytes { Checksum.text(Checksum.xxh64($0)) } }

/// The checksum of a text, as text.
func digest(_ text: String) -> String { Array(text.utf8).span.withUnsafeBytes { Checksum.text(Checksum.xxh64($0)) } }
