// swift-tools-version: 6.2
import PackageDescription

let swiftFlags: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
  name: "Tessera",
  // Atomics and Mutex come with these systems; Span works on older ones too. Linux has no such floor.
  platforms: [.macOS(.v15), .iOS(.v18), .tvOS(.v18), .watchOS(.v11), .visionOS(.v2)],
  products: [
    .library(name: "CKernels", targets: ["CKernels"]),
    .library(name: "Tessera", targets: ["Tessera"]),
    .library(name: "TesseraLayers", targets: ["TesseraLayers"]),
    .library(name: "TesseraModels", targets: ["TesseraModels"]),
    .library(name: "TesseraCompression", targets: ["TesseraCompression"]),
    .library(name: "TesseraCalibration", targets: ["TesseraCalibration"]),
    .executable(name: "tessera", targets: ["TesseraCommand"]),
    .executable(name: "kbench", targets: ["kbench"]),
  ],
  traits: [
    .trait(name: "Hwloc", description: "Read the machine's topology through libhwloc instead of /sys."),
    .trait(name: "Numa", description: "Place weights on NUMA nodes through libnuma."),
    .default(enabledTraits: ["Hwloc", "Numa"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0")
  ],
  targets: [
    // SwiftPM compiles C at -O0 in debug builds, where the kernels are 17 times slower; `swift run kbench`
    // and `swift test` use the real ones through this one flag (Docs/Architecture.md).
    .target(
      name: "CKernels", path: "CKernels", publicHeadersPath: "include",
      cSettings: [
        .headerSearchPath("."),
        .define("_GNU_SOURCE", .when(platforms: [.linux])),
        .unsafeFlags(["-O2"], .when(configuration: .debug)),
      ]),
    .systemLibrary(
      name: "CHwloc", path: "Sources/CHwloc", pkgConfig: "hwloc",
      providers: [.apt(["libhwloc-dev"]), .brew(["hwloc"])]),
    .systemLibrary(
      name: "CNuma", path: "Sources/CNuma", pkgConfig: "numa", providers: [.apt(["libnuma-dev"])]),
    .target(
      name: "Tessera",
      dependencies: [
        "CKernels",
        .target(name: "CHwloc", condition: .when(traits: ["Hwloc"])),
        .target(name: "CNuma", condition: .when(platforms: [.linux], traits: ["Numa"])),
      ],
      swiftSettings: swiftFlags),
    .target(name: "TesseraLayers", dependencies: ["Tessera"], swiftSettings: swiftFlags),
    .target(name: "TesseraModels", dependencies: ["Tessera", "TesseraLayers"], swiftSettings: swiftFlags),
    // What makes compressed weights; nothing that runs a model imports it. Its loops are plain C, as those of CKernels are.
    .target(
      name: "CCompression", path: "Sources/CCompression",
      cSettings: [.headerSearchPath("."), .unsafeFlags(["-O2"], .when(configuration: .debug))]),
    .target(
      name: "TesseraCompression", dependencies: ["CCompression", "Tessera", "TesseraLayers", "TesseraModels"],
      swiftSettings: swiftFlags),
    // What needs LAPACK is a target of its own, so that kbench links none.
    .systemLibrary(
      name: "CLAPACK", path: "Sources/CLAPACK", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
    .target(
      name: "TesseraCalibration",
      dependencies: [
        "TesseraCompression", "CCompression", "TesseraModels", "TesseraLayers", "Tessera",
        .target(name: "CLAPACK", condition: .when(platforms: [.linux])),
      ],
      swiftSettings: swiftFlags),
    .target(
      name: "CKernelChecks", dependencies: ["CKernels"], path: "Tests/CKernelChecks",
      cSettings: [.define("_GNU_SOURCE", .when(platforms: [.linux]))]),
    .target(
      name: "KernelChecks", dependencies: ["Tessera", "CKernels", "CKernelChecks"], path: "Tests/KernelChecks",
      swiftSettings: swiftFlags),
    .target(
      name: "EmulatedKernels", dependencies: ["CKernels"], path: "Tests/EmulatedKernels",
      cSettings: [
        .headerSearchPath("../../CKernels"), .headerSearchPath("."), .define("_GNU_SOURCE", .when(platforms: [.linux])),
      ]),
    // What the programs have in common: their errors, numbers for people, standard output.
    .target(name: "ProgramSupport", swiftSettings: swiftFlags),
    // Not named after its product: file systems that ignore case would take it for the library.
    .executableTarget(
      name: "TesseraCommand",
      dependencies: [
        "ProgramSupport", "TesseraCalibration", "TesseraCompression", "TesseraModels", "TesseraLayers", "Tessera",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: swiftFlags),
    .executableTarget(
      name: "kbench",
      dependencies: [
        "ProgramSupport", "TesseraCompression", "TesseraModels", "TesseraLayers", "Tessera", "CKernels", "KernelChecks",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Bench/kbench", swiftSettings: swiftFlags),
    .executableTarget(
      name: "quality",
      dependencies: [
        "ProgramSupport", "TesseraCalibration", "TesseraCompression", "TesseraModels", "TesseraLayers", "Tessera",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Bench/quality", swiftSettings: swiftFlags),
    .executableTarget(
      name: "ReadmeExample", dependencies: ["Tessera", "TesseraLayers"], path: "Examples/Readme", swiftSettings: swiftFlags),
    .target(
      name: "DocumentationExamples",
      dependencies: ["Tessera", "TesseraLayers", "TesseraModels", "TesseraCompression", "TesseraCalibration"],
      path: "Examples/Documentation", swiftSettings: swiftFlags),
    .testTarget(
      name: "TesseraTests",
      dependencies: ["Tessera", "CKernels", "KernelChecks", "CKernelChecks", "EmulatedKernels", "ReadmeExample"],
      swiftSettings: swiftFlags),
    .testTarget(
      name: "KBenchTests",
      dependencies: [
        "kbench", "ProgramSupport", "Tessera", "CKernels", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: swiftFlags),
    .testTarget(
      name: "TesseraCommandTests",
      dependencies: ["TesseraCommand", "ProgramSupport", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      swiftSettings: swiftFlags),
    .testTarget(
      name: "QualityTests", dependencies: ["quality", "ProgramSupport", "TesseraCalibration", "TesseraModels", "Tessera"],
      swiftSettings: swiftFlags),
    .testTarget(name: "TesseraLayersTests", dependencies: ["TesseraLayers", "Tessera"], swiftSettings: swiftFlags),
    .testTarget(
      name: "TesseraModelsTests", dependencies: ["TesseraModels", "TesseraLayers", "Tessera", "DocumentationExamples"],
      swiftSettings: swiftFlags),
    .testTarget(
      name: "TesseraCompressionTests",
      dependencies: [
        "TesseraCalibration", "TesseraCompression", "CCompression", "TesseraModels", "TesseraLayers", "Tessera",
        "DocumentationExamples",
      ],
      swiftSettings: swiftFlags),
  ],
  cLanguageStandard: .c17
)

// Stages of Scripts/test.sh that look at threads and topology alone build the library and its own tests, nothing above them.
if Context.environment["TESSERA_PACKAGE"] == "core" {
  let core: Set = [
    "CKernels", "CHwloc", "CNuma", "Tessera", "TesseraLayers", "CKernelChecks", "KernelChecks", "EmulatedKernels",
    "ReadmeExample",
    "TesseraTests",
  ]
  package.targets.removeAll { !core.contains($0.name) }
  package.products.removeAll { $0.name != "Tessera" }
  package.dependencies = []
}
