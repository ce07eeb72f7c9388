import Tessera

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// docs-28m: a small model whose weights were never quantised. It is not public; tests that need it are skipped without it.
enum DocumentationModel {
  /// Where `TESSERA_DOCS_28M` says, or in models/, or in ../shared/models/.
  static let path: String = {
    if let path = getenv("TESSERA_DOCS_28M") { return String(cString: path) }
    let folders = ["\(repositoryRoot)/models/docs-28m", "\(repositoryRoot)/../shared/models/docs-28m"]
    return folders.first { isModel($0) } ?? folders[0]
  }()

  static let isPresent = isModel(path)
  static let absence = "docs-28m is absent: TESSERA_DOCS_28M does not name its folder, nor is it in models/"

  private static func isModel(_ path: String) -> Bool { (try? MappedFile(path: "\(path)/tokenizer.json")) != nil }
}

/// SmolLM2-135M-Instruct, which Scripts/fetch-model.sh fetches.
enum ReferenceModel {
  static let name = "SmolLM2-135M-Instruct.Q4_1.gguf"
  static let path = "\(repositoryRoot)/models/\(name)"
  static let isPresent = (try? MappedFile(path: path)) != nil

  /// Whole models are decoded in plain Swift, which takes minutes when nothing is optimised.
  static var isUsable: Bool {
    #if DEBUG
      false
    #else
      isPresent
    #endif
  }
  static let absence = "models/\(name) is absent (Scripts/fetch-model.sh fetches it), or this is a debug build"
}
