internal import CKernels
internal import Tessera

/// A case's numbers as a kernel gets them, in memory that ends or begins at an inaccessible page and cannot be written.
struct AttentionOperands {
  let attentionCase: AttentionCase
  let elements: AttentionElements
  /// What the cache holds after `elements.stored` was written to it, tokens x dimension.
  let held: [Float]
  /// Queries, probabilities, or scores; a row every `leftStride` floats. Scores are a pattern to copy from.
  let left: GuardedBuffer
  let leftStride: Int
  /// What holds the rows.
  let parts: [GuardedBuffer]
  private let partList: GuardedBuffer
  private let visible: GuardedBuffer
  private let tree: GuardedBuffer?

  /// nil when the system refuses memory.
  init?(_ attentionCase: AttentionCase, _ kernel: AttentionKernel) {
    let place = attentionCase.guardPage
    let elements = AttentionElements(attentionCase, kernel)
    self.attentionCase = attentionCase
    self.elements = elements
    let rowCount = kernel.step == .keys ? attentionCase.dimension : attentionCase.tokens
    let rowExtent = kernel.step == .keys ? rowCount : attentionCase.parts * Int(CK_KV_TOKENS)
    leftStride = rowExtent + attentionCase.gap
    guard
      let left = GuardedBuffer(byteCount: ((attentionCase.rows - 1) * leftStride + rowExtent) * 4, guardPage: place),
      let (parts, held) = AttentionOperands.store(elements.stored, attentionCase, kernel),
      let partList = GuardedBuffer(copying: parts.map { UnsafeRawPointer($0.base) }, guardPage: place),
      let visible = GuardedBuffer(copying: elements.view.visible, guardPage: place)
    else { return nil }
    (self.left, self.parts, self.held, self.partList, self.visible) = (left, parts, held, partList, visible)
    tree = elements.view.tree.flatMap { GuardedBuffer(copying: $0, guardPage: place) }
    if tree == nil, elements.view.tree != nil { return nil }
    for row in 0..<attentionCase.rows {
      let target = left.pointer(to: Float.self) + row * leftStride
      for column in 0..<rowCount { target[column] = elements.left[row * rowCount + column] }
      // Probabilities beyond the tokens are 0, scores anything.
      if kernel.step == .values { for column in rowCount..<rowExtent { target[column] = 0 } }
    }
    for buffer in parts + [left, partList, visible] { buffer.freeze() }
    tree?.freeze()
  }

  /// The parts, their later rows poisoned, and what reading them gives.
  private static func store(
    _ rows: [Float], _ attentionCase: AttentionCase, _ kernel: AttentionKernel
  ) -> (parts: [GuardedBuffer], held: [Float])? {
    guard let type = kernel.rowType else { return ([], []) }
    let (dimension, slots) = (attentionCase.dimension, Int(CK_KV_TOKENS))
    var parts: [GuardedBuffer] = []
    for _ in 0..<attentionCase.parts {
      let byteCount = ck_kv_part_bytes(type, dimension)
      guard let part = GuardedBuffer(byteCount: byteCount, guardPage: attentionCase.guardPage) else { return nil }
      parts.append(part)
    }
    var held = [Float](repeating: 0, count: rows.count)
    rows.withUnsafeBufferPointer { rows in
      held.withUnsafeMutableBufferPointer { held in
        guard let rows = rows.baseAddress, let held = held.baseAddress else { return }
        for token in 0..<attentionCase.tokens {
          let part = parts[token / slots].base
          ck_kv_write(type, dimension, part, token % slots, rows + token * dimension)
          ck_kv_read(type, dimension, part, token % slots, held + token * dimension)
        }
      }
    }
    return (parts, held)
  }

  func span(tokens: Int) -> ck_kv_span {
    ck_kv_span(parts: partList.pointer(to: UnsafeRawPointer.self), tokens: tokens, dim: attentionCase.dimension, next: nil)
  }

  func queries(_ rows: Range<Int>) -> ck_attention_queries {
    ck_attention_queries(
      rows: rows.count, q: left.pointer(to: Float.self) + rows.lowerBound * leftStride, stride: leftStride)
  }

  func softmax(_ rows: Range<Int>, tokens: Int, into output: AttentionOutput) -> ck_attention_softmax_call {
    ck_attention_softmax_call(
      rows: rows.count, tokens: tokens, first: elements.view.first, scale: elements.view.scale,
      visible: visible.pointer(to: UInt32.self) + rows.lowerBound, tree_first: elements.view.treeFirst,
      tree: tree.map { UnsafePointer($0.pointer(to: UInt64.self) + rows.lowerBound) },
      scores: output.values.pointer(to: Float.self), stride: output.stride, max: output.max.pointer(to: Float.self),
      sum: output.sum.pointer(to: Float.self))
  }

  /// Where an address lies in an operand.
  func place(of address: UInt) -> String? {
    let named =
      [("q or p", left), ("the list of parts", partList), ("visible", visible)]
      + parts.enumerated().map { ("part \($0.offset)", $0.element) } + (tree.map { [("tree", $0)] } ?? [])
    return named.lazy.compactMap { $0.1.place(of: address, name: $0.0) }.first
  }
}

extension AttentionCase {
  /// Of keys or values.
  var parts: Int { (tokens - 1) / Int(CK_KV_TOKENS) + 1 }
}

extension AttentionKernel {
  /// How the rows that it reads are stored; nil for the softmax.
  var rowType: ck_kv_type? { step == .values ? format?.valueType : format?.keyType }
}
