/// `value` with a fixed number of digits after the point: 1.78.
func fixed(_ value: Double, digits: Int) -> String {
  var scale = 1.0
  for _ in 0..<digits { scale *= 10 }
  guard let scaled = Int(exactly: (value.magnitude * scale).rounded()) else { return "\(value)" }
  let text = String(scaled)
  let padded = String(repeating: "0", count: max(0, digits + 1 - text.count)) + text
  let point = padded.index(padded.endIndex, offsetBy: -digits)
  let number = digits == 0 ? padded : "\(padded[..<point]).\(padded[point...])"
  return value < 0 && scaled > 0 ? "-" + number : number
}

/// 512 B, 4.1 kB, 66.1 MB: three digits or so in decimal units.
func byteText(_ byteCount: Int) -> String {
  var value = Double(byteCount)
  var unit = "B"
  for larger in ["kB", "MB", "GB", "TB"] where value >= 1000 {
    value /= 1000
    unit = larger
  }
  return "\(fixed(value, digits: unit == "B" ? 0 : 1)) \(unit)"
}
