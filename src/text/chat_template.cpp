#include "text/chat_template.h"

#include "support/error.h"
#include "text/jinja/jinja.h"

namespace outboard::text {
namespace {

constexpr const char* kKey = "tokenizer.chat_template";

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

std::string ChatTemplate::render(const std::vector<Message>& messages,
                                 const ChatOptions& options) const {
  using Json = nlohmann::ordered_json;
  Json list = Json::array();
  for (const Message& message : messages) {
    Json fields = {{"role", message.role}, {"content", message.content}};
    for (const auto& [key, value] : message.extra.items()) fields[key] = value;
    list.push_back(std::move(fields));
  }
  Json variables = {{"messages", std::move(list)},
                    {"add_generation_prompt", options.add_generation_prompt},
                    {"bos_token", state_->bos},
                    {"eos_token", state_->eos},
                    // transformers always passes these two, as None when there are none.
                    {"tools", options.tools},
                    {"documents", nullptr}};
  for (const auto& [key, value] : options.variables.items()) variables[key] = value;
  try {
    return state_->program.render(variables);
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
