#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error.h"
#include "text/jinja/jinja.h"

namespace outboard::text {
namespace {

using testing::HasSubstr;

constexpr const char* kSource =
    "{{ bos_token }}{% for m in messages %}\n  <{{ m.role }}>{{ m.content }}{{ eos_token }}\n"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

TEST(ChatTemplate, Renders) {
  const ChatTemplate chat(kSource, "<s>", "</s>");
  const std::string text = chat.render({{.role = "user", .content = "Hi"}}).bytes();
  EXPECT_EQ(text, "<s>  <user>Hi</s>\n<assistant>");
  EXPECT_TRUE(chat.starts_with_bos(text));
  EXPECT_EQ(chat.render({}, {.add_generation_prompt = false}).bytes(), "<s>");
}

TEST(ChatTemplate, SeesExtraFieldsToolsAndVariables) {
  const ChatTemplate chat(
      "{{ messages[0].tool_calls[0].id }}{{ tools | length }}{{ enable_thinking }}", "", "");
  Message message{.role = "assistant", .content = ""};
  message.extra["tool_calls"] = nlohmann::ordered_json::parse(R"([{"id": "x1"}])");
  ChatOptions options;
  options.tools = nlohmann::ordered_json::parse(R"([{}, {}])");
  options.variables["enable_thinking"] = false;
  EXPECT_EQ(chat.render({message}, options).bytes(), "x12False");
}

TEST(ChatTemplate, NamesTheLineOfAnError) {
  const auto message = [](const char* source) {
    try {
      return ChatTemplate(source, "", "").render({}).bytes();
    } catch (const Error& error) {
      return error.message();
    }
  };
  EXPECT_THAT(message("a\n{{ 1 +"), HasSubstr("chat template: line 2"));
  EXPECT_THAT(message("\n\n{{ raise_exception('no system role') }}"), HasSubstr("line 3"));
  EXPECT_THAT(message("{{ raise_exception('no system role') }}"), HasSubstr("no system role"));
}

TEST(ChatTemplate, MissingOneIsExplained) {
  formats::Metadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("gpt2"));
  metadata.set("tokenizer.ggml.tokens", formats::MetadataArray{std::vector<std::string>{"a"}});
  metadata.set("tokenizer.ggml.merges", formats::MetadataArray{std::vector<std::string>{}});
  const auto tokenizer = Tokenizer::from_metadata(metadata);
  try {
    ChatTemplate::from_metadata(metadata, *tokenizer);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.hint(), HasSubstr("--raw"));
  }
}

TEST(Jinja, LimitsEndHostileTemplates) {
  jinja::Limits limits;
  limits.steps = 1000;
  EXPECT_THROW(jinja::Template("{% for i in range(9999) %}{{ i }}{% endfor %}").render({}, limits),
               Error);
  limits = {};
  limits.output = 10;
  EXPECT_THROW(jinja::Template("{{ 'x' * 11 }}").render({}, limits), Error);
  EXPECT_THROW(jinja::Template("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").render({}),
               Error);
}

TEST(Jinja, SortsWhatHasNoOrder) {
  const jinja::Template source("{{ ['nan' | float, 1.0, 'nan' | float, 0.5] | sort | length }}");
  EXPECT_EQ(source.render(nlohmann::ordered_json::object()), "4");
}

}  // namespace
}  // namespace outboard::text
