/// What the tensors of a packed model are called: as in a Hugging Face checkpoint, and for projections of low rank as in those of
/// Palu's authors.
///
///     model.layers.L.self_attn.k_proj.weight         a whole projection
///     model.layers.L.self_attn.k_proj.VT.weight      A^T of all groups: from the hidden size to latents
///     model.layers.L.self_attn.k_proj.U.g.weight     B^T of group g: from its latent to its heads
package enum PackedModelNames {
  package static let embedding = LlamaTensorNames.huggingFace.embedding
  package static let outputNorm = LlamaTensorNames.huggingFace.outputNorm

  package static func attentionNorm(_ layer: Int) -> String { LlamaTensorNames.huggingFace.attentionNorm(layer) }
  package static func feedForwardNorm(_ layer: Int) -> String { LlamaTensorNames.huggingFace.feedForwardNorm(layer) }
  package static func weight(_ place: LlamaPlace) -> String { LlamaTensorNames.huggingFace.weight(place) }

  /// The name of a matrix without `.weight`: what recipes match.
  package static func stem(_ place: LlamaPlace) -> String { String(weight(place).dropLast(".weight".utf8.count)) }

  package static func down(_ place: LlamaPlace) -> String { "\(stem(place)).VT.weight" }
  package static func up(_ place: LlamaPlace, group: Int) -> String { "\(stem(place)).U.\(group).weight" }
}
