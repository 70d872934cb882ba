#include "text/chat_template.h"

#include <algorithm>

#include "support/error.h"
#include "text/jinja/jinja.h"
#include "text/jinja/value.h"

namespace outboard::text {
namespace {

constexpr const char* kKey = "tokenizer.chat_template";

bool is_word(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

// Roles and types name parts of a conversation and are no text of anyone: templates put their own
// markers together with them, '<|' + role + '|>'.
bool is_structure(std::string_view key, const nlohmann::ordered_json& value) {
  return (key == "role" || key == "type") && value.is_string() &&
         is_word(value.get_ref<const std::string&>());
}

jinja::Value traced(const nlohmann::ordered_json& json, Origin origin) {
  if (json.is_array()) {
    jinja::Values items;
    for (const auto& item : json) items.push_back(traced(item, origin));
    return jinja::make_list(std::move(items));
  }
  if (json.is_object()) {
    std::vector<std::pair<jinja::Value, jinja::Value>> items;
    for (const auto& [key, value] : json.items())
      items.emplace_back(jinja::Value(TracedText(key, origin)),
                         traced(value, is_structure(key, value) ? Origin::kTemplate : origin));
    return jinja::make_dict(std::move(items));
  }
  return jinja::Value::from_json(json, origin);
}

}  // namespace

struct ChatTemplate::State {
  std::string source, bos, eos;
  jinja::Template program;
};

ChatTemplate::ChatTemplate(std::string_view source, std::string bos, std::string eos) {
  try {
    state_ = std::make_unique<State>(
        State{std::string(source), std::move(bos), std::move(eos), jinja::Template(source)});
  } catch (Error& error) {
    error.add_context("chat template");
    throw;
  }
}

ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

ChatTemplate ChatTemplate::from_metadata(const formats::Metadata& metadata,
                                         const Tokenizer& tokenizer) {
  if (!metadata.contains(kKey))
    throw Error(fmt::format("{}: missing, expected the model's chat template", kKey),
                "This model was not made for conversations; use --raw to continue a plain text.");
  const auto spelled = [&](int32_t id) {
    return id >= 0 ? std::string(tokenizer.token_text(id)) : std::string();
  };
  return {metadata.get_string(kKey), spelled(tokenizer.bos()), spelled(tokenizer.eos())};
}

TracedText ChatTemplate::render(const std::vector<Message>& messages,
                                const ChatOptions& options) const {
  using Json = nlohmann::ordered_json;
  jinja::Values list;
  for (const Message& message : messages) {
    Json fields = {{"role", message.role}, {"content", message.content}};
    for (const auto& [key, value] : message.extra.items()) fields[key] = value;
    list.push_back(traced(fields, message.role == "assistant" ? Origin::kModel : Origin::kMessage));
  }
  // Those that are given replace these.
  Json variables = {{"add_generation_prompt", options.add_generation_prompt},
                    {"bos_token", state_->bos},
                    {"eos_token", state_->eos},
                    // transformers always passes these two, as None when there are none.
                    {"tools", options.tools},
                    {"documents", nullptr}};
  for (const auto& [key, value] : options.variables.items()) variables[key] = value;
  try {
    jinja::Variables values;
    if (!options.variables.contains("messages"))
      values.list.emplace_back("messages", jinja::make_list(std::move(list)));
    for (const auto& [key, value] : variables.items())
      values.list.emplace_back(
          key, traced(value, key == "bos_token" || key == "eos_token" ? Origin::kTemplate
                                                                      : Origin::kMessage));
    TracedText prompt = state_->program.render_traced(values);
    if (options.trust_markers) prompt.trust();
    return prompt;
  } catch (Error& error) {
    error.add_context("chat template");
    throw;
  }
}

bool ChatTemplate::starts_with_bos(std::string_view rendered) const {
  return !state_->bos.empty() && rendered.starts_with(state_->bos);
}

const std::string& ChatTemplate::source() const { return state_->source; }

}  // namespace outboard::text
