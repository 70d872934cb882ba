// A conversation to the prompt text that a model was trained on, by the model's own template.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "formats/metadata.h"
#include "text/tokenizer.h"
#include "text/traced_text.h"

namespace outboard::text {

struct Message {
  std::string role;     // "system", "user", "assistant", "tool", ...
  std::string content;  // UTF-8
  // Any further fields the template may read, as an object: tool_calls, tool_call_id, name,
  // reasoning_content, ... A field "content" here replaces the string above (a list of parts, or
  // null beside tool calls).
  nlohmann::ordered_json extra = nlohmann::ordered_json::object();
};

struct ChatOptions {
  bool add_generation_prompt = true;       // end with the opening of the assistant's turn
  nlohmann::ordered_json tools = nullptr;  // null: none; otherwise a list of function descriptions
  // Text of messages may become control tokens too, as if the template had written it.
  bool trust_markers = false;
  // More variables for the template, for example {"enable_thinking": false}.
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
};

// Immutable after construction; render() may be called from any thread.
class ChatTemplate {
 public:
  // source: Jinja text (jinja2 with the settings of Hugging Face transformers). bos and eos are
  // the token texts the template calls bos_token and eos_token. Throws Error with line and reason
  // when the source can not be parsed.
  ChatTemplate(std::string_view source, std::string bos, std::string eos);
  // tokenizer.chat_template of the model. Throws Error with the hint to use --raw if the model has
  // none.
  static ChatTemplate from_metadata(const formats::Metadata& metadata, const Tokenizer& tokenizer);

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // The prompt, and which of it the template wrote: Tokenizer::encode(TracedText) lets nothing else
  // become a control token. Tokenize it with add_special=false when starts_with_bos(), because most
  // templates write the bos token themselves. Throws Error when the template refuses the
  // conversation (raise_exception) or exceeds the engine's limits.
  TracedText render(const std::vector<Message>& messages, const ChatOptions& options = {}) const;

  // True if rendered text begins with the bos token already.
  bool starts_with_bos(std::string_view rendered) const;
  const std::string& source() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace outboard::text
