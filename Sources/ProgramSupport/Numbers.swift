/// `1228.4`: a fixed number of digits after the point, `-` for nil, NaN, infinity and what is far too large for a table.
package func fixed(_ value: Double?, _ digits: Int) -> String {
  guard let value, value.isFinite, abs(value) < 1e12 else { return "-" }
  var scale = 1.0
  for _ in 0..<digits { scale *= 10 }
  let scaled = Int((abs(value) * scale).rounded())
  let (whole, rest) = scaled.quotientAndRemainder(dividingBy: Int(scale))
  let sign = value < 0 && scaled != 0 ? "-" : ""
  guard digits > 0 else { return "\(sign)\(whole)" }
  let fraction = "\(rest)"
  return "\(sign)\(whole)." + String(repeating: "0", count: digits - fraction.count) + fraction
}

package func seconds(_ duration: Duration) -> Double {
  Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
}
