internal import Tessera
internal import TesseraLayers
internal import TesseraModels

/// The rows of a calibration text on their way through a model, layer after layer, window by window.
struct CalibrationStates {
  private var windows: [[Float]]
  private let configuration: LlamaConfiguration

  /// Rows that go through a layer together.
  private static let rowsOfBlock = 512

  /// - Parameter ids: cut into windows of at most `window` tokens.
  init(
    _ ids: some Collection<Int>, window: Int, embedding: [BFloat16], configuration: LlamaConfiguration
  ) throws(ModelError) {
    let width = configuration.hiddenSize
    var windows: [[Float]] = []
    for (index, id) in ids.enumerated() {
      guard (0..<configuration.vocabularySize).contains(id) else {
        throw ModelError.invalidToken(token: id, vocabularySize: configuration.vocabularySize)
      }
      if index % window == 0 { windows.append([]) }
      windows[windows.count - 1] += embedding[id * width..<(id + 1) * width].lazy.map { Float($0) }
    }
    self.windows = windows
    self.configuration = configuration
  }

  /// Runs a layer on all windows, whose rows stay as they are.
  /// - Returns: the rows after the layer, window by window.
  func outputs(
    of layer: LlamaLayer, on executor: Executor, progress: (_ fraction: Double) -> Void
  ) throws(ModelError) -> [[Float]] {
    var results: [[Float]] = []
    var scratch = LayerScratch()
    for window in windows.indices {
      do throws(TesseraError) {
        results.append(try run(layer, windows[window], scratch: &scratch, on: executor))
      } catch {
        throw ModelError.operation(error)
      }
      progress(Double(window + 1) / Double(windows.count))
    }
    return results
  }

  mutating func replace(by results: [[Float]]) { windows = results }

  private func run(
    _ layer: LlamaLayer, _ window: [Float], scratch: inout LayerScratch, on executor: Executor
  ) throws(TesseraError) -> [Float] {
    let width = configuration.hiddenSize
    var result: [Float] = []
    result.reserveCapacity(window.count)
    var states = [SequenceState(caches: [layer.attention.makeCache()])]
    for first in stride(from: 0, to: window.count / width, by: CalibrationStates.rowsOfBlock) {
      let rows = first..<min(first + CalibrationStates.rowsOfBlock, window.count / width)
      var x = Array(window[rows.lowerBound * width..<rows.upperBound * width])
      let step = AttentionStep(tokens: [rows.count], after: [first], rotary: configuration.rotary)
      try layer(
        &x, step, epsilon: configuration.normEpsilon, states: &states, index: 0, scratch: &scratch, on: executor)
      result += x
    }
    return result
  }

  /// The rows as the head sees them, behind the last norm.
  func normalized(by weight: [Float], on executor: Executor, _ body: (Span<Float>) -> Void) throws(ModelError) {
    for window in windows {
      var normed = [Float](repeating: 0, count: window.count)
      do throws(TesseraError) {
        var target = normed.mutableSpan
        try executor.normalize(
          window.span, weight: weight.span, epsilon: configuration.normEpsilon, into: &target)
      } catch {
        throw ModelError.operation(error)
      }
      body(normed.span)
    }
  }

  /// ||a - b||^2 over ||b - x||^2 of all windows: what a changed layer does differently, of all that the layer does.
  func relativeError(of changed: [[Float]], to original: [[Float]]) -> Double {
    var (error, whole) = (0.0, 0.0)
    for (window, x) in windows.enumerated() {
      for index in x.indices {
        let difference = Double(changed[window][index]) - Double(original[window][index])
        let step = Double(original[window][index]) - Double(x[index])
        error += difference * difference
        whole += step * step
      }
    }
    return error == 0 ? 0 : error / whole
  }
}
