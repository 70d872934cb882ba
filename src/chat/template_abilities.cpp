#include <algorithm>
#include <optional>

#include "chat/conversation.h"
#include "support/error.h"

namespace outboard::chat {
namespace {

using Json = nlohmann::ordered_json;
using text::Message;

// Words that no template writes by itself.
constexpr const char* kUser = "QuestionWord";
constexpr const char* kProbe = "ProbeWord";
constexpr const char* kOther = "OtherWord";

Message message(std::string role, std::string content) {
  return {std::move(role), std::move(content), Json::object()};
}

class Probes {
 public:
  explicit Probes(const text::ChatTemplate& chat_template) : template_(chat_template) {}

  // What the template makes of it; nothing where it refuses. Some templates fail without tools, and
  // some with them.
  std::optional<std::string> rendered(const std::vector<Message>& messages) const {
    text::ChatOptions options;
    options.variables = {{"enable_thinking", true}, {"thinking", true}};
    options.tools = Json::array();
    for (const char* name : {"first_tool", "second_tool"})
      options.tools.push_back(
          {{"type", "function"},
           {"function",
            {{"name", name},
             {"description", "a tool"},
             {"parameters",
              {{"type", "object"},
               {"properties", {{"key", {{"type", "string"}, {"description", "a key"}}}}},
               {"required", Json::array({"key"})}}}}}});
    auto text = rendered(messages, options);
    if (text) return text;
    options.tools = nullptr;
    return rendered(messages, options);
  }
  bool writes(const std::vector<Message>& messages, std::string_view word) const {
    const auto text = rendered(messages);
    return text && text->find(word) != std::string::npos;
  }

 private:
  std::optional<std::string> rendered(const std::vector<Message>& messages,
                                      const text::ChatOptions& options) const {
    try {
      return template_.render(messages, options).bytes();
    } catch (const Error&) {
      return std::nullopt;  // that is the answer to the probe
    }
  }

  const text::ChatTemplate& template_;
};

Json call(const char* id, const char* name, const char* value, bool as_text) {
  const Json arguments = Json::object({{"key", value}});
  return {
      {"id", id},
      {"type", "function"},
      {"function", {{"name", name}, {"arguments", as_text ? Json(arguments.dump()) : arguments}}}};
}

Message calling(bool as_text, bool null_content, bool two) {
  Message answer = message("assistant", "");
  if (null_content) answer.extra["content"] = nullptr;
  answer.extra["tool_calls"] = Json::array({call("abcdefghi", "first_tool", kProbe, as_text)});
  if (two) answer.extra["tool_calls"].push_back(call("bcdefghij", "second_tool", kOther, as_text));
  return answer;
}

Message result(const char* id, const char* name, const char* content) {
  Message answer = message("tool", content);
  answer.extra = {{"tool_call_id", id}, {"name", name}};
  return answer;
}

// The arguments in JSON or in tags, not as Python prints a dict nor as JSON within JSON.
bool is_written_well(std::string_view text) {
  text = text.substr(std::min(text.find(kUser), text.size()));  // tools may be described before
  return text.find(kProbe) != std::string_view::npos &&
         text.find("first_tool") != std::string_view::npos &&
         text.find("{'key'") == std::string_view::npos &&
         text.find("\\\"key") == std::string_view::npos;
}

void find_calls(const Probes& probes, TemplateAbilities& can) {
  const Message user = message("user", kUser);
  for (const bool null_content : {false, true})
    for (const bool as_text : {false, true})
      for (const bool with_result : {true, false}) {
        std::vector<Message> messages = {user, calling(as_text, null_content, false)};
        if (with_result) messages.push_back(result("abcdefghi", "first_tool", "ResultWord"));
        const auto text = probes.rendered(messages);
        if (!text || !is_written_well(*text)) continue;
        can.tool_calls = true;
        can.string_arguments = as_text;
        can.null_content = null_content;
        can.tool_role = text->find("ResultWord") != std::string::npos;
        messages[1] = calling(as_text, null_content, true);
        if (with_result) messages.push_back(result("bcdefghij", "second_tool", "ResultWord"));
        const auto both = probes.rendered(messages);
        can.parallel_calls = both && both->find(kProbe) != std::string::npos &&
                             both->find(kOther) != std::string::npos;
        messages[1] = calling(as_text, null_content, false);
        messages.resize(with_result ? 3 : 2);
        const Message said = message("assistant", kOther);
        std::vector<Message> together = messages;
        together[1].content = kOther;
        together[1].extra.erase("content");
        std::vector<Message> apart = messages;
        apart.insert(apart.begin() + 1, said);
        const auto has_both = [&](const std::vector<Message>& probe) {
          return probes.writes(probe, kOther) && probes.writes(probe, kProbe);
        };
        can.content_apart = !has_both(together) && has_both(apart);
        return;
      }
  can.tool_role =
      probes.writes({user, message("assistant", "x"), result("abcdefghi", "a", kProbe)}, kProbe);
}

std::string find_reasoning(const Probes& probes, const TemplateAbilities& can) {
  for (const char* field : {"reasoning_content", "thinking", "reasoning"}) {
    Message thought = message("assistant", "x");
    thought.extra[field] = kOther;
    if (probes.writes({message("user", kUser), thought}, kOther)) return field;
    if (!can.tool_calls) continue;
    Message calls = calling(can.string_arguments, can.null_content, false);
    calls.extra[field] = kOther;
    if (probes.writes({message("user", kUser), calls, result("abcdefghi", "first_tool", "x")},
                      kOther))
      return field;
  }
  return "";
}

}  // namespace

TemplateAbilities abilities_of(const text::ChatTemplate& chat_template) {
  const Probes probes(chat_template);
  TemplateAbilities can;
  const Message user = message("user", kUser);
  const Message answer = message("assistant", "AnswerWord");
  const auto both = [&](const std::vector<Message>& messages) {
    return probes.writes(messages, kProbe) && probes.writes(messages, kUser);
  };
  Message parts = message("user", "");
  parts.extra["content"] = Json::array({{{"type", "text"}, {"text", kUser}}});
  can.string_content = probes.writes({user}, kUser) || !probes.writes({parts}, kUser);
  can.system_role = both({message("system", kProbe), user});
  can.late_system = both({user, answer, message("system", kProbe), user});
  can.developer_role = chat_template.source().find("developer") != std::string::npos &&
                       both({message("developer", kProbe), user});
  can.user_after_user = both({user, message("user", kProbe)});
  find_calls(probes, can);
  can.reasoning_field = find_reasoning(probes, can);
  return can;
}

}  // namespace outboard::chat
