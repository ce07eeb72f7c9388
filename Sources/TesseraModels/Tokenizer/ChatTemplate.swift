/// One turn of a conversation.
public struct ChatMessage: Sendable, Equatable {
  /// `system`, `user` or `assistant`.
  public var role: String
  public var content: String

  public init(role: String, content: String) {
    self.role = role
    self.content = content
  }

  public static func system(_ content: String) -> ChatMessage { ChatMessage(role: "system", content: content) }
  public static func user(_ content: String) -> ChatMessage { ChatMessage(role: "user", content: content) }
  public static func assistant(_ content: String) -> ChatMessage { ChatMessage(role: "assistant", content: content) }
}

/// How a model wants conversations: ChatML, with or without a system message of its own.
///
///     <|im_start|>system
///     You are a helpful assistant.<|im_end|>
///     <|im_start|>user
///     Hello!<|im_end|>
///     <|im_start|>assistant
///
/// Templates are programs in the language Jinja. Tessera runs none: it recognises the ones it knows by their text.
public struct ChatTemplate: Sendable {
  /// The system message before a conversation that begins without one.
  public let defaultSystemMessage: String?
  fileprivate let tokenizer: Tokenizer
  fileprivate let startOfTurn: Int
  fileprivate let endOfTurn: Int

  /// The ids of a conversation. Nothing in a message becomes a control token.
  /// - Parameter promptingReply: whether the beginning of the assistant's next turn follows.
  public func encode(_ messages: [ChatMessage], promptingReply: Bool = true) -> [Int] {
    var ids: [Int] = []
    for message in complete(messages) {
      ids.append(startOfTurn)
      ids += tokenizer.encode("\(message.role)\n\(message.content)")
      ids.append(endOfTurn)
      ids += tokenizer.encode("\n")
    }
    if promptingReply { ids += [startOfTurn] + tokenizer.encode("assistant\n") }
    return ids
  }

  /// The same conversation as text.
  public func render(_ messages: [ChatMessage], promptingReply: Bool = true) -> String {
    complete(messages).map { "<|im_start|>\($0.role)\n\($0.content)<|im_end|>\n" }.joined()
      + (promptingReply ? "<|im_start|>assistant\n" : "")
  }

  private func complete(_ messages: [ChatMessage]) -> [ChatMessage] {
    guard let defaultSystemMessage, let first = messages.first, first.role != "system" else { return messages }
    return [.system(defaultSystemMessage)] + messages
  }
}

extension Tokenizer {
  /// The chat template that the file asks for.
  /// - Throws: `unsupported` when the file has none, or one that is not known, or lacks a token of it.
  public func chatTemplate() throws(TokenizerError) -> ChatTemplate {
    guard let text = chatTemplateText else { throw unsupportedTemplate("none") }
    guard let template = ChatMLTemplate(text) else { throw unsupportedTemplate(String(text.prefix(80))) }
    guard let start = id(ofSpecial: "<|im_start|>"), let end = id(ofSpecial: "<|im_end|>") else {
      throw unsupportedTemplate("ChatML without the tokens <|im_start|> and <|im_end|>")
    }
    return ChatTemplate(
      defaultSystemMessage: template.defaultSystemMessage, tokenizer: self, startOfTurn: start, endOfTurn: end)
  }

  private func unsupportedTemplate(_ found: String) -> TokenizerError {
    .unsupported(file: file, what: "the chat template", found: found, supported: "ChatML as SmolLM2 and Qwen2 write it")
  }
}

/// The two forms of ChatML that models carry, compared byte by byte: any difference could mean something else.
private struct ChatMLTemplate {
  var defaultSystemMessage: String?

  init?(_ text: String) {
    let text = ChatMLTemplate.unescapingLineFeeds(text)
    if text.elementsEqual(Self.loop + Self.turn) { return }
    let before = Self.loop + Self.beforeMessage
    let after = Self.afterMessage + Self.turn
    guard text.starts(with: before), text.reversed().starts(with: after.reversed()), text.count >= before.count + after.count
    else { return nil }
    let message = text[before.count..<text.count - after.count]
    // What would end the string literal or escape something in it.
    guard !message.contains(UInt8(ascii: "'")), !message.contains(UInt8(ascii: "\\")) else { return nil }
    defaultSystemMessage = String(decoding: message, as: UTF8.self)
  }

  private static let loop = Array("{% for message in messages %}".utf8)
  private static let beforeMessage = Array(
    "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n".utf8)
  private static let afterMessage = Array("<|im_end|>\n' }}{% endif %}".utf8)
  private static let turn = Array(
    ("{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
      + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}").utf8)

  /// In a string literal of Jinja, a backslash and an n are a line feed, as the line feed itself is.
  private static func unescapingLineFeeds(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    for byte in text.utf8 {
      if byte == UInt8(ascii: "n"), bytes.last == UInt8(ascii: "\\") {
        bytes[bytes.count - 1] = UInt8(ascii: "\n")
      } else {
        bytes.append(byte)
      }
    }
    return bytes
  }
}
