#include "chat/conversation.h"

#include <algorithm>
#include <map>

#include "chat/call_scanner.h"
#include "support/error.h"

namespace outboard::chat {
namespace {

using Json = nlohmann::ordered_json;
using text::Message;

std::string dumped(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void join(std::string& text, std::string_view more) {
  if (!text.empty() && !more.empty()) text += "\n\n";
  text += more;
}

bool has_calls(const Message& message) { return message.extra.contains("tool_calls"); }

// OpenAI's messages, checked, one by one.
class Reader {
 public:
  explicit Reader(const Json& messages) : messages_(messages) {}

  std::vector<Message> read() {
    if (!messages_.is_array()) fail("messages: expected a list of messages");
    if (messages_.empty()) fail("messages: expected at least one message");
    std::vector<Message> found;
    for (at_ = 0; at_ < messages_.size(); ++at_) {
      try {
        found.push_back(message(messages_[at_]));
      } catch (Error& e) {
        e.add_context(fmt::format("messages[{}]", at_));
        throw;
      }
    }
    return found;
  }

 private:
  struct Made {
    std::string id, name;
    bool answered;
  };

  Message message(const Json& json) {
    if (!json.is_object()) fail("expected an object, got {}", json.type_name());
    const auto role = json.find("role");
    if (role == json.end() || !role->is_string()) fail("role: expected a text");
    Message message;
    message.role = role->get<std::string>();
    if (message.role == "function") message.role = "tool";
    static const std::vector<std::string> kRoles = {"system", "developer", "user", "assistant",
                                                    "tool"};
    if (std::ranges::find(kRoles, message.role) == kRoles.end())
      fail("role: {} is none of {}", dumped(*role), fmt::join(kRoles, ", "));
    if (const auto content = json.find("content"); content != json.end())
      message.content = content_of(*content);
    for (const auto& [key, value] : json.items()) {
      if (key == "role" || key == "content" || key == "tool_calls" || value.is_null()) continue;
      if (key == "reasoning_content" || key == "reasoning" || key == "thinking") {
        // Under one name, until the template's own is known.
        if (value.is_string() && !value.get_ref<const std::string&>().empty())
          message.extra["reasoning_content"] = value;
        continue;
      }
      message.extra[key] = value;
    }
    if (message.role == "tool") result(message);
    const auto calls = json.find("tool_calls");
    if (calls != json.end() && !calls->is_null() && !(calls->is_array() && calls->empty())) {
      if (message.role != "assistant")
        fail("tool_calls: only an assistant's message may have them");
      message.extra["tool_calls"] = calls_of(*calls);
    }
    return message;
  }

  static std::string content_of(const Json& content) {
    if (content.is_null()) return {};
    if (content.is_string()) return content.get<std::string>();
    if (!content.is_array())
      fail("content: expected a text or a list of parts, got {}", content.type_name());
    std::string text;
    for (size_t i = 0; i < content.size(); ++i) {
      const Json& part = content[i];
      Json type = "text";
      if (part.is_object() && part.contains("type")) type = part["type"];
      if (!part.is_object() && !part.is_string())
        fail("content[{}]: expected a part, got {}", i, part.type_name());
      const char* key = type == "refusal" ? "refusal" : "text";
      if (type != "text" && type != "input_text" && type != "output_text" && type != "refusal")
        fail("content[{}]: a part of type {}: this model reads text only", i, dumped(type));
      if (!part.is_string() && (!part.contains(key) || !part[key].is_string()))
        fail("content[{}]: expected a {}", i, key);
      if (i > 0) text += '\n';
      text += part.is_string() ? part.get<std::string>() : part[key].get<std::string>();
    }
    return text;
  }

  Json calls_of(const Json& list) {
    if (!list.is_array()) fail("tool_calls: expected a list, got {}", list.type_name());
    Json calls = Json::array();
    for (size_t i = 0; i < list.size(); ++i) {
      const Json& one = list[i];
      const Json* function = one.is_object() && one.contains("function") ? &one["function"] : &one;
      if (!function->is_object() || !function->contains("name") ||
          !(*function)["name"].is_string() ||
          (*function)["name"].get_ref<const std::string&>().empty())
        fail("tool_calls[{}]: expected a function with a name", i);
      Json arguments = Json::object();
      if (function->contains("arguments")) {
        std::string text;
        if (!arguments_of((*function)["arguments"], text))
          fail("tool_calls[{}]: arguments: expected a JSON object, got {}", i,
               dumped((*function)["arguments"]));
        arguments = Json::parse(text);
      }
      std::string id = one.contains("id") && one["id"].is_string() ? one["id"].get<std::string>()
                                                                   : std::string();
      if (id.empty()) id = fmt::format("call_{}_{}", at_, i);
      const std::string name = (*function)["name"];
      made_.push_back({id, name, false});
      calls.push_back({{"id", id},
                       {"type", "function"},
                       {"function", {{"name", name}, {"arguments", std::move(arguments)}}}});
    }
    return calls;
  }

  // Which call this is the result of. Templates read its id, its name or both.
  void result(Message& message) {
    const auto given = message.extra.find("tool_call_id");
    const bool has_id = given != message.extra.end() && given->is_string();
    const std::string id = has_id ? given->get<std::string>() : std::string();
    const std::string name = message.extra.contains("name") && message.extra["name"].is_string()
                                 ? message.extra["name"].get<std::string>()
                                 : std::string();
    // Ids may come again in a long conversation: the last call counts.
    auto found = made_.rend();
    for (auto at = made_.rbegin(); has_id && at != made_.rend(); ++at)
      if (at->id == id) {
        found = at;
        break;
      }
    if (!has_id)
      for (auto at = made_.rbegin(); at != made_.rend(); ++at)
        if (!at->answered && (name.empty() || name == at->name)) found = at;
    if (found == made_.rend())
      fail("{}: no call before this has been made that it could be the result of",
           has_id ? fmt::format("tool_call_id {}", dumped(id)) : std::string("a tool's result"));
    found->answered = true;
    message.extra["tool_call_id"] = found->id;
    message.extra["name"] = found->name;
  }

  const Json& messages_;
  size_t at_ = 0;
  std::vector<Made> made_;
};

// The rest: one step after the other, each for something that a template may lack.

void place_system(std::vector<Message>& messages, const TemplateAbilities& can) {
  for (Message& message : messages)
    if (message.role == "developer" && !can.developer_role) message.role = "system";
  const auto is_system = [](const Message& m) {
    return m.role == "system" || m.role == "developer";
  };
  std::vector<Message> kept;
  std::string first;  // in front of all others
  std::string first_role;
  std::string for_user;  // for the next message of the user
  for (Message& message : messages) {
    if (is_system(message)) {
      const bool leads = kept.empty();
      if (!can.system_role && message.role == "system") {
        join(for_user, message.content);
        continue;
      }
      if (leads || !can.late_system) {
        // Templates look at the first message only, or refuse a second.
        if (first_role.empty()) first_role = message.role;
        join(first, message.content);
        continue;
      }
    }
    if (message.role == "user" && !for_user.empty()) {
      join(for_user, message.content);
      message.content = std::exchange(for_user, {});
    }
    kept.push_back(std::move(message));
  }
  if (!for_user.empty()) kept.push_back({"user", for_user, Json::object()});
  if (!first_role.empty()) kept.insert(kept.begin(), Message{first_role, first, Json::object()});
  messages = std::move(kept);
}

// Mistral's templates refuse other ids than their own.
void fit_ids(std::vector<Message>& messages, size_t length) {
  std::map<std::string, std::string> fitting;
  const auto fit = [&](Json& id) {
    const std::string text = id.get<std::string>();
    const bool fits =
        text.size() == length && std::ranges::all_of(text, [](char c) {
          return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        });
    if (fits) return;
    const auto [at, is_new] = fitting.try_emplace(text);
    if (is_new) at->second = fmt::format("{:0{}}", fitting.size(), length);
    id = at->second;
  };
  for (Message& message : messages) {
    if (has_calls(message))
      for (Json& call : message.extra["tool_calls"]) fit(call["id"]);
    if (message.role == "tool") fit(message.extra["tool_call_id"]);
  }
}

// Each call in a message of its own, with its results behind it.
void split_calls(std::vector<Message>& messages) {
  std::vector<Message> parted;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!has_calls(messages[i]) || messages[i].extra["tool_calls"].size() < 2) {
      parted.push_back(std::move(messages[i]));
      continue;
    }
    size_t end = i + 1;
    while (end < messages.size() && messages[end].role == "tool") ++end;
    const Json calls = messages[i].extra["tool_calls"];
    std::vector<bool> taken(end);
    for (size_t c = 0; c < calls.size(); ++c) {
      Message one{"assistant", "", Json::object()};
      if (c == 0) one = messages[i];
      one.extra["tool_calls"] = Json::array({calls[c]});
      parted.push_back(std::move(one));
      for (size_t r = i + 1; r < end; ++r)
        if (!taken[r] && messages[r].extra["tool_call_id"] == calls[c]["id"]) {
          taken[r] = true;
          parted.push_back(messages[r]);
        }
    }
    for (size_t r = i + 1; r < end; ++r)
      if (!taken[r]) parted.push_back(messages[r]);
    i = end - 1;
  }
  messages = std::move(parted);
}

// Calls as text, for templates that leave them out: in the format's markers where these stand
// around JSON, else the JSON alone.
std::string calls_as_text(const Json& calls, const CallSyntax& syntax) {
  const bool marked = syntax.body == CallBody::kJson && !syntax.bare;
  std::vector<std::string> objects;
  for (const Json& call : calls) {
    const Json& function = call["function"];
    const std::string name_key = syntax.name_key.empty() ? "name" : syntax.name_key;
    const std::string arguments_key =
        syntax.arguments_key.empty() ? "arguments" : syntax.arguments_key;
    objects.push_back(
        dumped({{name_key, function["name"]}, {arguments_key, function["arguments"]}}));
  }
  if (marked && syntax.one_array)
    return fmt::format("{}[{}]{}", syntax.open, fmt::join(objects, ", "), syntax.close);
  if (marked)
    for (std::string& object : objects)
      object = fmt::format("{}\n{}\n{}", syntax.open, object, syntax.close);
  return fmt::format("{}", fmt::join(objects, "\n"));
}

void say_in_words(std::vector<Message>& messages, const Format& format,
                  const TemplateAbilities& can) {
  for (Message& message : messages) {
    if (has_calls(message) && !can.tool_calls) {
      if (!message.content.empty()) message.content += "\n";
      message.content += calls_as_text(message.extra["tool_calls"], format.calls);
      message.extra.erase("tool_calls");
    }
    if (message.role == "tool" && !can.tool_role) {
      message.content = fmt::format("Result of {}:\n{}", message.extra["name"].get<std::string>(),
                                    message.content);
      message.role = "user";
      message.extra = Json::object();
    }
  }
}

void part_content(std::vector<Message>& messages) {
  std::vector<Message> parted;
  for (Message& message : messages) {
    if (has_calls(message) && !message.content.empty()) {
      parted.push_back({"assistant", std::exchange(message.content, {}), Json::object()});
      if (const auto thought = message.extra.find("reasoning_content");
          thought != message.extra.end()) {
        parted.back().extra["reasoning_content"] = *thought;
        message.extra.erase("reasoning_content");
      }
    }
    parted.push_back(std::move(message));
  }
  messages = std::move(parted);
}

void join_users(std::vector<Message>& messages) {
  std::vector<Message> joined;
  for (Message& message : messages) {
    if (message.role == "user" && !joined.empty() && joined.back().role == "user")
      join(joined.back().content, message.content);
    else
      joined.push_back(std::move(message));
  }
  messages = std::move(joined);
}

void fit_fields(Message& message, const Format& format, const TemplateAbilities& can) {
  if (const auto thought = message.extra.find("reasoning_content");
      thought != message.extra.end()) {
    const std::string text = *thought;
    message.extra.erase("reasoning_content");
    if (!can.reasoning_field.empty()) message.extra[can.reasoning_field] = text;
    if (format.calls.body == CallBody::kChannels && has_calls(message) &&
        !message.content.empty()) {
      // Beside a call harmony's template writes one of the two, and refuses both.
      join(message.extra[can.reasoning_field].get_ref<std::string&>(), message.content);
      message.content.clear();
    }
  }
  if (has_calls(message)) {
    if (can.string_arguments)
      for (Json& call : message.extra["tool_calls"]) {
        Json& arguments = call["function"]["arguments"];
        arguments = dumped(arguments);
      }
    if (can.null_content && message.content.empty()) message.extra["content"] = nullptr;
  }
  if (!can.string_content)
    message.extra["content"] = Json::array({{{"type", "text"}, {"text", message.content}}});
}

}  // namespace

std::vector<Message> prepare(const Json& messages, const Format& format,
                             const TemplateAbilities& abilities) {
  std::vector<Message> ready = Reader(messages).read();
  place_system(ready, abilities);
  if (format.calls.id_length > 0) fit_ids(ready, format.calls.id_length);
  if (!abilities.parallel_calls && abilities.tool_calls) split_calls(ready);
  if (abilities.content_apart) part_content(ready);
  say_in_words(ready, format, abilities);
  if (!abilities.user_after_user) join_users(ready);
  for (Message& message : ready) fit_fields(message, format, abilities);
  return ready;
}

}  // namespace outboard::chat
