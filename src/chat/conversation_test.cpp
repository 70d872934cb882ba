#include "chat/conversation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error.h"

namespace outboard::chat {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::SizeIs;

text::ChatTemplate compiled(std::string_view source) { return {source, "", ""}; }

// Writes all there is.
constexpr const char* kAble = R"({%- for m in messages -%}
<{{ m.role }}>{% if m.reasoning_content %}({{ m.reasoning_content }}){% endif %}{{ m.content }}
{%- for c in m.tool_calls or [] %}<tool_call>{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}</tool_call>{% endfor %}
{%- if m.tool_call_id %}[{{ m.tool_call_id }} {{ m.name }}]{% endif -%}
{%- endfor -%}{# developer #})";

// Knows a user and an assistant by turns, and text only.
constexpr const char* kPlain = R"({%- for m in messages -%}
{%- if m.role not in ['user', 'assistant'] or (m.role == 'user') != (loop.index0 % 2 == 0) -%}
{{ raise_exception('no') }}{%- endif -%}
<{{ m.role }}>{{ m.content }}{%- endfor -%})";

TemplateAbilities all() {
  TemplateAbilities can;
  can.system_role = can.developer_role = can.late_system = can.user_after_user = can.tool_role =
      can.tool_calls = can.parallel_calls = true;
  can.reasoning_field = "reasoning_content";
  return can;
}

Json call(const char* id, const char* name, const Json& arguments) {
  return {
      {"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", arguments}}}};
}

const Json& two_calls() {
  static const Json kMessages = Json::array(
      {{{"role", "user"}, {"content", "q"}},
       {{"role", "assistant"},
        {"content", nullptr},
        {"reasoning_content", "hm"},
        {"tool_calls",
         Json::array({call("a", "first", "{\"x\": 1}"), call("b", "second", Json::object())})}},
       {{"role", "tool"}, {"tool_call_id", "b"}, {"content", "rb"}},
       {{"role", "tool"}, {"tool_call_id", "a"}, {"content", "ra"}}});
  return kMessages;
}

// Roles, contents and the rest, a message a line.
std::string shown(const std::vector<text::Message>& messages) {
  std::string text;
  for (const auto& m : messages)
    text +=
        fmt::format("{}: {}{}\n", m.role, m.content, m.extra.empty() ? "" : " " + m.extra.dump());
  return text;
}
std::string prepared(const Json& messages, const TemplateAbilities& can,
                     const Format& format = detect("<tool_call>")) {
  return shown(prepare(messages, format, can));
}
std::string error_of(std::string_view messages) {
  try {
    prepare(Json::parse(messages), detect(""), all());
  } catch (const Error& e) {
    return e.message();
  }
  return "no error";
}

TEST(TemplateAbilities, OfATemplateThatWritesAll) {
  const TemplateAbilities can = abilities_of(compiled(kAble));
  EXPECT_TRUE(can.system_role && can.developer_role && can.late_system && can.user_after_user);
  EXPECT_TRUE(can.tool_role && can.tool_calls && can.parallel_calls && can.string_content);
  EXPECT_FALSE(can.string_arguments || can.null_content || can.content_apart);
  EXPECT_EQ(can.reasoning_field, "reasoning_content");
}

TEST(TemplateAbilities, OfATemplateThatWritesLittle) {
  const TemplateAbilities can = abilities_of(compiled(kPlain));
  EXPECT_FALSE(can.system_role || can.developer_role || can.late_system || can.user_after_user);
  EXPECT_FALSE(can.tool_role || can.tool_calls || can.parallel_calls);
  EXPECT_EQ(can.reasoning_field, "");
}

TEST(TemplateAbilities, HowArgumentsAreWanted) {
  const auto with = [](const char* arguments) {
    return abilities_of(compiled(
        std::string("{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
                    "{{ c.function.name }} ") +
        arguments + "{% endfor %}{% endfor %}"));
  };
  EXPECT_FALSE(with("{{ c.function.arguments | tojson }}").string_arguments);
  EXPECT_TRUE(with("{{ c.function.arguments }}").string_arguments);
  EXPECT_TRUE(with("{{ 'x' + c.function.arguments }}").string_arguments);
  EXPECT_FALSE(with("{% for k, v in c.function.arguments.items() %}{{ k }}={{ v }}{% endfor %}")
                   .string_arguments);
  EXPECT_FALSE(with("{{ c.function.arguments if c.function.arguments is string else "
                    "c.function.arguments | tojson }}")
                   .string_arguments);
}

