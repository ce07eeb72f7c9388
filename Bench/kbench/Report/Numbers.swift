internal import ProgramSupport

/// `1.2e-08`: two digits, for errors.
func scientific(_ value: Double?) -> String {
  guard let value, value.isFinite else { return "-" }
  guard value != 0 else { return "0" }
  var exponent = 0
  var mantissa = abs(value)
  while mantissa >= 9.95 { (mantissa, exponent) = (mantissa / 10, exponent + 1) }
  while mantissa < 0.995 { (mantissa, exponent) = (mantissa * 10, exponent - 1) }
  let digits = "\(abs(exponent))"
  return (value < 0 ? "-" : "") + fixed(mantissa, 1) + "e" + (exponent < 0 ? "-" : "+") + (digits.count < 2 ? "0" : "") + digits
}

/// `1.5 GiB`: bytes for people.
func binarySize(_ bytes: Int) -> String { binarySize(Double(bytes)) }

func binarySize(_ bytes: Double) -> String {
  let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
  var (value, unit) = (bytes, 0)
  while value >= 1024, unit < units.count - 1 { (value, unit) = (value / 1024, unit + 1) }
  if value >= 1e6 { return scientific(value) + " " + units[unit] }
  return (unit == 0 || value >= 100 ? fixed(value, 0) : fixed(value, 1)) + " " + units[unit]
}

extension String {
  func leftAligned(_ width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
  func rightAligned(_ width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}
