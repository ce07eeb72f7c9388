import Tessera
import Testing

@testable import TesseraCompression

/// Q of a rotation, row after row.
private func matrix(_ rotation: HadamardRotation) -> [[Double]] {
  (0..<rotation.rank).map { row in
    var unit = [Double](repeating: 0, count: rotation.rank)
    unit[row] = 1
    rotation.apply(to: &unit)
    return unit
  }
}

private let multiplesOf32 = Array(stride(from: 32, through: 1024, by: 32))

@Suite struct PaluHadamardTests {
  @Test(arguments: [4, 8, 9, 25, 27, 49, 13, 61])
  func halfOfAFieldAreSquares(order: Int) throws {
    let field = try #require(FiniteField(order: order))
    #expect(field.character[0] == 0)
    let squares = field.character.count { $0 == 1 }
    if order % 2 == 1 {
      #expect(squares == (order - 1) / 2)
      // -1 is a square where the order is 1 mod 4.
      for element in 1..<order {
        let sign = field.character[field.difference(0, element)] * field.character[element]
        #expect(sign == (order % 4 == 1 ? 1 : -1))
      }
    }
    for a in 0..<order {
      #expect(field.difference(a, a) == 0)
      #expect(Set((0..<order).map { field.difference(a, $0) }).count == order)
    }
  }

  @Test(arguments: [1, 6, 12, 91, 100])
  func otherOrdersAreNoFields(order: Int) { #expect(FiniteField(order: order) == nil) }

  /// 12, 20, 28, 44, 60, 84, 108 and 368 by Paley's first construction, the others by his second, 52 and 100 over fields of 25
  /// and 49 elements.
  @Test(arguments: [1, 4, 8, 12, 20, 28, 36, 44, 52, 60, 68, 76, 84, 100, 108, 124, 368, 464])
  func rowsAreOrthogonal(order: Int) throws {
    let matrix = try #require(HadamardMatrix(order: order))
    let words = (order + 63) / 64
    var bits = [UInt64](repeating: 0, count: order * words)
    for (index, element) in matrix.elements.enumerated() where element == 1 {
      bits[index / order * words + index % order / 64] |= 1 << UInt64(index % order % 64)
    }
    #expect(matrix.elements.allSatisfy { $0 == 1 || $0 == -1 })
    for a in 0..<order {
      for b in 0..<a {
        var different = 0
        for word in 0..<words { different += (bits[a * words + word] ^ bits[b * words + word]).nonzeroBitCount }
        if 2 * different != order { Issue.record("rows \(b) and \(a) of order \(order) differ in \(different)") }
      }
    }
  }

  @Test(arguments: [2, 3, 6, 92, 116, 172])
  func ordersWithoutAConstruction(order: Int) { #expect(HadamardMatrix(order: order) == nil) }

  @Test(arguments: [1, 2, 32, 96, 160, 224, 90])
  func theRotationIsOrthogonal(rank: Int) {
    let q = matrix(HadamardRotation(rank: rank))
    for a in 0..<rank {
      for b in 0...a {
        var product = 0.0
        for i in 0..<rank { product += q[a][i] * q[b][i] }
        if abs(product - (a == b ? 1 : 0)) > 1e-12 { Issue.record("\(a), \(b): \(product)") }
      }
    }
  }

  /// One block, whose elements are all of one size, and (a Q)(Q^T b) = a b for rows of A and columns of B.
  @Test(arguments: multiplesOf32)
  func everyMultipleOf32IsOneBlock(rank: Int) {
    let rotation = HadamardRotation(rank: rank)
    #expect(rotation.blockSizes == [rank])
    var unit = (0..<rank).map { $0 == rank / 3 ? 1.0 : 0 }
    rotation.apply(to: &unit)
    for element in unit where abs(abs(element) - 1 / Double(rank).squareRoot()) > 1e-12 { Issue.record("\(element)") }

    let rows = [1, 2, 3].map { seed in randomFloats(rank, seed: UInt64(seed * rank)).map { Double($0) } }
    let turned = rows.map { row in
      var row = row
      rotation.apply(to: &row)
      return row
    }
    for i in 0..<3 {
      for j in 0..<3 {
        let before = zip(rows[i], rows[j]).reduce(0) { $0 + $1.0 * $1.1 }
        let after = zip(turned[i], turned[j]).reduce(0) { $0 + $1.0 * $1.1 }
        #expect(abs(before - after) < 1e-10, "\(before), \(after)")
      }
    }
  }

  @Test func otherRanksGetSeveralBlocks() {
    #expect(HadamardRotation(rank: 1888).blockSizes == [1884, 4])
    #expect(HadamardRotation(rank: 7).blockSizes == [4, 2, 1])
  }

  @Test func eachGroupIsTurnedByItself() throws {
    let heads = try HeadGroups(heads: 4, headDimension: 48, .perGroup(heads: 2))
    let ranks = [32, 96]
    let groups = ranks.map { rank in
      LowRankFactors.Group(
        rank: rank, a: randomFloats(70 * rank, seed: 1), b: randomFloats(rank * heads.groupOutputs, seed: 2))
    }
    let bias = randomFloats(heads.outputs, seed: 3)
    let factors = try LowRankFactors(inputs: 70, heads: heads, groups: groups, bias: bias)
    let alone = factors.rotated()
    #expect(alone.bias == bias)
    for (before, after) in zip(factors.product(), alone.product()) { #expect(abs(before - after) < 1e-4) }
    for pool in try pools() { #expect(factors.rotated(on: pool) == alone) }
  }

  /// What it is for: channels whose energy decays get equal ranges.
  @Test func energyIsSpread() {
    let rank = 96
    let rotation = HadamardRotation(rank: rank)
    var random = SeededGenerator(seed: 5)
    var energies = [Double](repeating: 0, count: rank)
    for _ in 0..<2000 {
      var latent = (0..<rank).map { random.gaussian() / Double(1 + $0) }
      rotation.apply(to: &latent)
      for channel in 0..<rank { energies[channel] += latent[channel] * latent[channel] }
    }
    let ratio = (energies.max() ?? 0) / (energies.min() ?? 1)
    #expect(ratio < 1.3, "\(ratio)")
  }
}
