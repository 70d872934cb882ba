// Messages as OpenAI's protocol has them, made into what a model's template can write.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "chat/format.h"
#include "text/chat_template.h"

namespace outboard::chat {

// What a template can do, found by rendering small conversations with it and looking for their
// words in the result (llama.cpp finds it the same way).
struct TemplateAbilities {
  bool system_role = false;
  bool developer_role = false;
  bool late_system = false;      // a system message behind others
  bool user_after_user = false;  // two in a row
  bool tool_role = false;        // writes results of calls
  bool tool_calls = false;       // writes the calls of a message
  bool parallel_calls = false;   // more than one of them
  // What is said beside calls is left out, but written when it has a message of its own in front.
  bool content_apart = false;
  bool string_arguments = false;  // wants a call's arguments as JSON text, not as an object
  bool null_content = false;      // writes calls only beside a content of null
  bool string_content = true;     // false: content has to be a list of parts
  std::string reasoning_field;    // "reasoning_content", "thinking", "reasoning"; empty: none
};
TemplateAbilities abilities_of(const text::ChatTemplate& chat_template);

// messages: an array of OpenAI's chat messages:
//   role          system, developer, user, assistant, tool (or function)
//   content       text, null, or an array of {"type": "text", "text": ...}
//   tool_calls    [{"id":, "type": "function", "function": {"name":, "arguments": text or object}}]
//   tool_call_id  of a tool's result
//   name, reasoning_content (or reasoning), any others are handed on
// The result is fit to be rendered by the template these abilities are of. What the template has no
// words for is said in others: developer becomes system; system messages that may not come late are
// joined to the first, or, where there may be none, to the user's next message; results become a
// user's message, calls the text of an answer in the format's layout; several calls in one message
// become one message each, every result behind its call. Ids that the template would refuse are
// replaced, in calls and results alike. A result without an id belongs to the first call that has
// none yet.
// Throws Error, "messages[3]: ...", for what is no conversation: no array, an unknown role, parts
// that are not text, calls without a name or with arguments that are no JSON object, a result for a
// call that nobody made.
std::vector<text::Message> prepare(const nlohmann::ordered_json& messages, const Format& format,
                                   const TemplateAbilities& abilities);

// Variables for ChatOptions::variables that make this template ask for thinking or not:
//   {"enable_thinking": false}, {"thinking": true}, {"reasoning_effort": "high"} ...
// Nothing where its text names no such variable: the model always does what it does. An effort that
// the template does not list becomes the next that it does; one that says only how much (gpt-oss)
// and is asked for none becomes the least.
struct ThinkingChoice {
  std::optional<bool> on;  // nothing: as the template has it
  // "none", "minimal", "low", "medium", "high", "xhigh", "max"; empty: not said. "none" is off.
  // Throws Error for another word.
  std::string effort;
};
std::optional<nlohmann::ordered_json> thinking_variables(const Format& format,
                                                         const ThinkingChoice& choice);

}  // namespace outboard::chat
