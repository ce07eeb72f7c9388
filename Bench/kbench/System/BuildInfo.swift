internal import CKernels

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif

/// What this program was built from and how.
enum BuildInfo {
  static var isDebug: Bool {
    #if DEBUG
      true
    #else
      false
    #endif
  }

  static var mode: String { isDebug ? "debug" : "release" }

  /// Of the C kernels: debug builds optimise them too.
  static var kernelsAreOptimized: Bool { ck_build_optimized() != 0 }

  static var compiler: String { String(cString: ck_build_compiler()) }

  /// What `TESSERA_REVISION` says, or the commit that is checked out above the program's file; nil for a program that was carried
  /// elsewhere.
  static var revision: String? {
    if let named = ProcessInfo.processInfo.environment["TESSERA_REVISION"], !named.isEmpty { return named }
    guard let program = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else { return nil }
    return GitCheckout.revision(above: program)
  }
}

/// Reads a repository's files instead of asking git, which need not be installed.
enum GitCheckout {
  /// The commit of the nearest checkout among the folders that hold `path`.
  static func revision(above path: String) -> String? {
    var folder = path
    while let slash = folder.lastIndex(of: "/") {
      folder = String(folder[..<slash])
      let entry = folder + "/.git"
      if let head = text(entry + "/HEAD") { return commit(head, in: entry) }
      // In a linked work tree .git is a file that names the real folder; branches lie in the common one.
      if let link = text(entry), link.hasPrefix("gitdir: ") {
        let real = String(link.dropFirst("gitdir: ".count))
        return text(real + "/HEAD").flatMap { commit($0, in: real) }
      }
    }
    return nil
  }

  private static func commit(_ head: String, in git: String) -> String? {
    guard head.hasPrefix("ref: ") else { return head }
    let name = String(head.dropFirst("ref: ".count))
    let common = text(git + "/commondir").map { $0.hasPrefix("/") ? $0 : git + "/" + $0 } ?? git
    if let loose = text(common + "/" + name) { return loose }
    let packed = text(common + "/packed-refs")?.split(separator: "\n") ?? []
    return packed.first { $0.hasSuffix(" " + name) }.flatMap { $0.split(separator: " ").first.map(String.init) }
  }

  private static func text(_ path: String) -> String? {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8), !text.isEmpty else { return nil }
    return text.last == "\n" ? String(text.dropLast()) : text
  }
}
