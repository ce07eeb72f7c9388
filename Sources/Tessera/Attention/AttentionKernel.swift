package import CKernels

/// One of attention's kernels for one instruction set.
public struct AttentionKernel: Sendable, CustomStringConvertible {
  /// What it computes of a chunk of tokens.
  public enum Step: String, Sendable, CaseIterable {
    /// q . k
    case keys
    /// q . k, of keys that are rebuilt from latents.
    case latentKeys = "latent keys"
    /// Scores to probabilities.
    case softmax
    /// Sums of values, weighted with probabilities.
    case values
  }

  /// The kernel's symbol and file name: `attention_keys_bf16_avx2`.
  public let name: String
  /// What it computes.
  public let step: Step
  /// The rows that it reads; nil for the softmax.
  public let format: KVFormat?
  /// Every instruction-set extension that it needs.
  public let instructionSets: InstructionSet
  /// It computes any number of query rows of a head, and is chosen from this many on.
  public let minRows: Int
  package let function: Function

  package enum Function: Sendable {
    case keys(ck_attention_keys_variant)
    case latentKeys(ck_latent_keys_variant)
    case softmax(ck_attention_softmax_variant)
    case values(ck_attention_values_variant)
  }

  package init(_ variant: ck_attention_keys_variant) {
    let format = KVFormat.allCases.first { $0.keyType == variant.type }
    self.init(.keys, variant.name, format, variant.isa, variant.min_rows, .keys(variant))
  }

  package init(_ variant: ck_latent_keys_variant) {
    let format = KVFormat.allCases.first { $0.latentKeyType == variant.type }
    self.init(.latentKeys, variant.name, format, variant.isa, 1, .latentKeys(variant))
  }

  package init(_ variant: ck_attention_values_variant) {
    let format = KVFormat.allCases.first { $0.valueType == variant.type }
    self.init(.values, variant.name, format, variant.isa, variant.min_rows, .values(variant))
  }

  package init(_ variant: ck_attention_softmax_variant) {
    self.init(.softmax, variant.name, nil, variant.isa, 1, .softmax(variant))
  }

  private init(
    _ step: Step, _ name: UnsafePointer<CChar>, _ format: KVFormat?, _ isa: ck_isa, _ minRows: UInt32, _ function: Function
  ) {
    self.name = String(cString: name)
    self.step = step
    self.format = format
    instructionSets = InstructionSet(rawValue: isa)
    self.minRows = Int(minRows)
    self.function = function
  }

  /// The last part of the name: `scalar`, `avx2`, ...
  public var isaTag: String { String(name[name.index(after: name.lastIndex(of: "_") ?? name.startIndex)...]) }

  /// Its name.
  public var description: String { name }

  /// Every kernel in the library, best first for each step and format, whether this machine can run it or not.
  public static let all: [AttentionKernel] = {
    var (keyCount, latentCount, softmaxCount, valueCount) = (0, 0, 0, 0)
    let keys = UnsafeBufferPointer(start: ck_attention_keys_variants(&keyCount), count: keyCount)
    let latents = UnsafeBufferPointer(start: ck_latent_keys_variants(&latentCount), count: latentCount)
    let softmax = UnsafeBufferPointer(start: ck_attention_softmax_variants(&softmaxCount), count: softmaxCount)
    let values = UnsafeBufferPointer(start: ck_attention_values_variants(&valueCount), count: valueCount)
    return keys.map { AttentionKernel($0) } + latents.map { AttentionKernel($0) } + softmax.map { AttentionKernel($0) }
      + values.map { AttentionKernel($0) }
  }()

  /// The kernels of a step for a format, best first; the scalar reference is last.
  public static func all(_ step: Step, _ format: KVFormat?) -> [AttentionKernel] {
    all.filter { $0.step == step && $0.format == (step == .softmax ? nil : format) }
  }
}

extension KernelSelection {
  /// The kernel of a step for `rows` query rows that share a head. A level that names a kernel's tag speaks of keys and values;
  /// the softmax is the best below it.
  public func attention(_ step: AttentionKernel.Step, _ format: KVFormat?, rows: Int) -> AttentionKernel {
    let rows = pinnedRows ?? rows
    guard
      let chosen = AttentionKernel.all(step, format).first(where: { candidate in
        allows(candidate.instructionSets, tag: step == .softmax ? level?.exactTag ?? candidate.isaTag : candidate.isaTag)
          && (rows >= candidate.minRows || candidate.isaTag == level?.exactTag)
      })
    else {
      preconditionFailure("no kernel for the \(step) of \(format?.rawValue ?? "attention")")
    }
    return chosen
  }
}
