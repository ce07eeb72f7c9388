/// The field of p^k elements, as far as Hadamard matrices need it: differences, and which elements are squares.
///
/// An element is a polynomial in x of degree below k over the integers modulo p, written as the number whose digits to the base
/// p are its coefficients. Arithmetic is modulo a polynomial for which x generates all elements but 0: then the squares are the
/// even powers of x, and nothing else has to be multiplied.
struct FiniteField {
  let order: Int
  /// 1 for squares, -1 for what is none, 0 for 0.
  let character: [Int]
  private let characteristic: Int
  private let degree: Int

  /// nil unless `order` is a power of a prime.
  init?(order: Int) {
    guard order > 1, let prime = (2...order).first(where: { order % $0 == 0 }) else { return nil }
    var (degree, power) = (1, prime)
    while power < order { (degree, power) = (degree + 1, power * prime) }
    guard power == order else { return nil }
    self.order = order
    self.characteristic = prime
    self.degree = degree
    // x^k = taps, a polynomial; x has an inverse where its constant is not 0.
    let powers = (1..<order).lazy.filter { $0 % prime != 0 }.compactMap { taps in
      FiniteField.powersOfX(prime: prime, degree: degree, order: order, taps: taps)
    }.first
    guard let powers else { return nil }
    var character = [Int](repeating: 0, count: order)
    for (exponent, element) in powers.enumerated() { character[element] = exponent % 2 == 0 ? 1 : -1 }
    self.character = character
  }

  /// x^0, x^1, ... up to x^(order - 2); nil where 1 comes back earlier.
  private static func powersOfX(prime: Int, degree: Int, order: Int, taps: Int) -> [Int]? {
    let top = order / prime
    var powers = [1]
    var element = 1
    while true {
      let leading = element / top
      element = combine(element % top * prime, taps, prime: prime, degree: degree) { $0 + leading * $1 }
      if element == 1 { break }
      powers.append(element)
    }
    return powers.count == order - 1 ? powers : nil
  }

  func difference(_ a: Int, _ b: Int) -> Int {
    FiniteField.combine(a, b, prime: characteristic, degree: degree) { $0 - $1 + characteristic }
  }

  private static func combine(_ a: Int, _ b: Int, prime: Int, degree: Int, _ digit: (Int, Int) -> Int) -> Int {
    var (a, b, place, result) = (a, b, 1, 0)
    for _ in 0..<degree {
      result += digit(a % prime, b % prime) % prime * place
      (a, b, place) = (a / prime, b / prime, place * prime)
    }
    return result
  }
}
