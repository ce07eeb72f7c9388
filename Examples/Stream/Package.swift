// swift-tools-version: 6.2
import PackageDescription

// A program of its own that uses Tessera as a dependency, as yours would: from a clone beside it.
let package = Package(
  name: "Stream",
  dependencies: [.package(name: "Tessera", path: "../..")],
  targets: [
    .executableTarget(
      name: "Stream",
      dependencies: [
        .product(name: "Tessera", package: "Tessera"), .product(name: "TesseraModels", package: "Tessera"),
      ])
  ]
)
