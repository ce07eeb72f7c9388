/// The path of a file in Tests/Fixtures.
func fixture(_ name: String) -> String { "\(repositoryRoot)/Tests/Fixtures/\(name)" }

/// The folder of Package.swift, found from where this file lies: `<root>/Tests/TesseraModelsTests/...`.
let repositoryRoot: String = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