TEST(TemplateAbilities, ContentOfPartsOnly) {
  EXPECT_FALSE(abilities_of(compiled("{% for m in messages %}{% for p in m.content %}{{ p.text "
                                     "}}{% endfor %}{% endfor %}"))
                   .string_content);
  EXPECT_TRUE(abilities_of(compiled("{% for m in messages %}{% if m.content is string %}{{ "
                                    "m.content }}{% endif %}{% endfor %}"))
                  .string_content);
}

TEST(Conversation, ArgumentsAreObjectsOrTextAsTheTemplateWants) {
  TemplateAbilities can = all();
  EXPECT_EQ(prepared(two_calls(), can),
            "user: q\n"
            "assistant:  "
            "{\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"first\","
            "\"arguments\":{\"x\":1}}},"
            "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"second\",\"arguments\":{}"
            "}}],\"reasoning_content\":\"hm\"}\n"
            "tool: rb {\"tool_call_id\":\"b\",\"name\":\"second\"}\n"
            "tool: ra {\"tool_call_id\":\"a\",\"name\":\"first\"}\n");
  can.string_arguments = true;
  EXPECT_THAT(prepared(two_calls(), can), HasSubstr(R"("arguments":"{\"x\":1}")"));
}

TEST(Conversation, CallsOneByOne) {
  TemplateAbilities can = all();
  can.parallel_calls = false;
  can.reasoning_field = "thinking";
  EXPECT_EQ(prepared(two_calls(), can),
            "user: q\n"
            "assistant:  "
            "{\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"first\","
            "\"arguments\":{\"x\":1}}}],\"thinking\":\"hm\"}\n"
            "tool: ra {\"tool_call_id\":\"a\",\"name\":\"first\"}\n"
            "assistant:  "
            "{\"tool_calls\":[{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":"
            "\"second\",\"arguments\":{}}}]}\n"
            "tool: rb {\"tool_call_id\":\"b\",\"name\":\"second\"}\n");
}

TEST(Conversation, CallsAndResultsInWords) {
  EXPECT_EQ(prepared(two_calls(), {}),
            "user: q\n"
            "assistant: <tool_call>\n{\"name\":\"first\",\"arguments\":{\"x\":1}}\n</tool_call>\n"
            "<tool_call>\n{\"name\":\"second\",\"arguments\":{}}\n</tool_call>\n"
            "user: Result of second:\nrb\n\nResult of first:\nra\n");
  EXPECT_THAT(
      prepared(two_calls(), {}, detect("functools")),
      HasSubstr(
          R"(functools[{"name":"first","arguments":{"x":1}}, {"name":"second","arguments":{}}])"));
  EXPECT_THAT(prepared(two_calls(), {}, detect("")), HasSubstr("assistant: {\"name\":\"first\""));
}

TEST(Conversation, IdsThatFit) {
  const std::string text = prepared(two_calls(), all(), detect("[TOOL_CALLS]"));
  EXPECT_THAT(text, HasSubstr(R"("id":"000000001","type":"function","function":{"name":"first")"));
  EXPECT_THAT(text, HasSubstr(R"(ra {"tool_call_id":"000000001")"));
  EXPECT_THAT(text, HasSubstr(R"(rb {"tool_call_id":"000000002")"));
}

TEST(Conversation, ContentInAMessageOfItsOwn) {
  Json messages = two_calls();
  messages[1]["content"] = "I look.";
  TemplateAbilities can = all();
  EXPECT_THAT(prepared(messages, can), HasSubstr("assistant: I look. {\"tool_calls\""));
  can.content_apart = true;
  EXPECT_THAT(
      prepared(messages, can),
      HasSubstr("assistant: I look. {\"reasoning_content\":\"hm\"}\nassistant:  {\"tool_calls\""));
  // Harmony's template writes one of the two, as thinking.
  can = all();
  can.reasoning_field = "thinking";
  EXPECT_THAT(prepared(messages, can, detect("<|channel|>")),
              HasSubstr(R"("thinking":"hm\n\nI look.")"));
}

TEST(Conversation, NullContentBesideCalls) {
  TemplateAbilities can = all();
  can.null_content = true;
  EXPECT_THAT(prepared(two_calls(), can), HasSubstr("\"content\":null"));
}

TEST(Conversation, SystemMessages) {
  const Json messages =
      Json::parse(R"([{"role": "system", "content": "s"}, {"role": "developer", "content": "d"},
    {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, {"role": "system", "content": "late"},
    {"role": "user", "content": "r"}])");
  TemplateAbilities can = all();
  EXPECT_EQ(prepared(messages, can),
            "system: s\n\nd\nuser: q\nassistant: a\nsystem: late\nuser: r\n");
  can.late_system = can.developer_role = false;
  EXPECT_EQ(prepared(messages, can), "system: s\n\nd\n\nlate\nuser: q\nassistant: a\nuser: r\n");
  EXPECT_EQ(prepared(messages, {}), "user: s\n\nd\n\nq\nassistant: a\nuser: late\n\nr\n");
  EXPECT_EQ(
      prepared(Json::parse(
                   R"([{"role": "developer", "content": "d"}, {"role": "user", "content": "q"}])"),
               all()),
      "developer: d\nuser: q\n");
  EXPECT_EQ(
      prepared(
          Json::parse(R"([{"role": "user", "content": "q"}, {"role": "system", "content": "s"}])"),
          {}),
      "user: q\n\ns\n");
}

TEST(Conversation, ContentOfManyKinds) {
  const Json messages = Json::parse(
      R"([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    {"role": "assistant", "content": null}, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, {"role": "user"}])");
  EXPECT_EQ(prepared(messages, all()), "user: a\nb\nassistant: \nassistant: no\nuser: \n");
  TemplateAbilities can = all();
  can.string_content = false;
  EXPECT_THAT(prepared(messages, can), HasSubstr(R"({"content":[{"type":"text","text":"a\nb"}]})"));
}

TEST(Conversation, ResultsWithoutIdBelongToTheFirstCallWithoutResult) {
  const std::string text = prepared(
      Json::parse(
          R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}, {"function": {"name": "g"}}]},
    {"role": "tool", "content": "1", "name": "g"}, {"role": "function", "content": "2"}])"),
      all());
  EXPECT_THAT(text, HasSubstr(R"(tool: 1 {"name":"g","tool_call_id":"call_0_1"})"));
  EXPECT_THAT(text, HasSubstr(R"(tool: 2 {"tool_call_id":"call_0_0","name":"f"})"));
}

