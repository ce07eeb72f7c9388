internal import Testing

@testable internal import TesseraCommand

@Suite struct StoppedTextTests {
  /// What comes through when a text arrives in pieces.
  private func shown(_ pieces: [String], stops: [String]) -> (text: String, isStopped: Bool) {
    var text = StoppedText(stops: stops)
    let shown = pieces.map { text.append($0) }.joined() + text.finish()
    #expect(shown == text.written)
    return (shown, text.isStopped)
  }

  @Test func textWithoutStopsComesThrough() {
    #expect(shown(["Hello", ", ", "world"], stops: []) == ("Hello, world", false))
    #expect(shown(["Hello", ", ", "world"], stops: ["\n\n", "END"]) == ("Hello, world", false))
  }

  @Test func textEndsBeforeTheFirstStop() {
    #expect(shown(["one\n\ntwo"], stops: ["\n\n"]) == ("one", true))
    #expect(shown(["one END two STOP"], stops: ["STOP", "END"]) == ("one ", true))
    #expect(shown(["END"], stops: ["END"]) == ("", true))
    #expect(shown(["a", "END", "b", "END"], stops: ["END"]) == ("a", true))
  }

  /// The carriage return and the line feed are one character in Swift, but two bytes in a token stream.
  @Test func stopsAreFoundAcrossPieces() {
    #expect(shown(["one\n", "\ntwo"], stops: ["\n\n"]) == ("one", true))
    #expect(shown(["xE", "N", "Dy"], stops: ["END"]) == ("x", true))
    #expect(shown(["one\r", "\ntwo"], stops: ["\n"]) == ("one\r", true))
    #expect(shown(["ab", "ab", "ac"], stops: ["abac"]) == ("ab", true))
  }

  @Test func heldBackTextComesAfterAll() {
    var text = StoppedText(stops: ["END"])
    #expect(text.append("xEN") == "x")
    #expect(text.append("T") == "ENT")
    #expect(text.append("E") == "")
    #expect(text.finish() == "E")
    #expect(text.written == "xENTE")
  }
}
