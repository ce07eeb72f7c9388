public import Tessera
public import TesseraModels

/// A checkpoint in the form of Palu's authors: a folder with a `config.json` and safetensors.
///
///     PROJECTION.VT.weight      [sum of ranks, inputs]      A^T of all groups, one below the other
///     PROJECTION.U.g.weight     [outputs of a group, rank]  B^T of group g
///     PROJECTION.U.g.bias       [outputs of a group]        where the model has one
///
/// `config.json` names the ranks of each PROJECTION, for example `model.layers.0.self_attn.k_proj`, under `head_wise_ranks`. A
/// projection that it does not name is dense.
public struct PublishedPalu: Sendable {
  /// `palullama`, `palumistral` or `paluqwen2`.
  public let modelType: String
  /// What was decomposed, where the file says so.
  public let originalModel: String?
  public let hiddenSize: Int
  public let queryHeads: Int
  public let keyValueHeads: Int
  public let headDimension: Int
  /// In the order of the file.
  public let projections: [RankPlan.Projection]
  private let config: String
  private let weights: any WeightSource

  private static let modelTypes = ["palullama", "palumistral", "paluqwen2"]
  private static let maximumByteCount = 64 << 20

  /// Opens a folder.
  /// - Throws: what opening the two gives; `wrongMetadata` naming the key of `config.json` that is absent or does not fit.
  public init(folder: String) throws(WeightFileError) {
    let folder = folder.hasSuffix("/") ? String(folder.dropLast()) : folder
    try self.init(config: "\(folder)/config.json", weights: try SafetensorsFile.open(folder))
  }

  /// - Parameters:
  ///   - config: the path of `config.json`.
  ///   - weights: where the tensors are.
  public init(config path: String, weights: any WeightSource) throws(WeightFileError) {
    let config = Config(path: path, value: try JSONValue(path: path, limit: PublishedPalu.maximumByteCount))
    let modelType = config.value["model_type"]?.string ?? ""
    guard PublishedPalu.modelTypes.contains(modelType) else {
      throw config.wrong("model_type", "'\(modelType)', expected one of \(PublishedPalu.modelTypes)")
    }
    self.modelType = modelType
    originalModel = config.value["original_model_name_or_path"]?.string
    hiddenSize = try config.size("hidden_size")
    queryHeads = try config.size("num_attention_heads")
    keyValueHeads = try config.size("num_key_value_heads", or: queryHeads)
    headDimension = try config.size("head_dim", or: hiddenSize / queryHeads)
    guard queryHeads % keyValueHeads == 0 else {
      throw config.wrong("num_key_value_heads", "\(keyValueHeads), which does not divide \(queryHeads) query heads")
    }
    guard case .object(let members)? = config.value["head_wise_ranks"], !members.isEmpty else {
      throw config.wrong("head_wise_ranks", "absent or empty")
    }
    var projections: [RankPlan.Projection] = []
    for (name, value) in members {
      projections.append(try config.projection(name, value, heads: keyValueHeads, headDimension: headDimension))
    }
    self.projections = projections
    self.config = path
    self.weights = weights
  }

  public var plan: RankPlan { RankPlan(projections) }

  /// The factors of a projection.
  /// - Throws: `wrongMetadata` where `config.json` has no ranks of this name; `missingTensor`; `badShape` naming the tensor whose
  ///   shape contradicts the ranks, or that belongs to a group beyond them; `corruptTensor` for weights that are not finite.
  public func factors(of name: String) throws(WeightFileError) -> LowRankFactors {
    guard let projection = plan[name] else {
      throw .wrongMetadata(file: config, key: "head_wise_ranks", detail: "has no '\(name)'")
    }
    let (heads, ranks) = (projection.heads, projection.ranks)
    try refuseGroup(ranks.count, of: name)
    let stacked = try tensor("\(name).VT.weight", shape: [projection.rankSum, hiddenSize])
    var groups: [LowRankFactors.Group] = []
    var bias: [Float]? = try hasBias(name) ? [] : nil
    var first = 0
    for (group, rank) in ranks.enumerated() {
      let b = try tensor("\(name).U.\(group).weight", shape: [heads.groupOutputs, rank])
      let a = stacked[first * hiddenSize..<(first + rank) * hiddenSize]
      groups.append(
        LowRankFactors.Group(
          rank: rank, a: transposed(Array(a), rows: rank, columns: hiddenSize),
          b: transposed(b, rows: heads.groupOutputs, columns: rank)))
      bias? += try tensor("\(name).U.\(group).bias", shape: [heads.groupOutputs])
      first += rank
    }
    do throws(CompressionError) {
      return try LowRankFactors(inputs: hiddenSize, heads: heads, groups: groups, bias: bias)
    } catch {
      throw WeightFileError.corruptTensor(file: weights.path, tensor: name, detail: error.description)
    }
  }

  /// All groups have one, or none.
  private func hasBias(_ name: String) throws(WeightFileError) -> Bool {
    do throws(WeightFileError) {
      _ = try weights.shape(of: "\(name).U.0.bias")
      return true
    } catch .missingTensor {
      return false
    }
  }

  private func refuseGroup(_ group: Int, of name: String) throws(WeightFileError) {
    let tensor = "\(name).U.\(group).weight"
    guard weights.names.contains(tensor) else { return }
    throw .badShape(
      file: weights.path, tensor: tensor, shape: try weights.shape(of: tensor).map { UInt64($0) },
      detail: "head_wise_ranks has \(group) groups")
  }

  private func tensor(_ name: String, shape: [Int]) throws(WeightFileError) -> [Float] {
    let got = try weights.shape(of: name)
    guard got == shape else {
      throw .badShape(
        file: weights.path, tensor: name, shape: got.map { UInt64($0) }, detail: "the ranks need \(shape)")
    }
    return try weights.float32(name)
  }
}

private func transposed(_ matrix: [Float], rows: Int, columns: Int) -> [Float] {
  var result = [Float](repeating: 0, count: matrix.count)
  for row in 0..<rows {
    for column in 0..<columns { result[column * rows + row] = matrix[row * columns + column] }
  }
  return result
}

private struct Config {
  let path: String
  let value: JSONValue

  private static let largest = 1 << 20

  func wrong(_ key: String, _ detail: String) -> WeightFileError { .wrongMetadata(file: path, key: key, detail: detail) }

  func size(_ key: String, or other: Int? = nil) throws(WeightFileError) -> Int {
    guard let size = value[key] == nil ? other : value[key]?.integer, (1...Config.largest).contains(size) else {
      throw wrong(key, "absent, or no integer of 1...\(Config.largest)")
    }
    return size
  }

  func projection(
    _ name: String, _ value: JSONValue, heads: Int, headDimension: Int
  ) throws(WeightFileError) -> RankPlan.Projection {
    let ranks = value.array?.map(\.integer) ?? []
    guard !ranks.isEmpty, !ranks.contains(nil) else { throw wrong(name, "no array of integers") }
    do throws(CompressionError) {
      let groups = try HeadGroups(
        heads: heads, headDimension: headDimension, .perGroup(heads: heads % ranks.count == 0 ? heads / ranks.count : 0))
      return try RankPlan.Projection(name: name, heads: groups, ranks: ranks.compactMap { $0 })
    } catch .invalidGrouping {
      throw wrong(name, "\(ranks.count) groups, which do not divide \(heads) heads")
    } catch {
      throw wrong(name, error.description)
    }
  }
}