TEST(Conversation, TheSameIdLater) {
  const std::string text = prepared(Json::parse(R"([
    {"role": "assistant", "tool_calls": [{"id": "x", "function": {"name": "f"}}]}, {"role": "tool", "tool_call_id": "x", "content": "1"},
    {"role": "assistant", "tool_calls": [{"id": "x", "function": {"name": "g"}}]}, {"role": "tool", "tool_call_id": "x", "content": "2"}])"),
                                    all());
  EXPECT_THAT(text, HasSubstr(R"(tool: 2 {"tool_call_id":"x","name":"g"})"));
}

TEST(Conversation, SaysWhichMessageIsWrong) {
  EXPECT_THAT(error_of(R"({})"), HasSubstr("messages: expected a list"));
  EXPECT_THAT(error_of(R"([])"), HasSubstr("at least one"));
  EXPECT_THAT(error_of(R"([{"role": "user"}, 3])"), HasSubstr("messages[1]: expected an object"));
  EXPECT_THAT(error_of(R"([{"content": "x"}])"), HasSubstr("messages[0]: role"));
  EXPECT_THAT(error_of(R"([{"role": "robot"}])"), HasSubstr("\"robot\" is none of system"));
  EXPECT_THAT(error_of(R"([{"role": "user", "content": 3}])"),
              HasSubstr("messages[0]: content: expected a text"));
  EXPECT_THAT(error_of(R"([{"role": "user", "content": [{"type": "image_url"}]}])"),
              HasSubstr("messages[0]: content[0]: a part of type \"image_url\""));
  EXPECT_THAT(error_of(R"([{"role": "user", "content": [{"type": "text"}]}])"),
              HasSubstr("expected a text"));
  EXPECT_THAT(error_of(R"([{"role": "user", "content": [7]}])"),
              HasSubstr("messages[0]: content[0]"));
  EXPECT_THAT(error_of(R"([{"role": "user", "content": [{"type": 7}]}])"),
              HasSubstr("messages[0]: content[0]"));
  EXPECT_THAT(error_of(R"([{"role": "user", "tool_calls": [{"function": {"name": "f"}}]}])"),
              HasSubstr("only an assistant"));
  EXPECT_THAT(error_of(R"([{"role": "assistant", "tool_calls": {"a": 1}}])"),
              HasSubstr("tool_calls: expected a list"));
  EXPECT_THAT(error_of(R"([{"role": "assistant", "tool_calls": [{"function": {}}]}])"),
              HasSubstr("tool_calls[0]: expected a function"));
  EXPECT_THAT(error_of(R"([{"role": "assistant", "tool_calls": [7]}])"),
              HasSubstr("tool_calls[0]: expected a function"));
  EXPECT_THAT(
      error_of(
          R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{x"}}]}])"),
      HasSubstr("tool_calls[0]: arguments: expected a JSON object, got \"{x\""));
  EXPECT_THAT(
      error_of(
          R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": [1]}}]}])"),
      HasSubstr("expected a JSON object"));
  EXPECT_THAT(error_of(R"([{"role": "tool", "tool_call_id": "x", "content": ""}])"),
              HasSubstr("messages[0]: tool_call_id \"x\""));
  EXPECT_THAT(error_of(R"([{"role": "tool", "content": ""}])"),
              HasSubstr("messages[0]: a tool's result"));
}

std::string variables(const char* source, const ThinkingChoice& choice) {
  const auto found = thinking_variables(detect(source), choice);
  return found ? found->dump() : "none";
}

TEST(ThinkingVariables, ThoseThatTheTemplateNames) {
  const char* kSwitch = "{% if enable_thinking is defined and not enable_thinking %}{% endif %}";
  EXPECT_EQ(variables(kSwitch, {true, ""}), R"({"enable_thinking":true})");
  EXPECT_EQ(variables(kSwitch, {false, ""}), R"({"enable_thinking":false})");
  EXPECT_EQ(variables(kSwitch, {std::nullopt, "none"}), R"({"enable_thinking":false})");
  EXPECT_EQ(variables(kSwitch, {std::nullopt, "high"}), R"({"enable_thinking":true})");
  EXPECT_EQ(variables(kSwitch, {}), "none");
  EXPECT_EQ(variables("{{ x }} enable_thinking {{ m.thinking }} {{ 'thinking' }} {# thinking #}",
                      {true, ""}),
            "none");
  EXPECT_EQ(variables("{% if thinking %}{% endif %}", {true, ""}), R"({"thinking":true})");
  EXPECT_EQ(variables("{% if thinking_mode == \"disabled\" %}{% endif %}", {false, ""}),
            R"({"thinking_mode":"disabled"})");
  EXPECT_EQ(variables("{% if thinking_budget == 0 %}{% endif %}", {false, ""}),
            R"({"thinking_budget":0})");
}

TEST(ThinkingVariables, Efforts) {
  const char* kAny = "{% set reasoning_effort = 'medium' %}{{ reasoning_effort }}";
  EXPECT_EQ(variables(kAny, {std::nullopt, "high"}), R"({"reasoning_effort":"high"})");
  EXPECT_EQ(variables(kAny, {false, ""}), R"({"reasoning_effort":"low"})");
  EXPECT_EQ(variables(kAny, {true, ""}), "none");
  const char* kListed = "{% if reasoning_effort not in ['low', 'high', 'no_think'] %}{% endif %}";
  EXPECT_EQ(variables(kListed, {std::nullopt, "medium"}), R"({"reasoning_effort":"low"})");
  EXPECT_EQ(variables(kListed, {std::nullopt, "minimal"}), R"({"reasoning_effort":"low"})");
  EXPECT_EQ(variables(kListed, {std::nullopt, "max"}), R"({"reasoning_effort":"high"})");
  EXPECT_EQ(variables(kListed, {false, ""}), R"({"reasoning_effort":"no_think"})");
  EXPECT_THROW(variables(kAny, {std::nullopt, "great"}), Error);
}

TEST(ThinkingVariables, BrokenTemplatesEndNowhere) {
  for (const char* source : {"{% 'enable_thinking", "{{ \"a\\", "{#", "{", "{%", "{{ thinking"})
    EXPECT_NO_THROW(variables(source, {true, ""})) << source;
}

}  // namespace
}  // namespace outboard::chat
