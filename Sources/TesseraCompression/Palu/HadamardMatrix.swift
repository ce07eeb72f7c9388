/// A square matrix of 1 and -1 whose rows are orthogonal: H H^T = order x I. Constructed, not tabulated.
///
/// With chi(e) = 1 for squares of a field of q elements, -1 for others, 0 for 0, and S the matrix of q + 1 rows
///
///     0   1 ... 1
///     e   chi(a - b)          e = -1 if q = 3 mod 4, else 1
///
/// - Paley's first: I + S, of order q + 1, for q = 3 mod 4, where S^T = -S and S S^T = q I, hence (I + S)(I - S) = (q + 1) I.
/// - Paley's second: of order 2 (q + 1), for q = 1 mod 4, where S^T = S and S S^T = q I. Each 0 of S becomes M, each other
///   element that many times N:
///
///         M = 1 -1        N = 1  1
///            -1 -1            1 -1         M^2 = N^2 = 2 I, M N = -N M
///
///   so the products of the diagonal's M with the N cancel and 2 I + 2 q I is left on the diagonal.
///
/// (R. E. A. C. Paley, "On orthogonal matrices", 1933.)
struct HadamardMatrix: Equatable {
  let order: Int
  /// 1 or -1, row after row.
  let elements: [Int8]

  /// Of order 1, or by one of Paley's constructions; nil where neither gives this order.
  init?(order: Int) {
    if order == 1 {
      self.init(order: 1, elements: [1])
    } else if order % 4 == 0, let field = FiniteField(order: order - 1) {
      self.init(firstPaley: field)
    } else if order % 4 == 0, order / 2 % 4 == 2, let field = FiniteField(order: order / 2 - 1) {
      self.init(secondPaley: field)
    } else {
      return nil
    }
  }

  private init(order: Int, elements: [Int8]) {
    self.order = order
    self.elements = elements
  }

  private init(firstPaley field: FiniteField) {
    let order = field.order + 1
    var elements = HadamardMatrix.conference(field, firstColumn: -1)
    for row in 0..<order { elements[row * order + row] = 1 }
    self.init(order: order, elements: elements)
  }

  private init(secondPaley field: FiniteField) {
    let half = field.order + 1
    let order = 2 * half
    let conference = HadamardMatrix.conference(field, firstColumn: 1)
    var elements = [Int8](repeating: -1, count: order * order)
    for row in 0..<half {
      for column in 0..<half {
        let corner = 2 * row * order + 2 * column
        let sign = conference[row * half + column]
        let block: [Int8] = sign == 0 ? [1, -1, -1, -1] : [sign, sign, sign, -sign]
        for (index, element) in block.enumerated() { elements[corner + index / 2 * order + index % 2] = element }
      }
    }
    self.init(order: order, elements: elements)
  }

  /// S.
  private static func conference(_ field: FiniteField, firstColumn: Int8) -> [Int8] {
    let order = field.order + 1
    var elements = [Int8](repeating: 1, count: order * order)
    elements[0] = 0
    for a in 0..<field.order {
      elements[(a + 1) * order] = firstColumn
      for b in 0..<field.order { elements[(a + 1) * order + b + 1] = Int8(field.character[field.difference(a, b)]) }
    }
    return elements
  }
}
