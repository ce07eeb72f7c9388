internal import Tessera
internal import TesseraModels

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// The layers of a model that are compressed already, each a packed file in a folder beside the output, so that work that was
/// interrupted goes on where it ended. A file counts only where its fingerprint is that of what would be computed: of the recipe,
/// the calibration text, and all weights up to this layer.
struct FinishedParts {
  let folder: String
  private static let fingerprintKey = "fingerprint"
  private static let reportKey = "report"

  init(beside output: String) throws(WeightFileError) {
    folder = "\(output).layers"
    guard mkdir(folder, 0o777) == 0 || errno == EEXIST else { throw .writeFailed(file: folder, errno: errno) }
  }

  private func path(_ part: String) -> String { "\(folder)/\(part).tessera" }

  /// A part that is whole and belongs here, with its report; nil for any other.
  func load(_ part: String, fingerprint: String) -> (file: PackedFile, report: JSONValue)? {
    guard let file = try? PackedFile.open(path(part)), file.metadata[FinishedParts.fingerprintKey] == fingerprint,
      let text = file.metadata[FinishedParts.reportKey]
    else { return nil }
    let report = Array(text.utf8).withUnsafeBytes { bytes in
      try? JSONValue(parsing: bytes, file: path(part), limit: .max)
    }
    return report.map { (file, $0) }
  }

  /// Stores a part and gives it back as it lies in its file.
  func store(_ part: String, _ tensors: [PackedTensor], fingerprint: String, report: JSONValue) throws(WeightFileError)
    -> PackedFile
  {
    try PackedFile.write(
      tensors, metadata: [FinishedParts.fingerprintKey: fingerprint, FinishedParts.reportKey: report.text()], to: path(part))
    return try PackedFile.open(path(part), verifying: .structure)
  }

  /// Removes what was stored. Mappings outlive it.
  func remove(_ parts: [String]) {
    for part in parts { unlink(path(part)) }
    rmdir(folder)
  }
}
