#include "chat/tool_grammar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "chat/test_support.h"
#include "grammar/matcher.h"
#include "support/error.h"

namespace outboard::chat {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const Json& weather() {
  static const Json kSchema = Json::parse(R"({"type": "object", "properties": {
    "place": {"type": "string", "minLength": 1, "maxLength": 8},
    "unit": {"enum": ["C", "F"]},
    "days": {"type": "integer", "minimum": 1, "maximum": 12},
    "maybe": {"anyOf": [{"$ref": "#/$defs/word"}, {"type": "null"}, {"type": "array", "items": {"type": "boolean"}, "maxItems": 2}]},
    "where": {"type": "object", "properties": {"x": {"type": "number", "minimum": 0}}, "required": ["x"]}},
    "required": ["place", "days"], "$defs": {"word": {"type": "string", "pattern": "^[a-z]{1,5}$"}}})");
  return kSchema;
}

const Json& tools() {
  static const Json kTools = {
      {{"type", "function"}, {"function", {{"name", "weather"}, {"parameters", weather()}}}},
      {{"type", "function"}, {"function", {{"name", "now"}}}}};
  return kTools;
}

struct Family {
  std::string name, words;
  std::vector<std::string> control_tokens = {};
  std::string call;  // as its template writes it
};

std::vector<Family> families() {
  return {
      {"Hermes",
       "<tool_call><think>",
       {},
       "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"place\": \"Köln\", \"days\": "
       "1}}\n</tool_call>"},
      {"Coder",
       "<tool_call><function=x><parameter=y><think>",
       {},
       "<tool_call>\n<function=weather>\n<parameter=place>\nKöln\n</"
       "parameter>\n<parameter=days>\n1\n</parameter>\n</function>\n</tool_call>"},
      {"Seed",
       "seed:tool_call seed:think",
       {},
       "<seed:tool_call>\n<function=weather>\n<parameter=place>Köln</"
       "parameter>\n<parameter=days>1</parameter>\n</function>\n</seed:tool_call>"},
      {"MiniMax",
       "minimax:tool_call <think>",
       {},
       "<minimax:tool_call>\n<invoke name=\"weather\">\n<parameter "
       "name=\"place\">Köln</parameter>\n<parameter "
       "name=\"days\">1</parameter>\n</invoke>\n</minimax:tool_call>"},
      {"Dsml",
       "DSML function_calls <think>",
       {},
       "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"weather\">\n<｜DSML｜parameter "
       "name=\"place\" string=\"true\">Köln</｜DSML｜parameter>\n<｜DSML｜parameter name=\"days\" "
       "string=\"false\">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>"},
      {"MiniCpm",
       "<function name=\"<param name=\"",
       {},
       "<function name=\"weather\"><param name=\"place\">Köln</param><param "
       "name=\"days\">1</param></function>"},
      {"Glm",
       "<tool_call><arg_key><think>",
       {},
       "<tool_call>weather\n<arg_key>place</arg_key>\n<arg_value>Köln</arg_value>\n<arg_key>days</"
       "arg_key>\n<arg_value>1</arg_value>\n</tool_call>"},
      {"Llama",
       "<|python_tag|>",
       {"<|python_tag|>"},
       "{\"name\": \"weather\", \"parameters\": {\"place\": \"Köln\", \"days\": 1}}"},
      {"MistralArray",
       "[TOOL_CALLS]",
       {"[TOOL_CALLS]"},
       "[TOOL_CALLS][{\"name\": \"weather\", \"arguments\": {\"place\": \"Köln\", \"days\": 1}}]"},
      {"MistralNamed",
       "[TOOL_CALLS][ARGS][THINK]",
       {"[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]"},
       "[TOOL_CALLS]weather[ARGS]{\"place\": \"Köln\", \"days\": 1}"},
      {"Gemma4",
       "<|tool_call>call: <|channel>thought",
       {"<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|\"|>"},
       "<|tool_call>call:weather{days:1,place:<|\"|>Köln<|\"|>}<tool_call|>"},
      {"FunctionGemma",
       "<start_function_call>",
       {},
       "<start_function_call>call:weather{days:1,place:<escape>Köln<escape>}<end_function_call>"},
      {"Phi",
       "<|tool_call|><|/tool_call|>",
       {},
       "<|tool_call|>[{\"name\": \"weather\", \"arguments\": {\"place\": \"Köln\", \"days\": "
       "1}}]<|/tool_call|>"},
      {"Functools",
       "functools",
       {},
       "functools[{\"name\": \"weather\", \"arguments\": {\"place\": \"Köln\", \"days\": 1}}]"},
      {"Granite",
       "<|tool_call|>",
       {"<|tool_call|>"},
       "<|tool_call|>[{\"name\": \"weather\", \"arguments\": {\"place\": \"Köln\", \"days\": 1}}]"},
      {"CommandR7b",
       "<|START_THINKING|><|START_ACTION|>",
       {"<|START_THINKING|>", "<|END_THINKING|>", "<|START_ACTION|>", "<|END_ACTION|>"},
       "<|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"weather\", "
       "\"parameters\": {\"place\": \"Köln\", \"days\": 1}}\n]<|END_ACTION|>"},
      {"CommandR",
       "Action:\n```json",
       {},
       "Action:\n```json\n[\n    {\n        \"tool_name\": \"weather\",\n        \"parameters\": "
       "{\n            \"place\": \"Köln\",\n            \"days\": 1\n        }\n    }\n]\n```"},
      {"Apertus",
       "<|tools_prefix|>",
       {},
       "<|tools_prefix|>[{\"weather\": {\"place\": \"Köln\", \"days\": 1}}]<|tools_suffix|>"},
      {"Functionary",
       "<function=",
       {},
       "<function=weather>{\"place\": \"Köln\", \"days\": 1}</function>"},
      {"DeepseekV3",
       "<｜tool▁call▁begin｜>```json<think>",
       {"<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>",
        "<｜tool▁calls▁end｜>"},
       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{"
       "\"place\": \"Köln\", \"days\": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
      {"DeepseekV31",
       "<｜tool▁call▁begin｜><think>",
       {},
       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{\"place\": \"Köln\", "
       "\"days\": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
      {"Kimi",
       "<|tool_calls_section_begin|>",
       {"<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<|tool_call_argument_begin|>",
        "<|tool_call_end|>", "<|tool_calls_section_end|>"},
       "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_"
       "begin|>{\"place\": \"Köln\", \"days\": 1}<|tool_call_end|><|tool_calls_section_end|>"},
      {"Lfm2",
       "<|tool_call_start|>",
       {"<|tool_call_start|>", "<|tool_call_end|>"},
       "<|tool_call_start|>[weather(place=\"Köln\", days=1)]<|tool_call_end|>"},
      {"Harmony",
       "<|channel|>",
       {"<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>", "<|call|>"},
       "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"place\": "
       "\"Köln\", \"days\": 1}"},
  };
}

Format format_of(const Family& family) {
  Format format = detect(family.words);
  format.control_tokens = family.control_tokens;
  return format;
}

// Single bytes, what control tokens spell, and the end.
struct Tokens {
  explicit Tokens(const Format& format) {
    for (int c = ' '; c <= '~'; ++c)
      pieces.push_back({std::string(1, static_cast<char>(c)), false});
    for (const char* text : {"\n", "é", "｜", "▁"}) pieces.push_back({text, false});
    for (const std::string& token : format.control_tokens) pieces.push_back({token, true});
    std::vector<std::string> bytes;
    for (const Piece& piece : pieces)
      bytes.push_back(piece.is_marker ? grammar::token_bytes(piece.text) : piece.text);
    bytes.emplace_back();
    const auto end = static_cast<int32_t>(pieces.size());
    vocabulary =
        std::make_shared<const grammar::Vocabulary>(std::move(bytes), std::vector<int32_t>{end});
  }
  std::vector<Piece> pieces;
  std::shared_ptr<const grammar::Vocabulary> vocabulary;
};

bool accepts(const Format& format, const ToolGrammar& made, std::string_view text) {
  const Tokens tokens(format);
  grammar::Matcher matcher(made.grammar, tokens.vocabulary);
  for (const Piece& piece : pieces_of(format, text))
    if (!matcher.accept_bytes(piece.is_marker ? grammar::token_bytes(piece.text) : piece.text))
      return false;
  return matcher.can_end();
}

// Any tokens that the grammar allows, until the answer ends. Empty where it takes too long.
std::vector<Piece> at_random(const ToolGrammar& made, const Tokens& tokens, std::mt19937& random) {
  grammar::Matcher matcher(made.grammar, tokens.vocabulary);
  std::vector<Piece> answer;
  for (int step = 0; step < 3000; ++step) {
    const auto mask = matcher.mask();
    std::vector<int32_t> allowed;
    for (size_t t = 0; t < tokens.vocabulary->size(); ++t)
      if ((mask[t / 32] >> (t % 32) & 1) != 0) allowed.push_back(static_cast<int32_t>(t));
    if (allowed.empty()) {
      ADD_FAILURE() << "nothing is allowed";
      return {};
    }
    const int32_t token =
        allowed[std::uniform_int_distribution<size_t>(0, allowed.size() - 1)(random)];
    EXPECT_TRUE(matcher.accept(token));
    if (matcher.ended()) return answer;
    answer.push_back(tokens.pieces[static_cast<size_t>(token)]);
  }
  return {};
}

class ToolGrammarOf : public ::testing::TestWithParam<Family> {};

TEST_P(ToolGrammarOf, AllowsWhatTheTemplateWrites) {
  const Format format = format_of(GetParam());
  const std::string& call = GetParam().call;
  EXPECT_TRUE(accepts(format, tool_grammar(format, tools(), {}), call));
  EXPECT_TRUE(accepts(format, tool_grammar(format, tools(), {.name = "weather"}), call));
  EXPECT_FALSE(accepts(format, tool_grammar(format, tools(), {.name = "now"}), call));
  EXPECT_FALSE(accepts(format, tool_grammar(format, tools(), {}), "Hello"));
  EXPECT_FALSE(accepts(format, tool_grammar(format, tools(), {}), ""));
  EXPECT_FALSE(accepts(format, tool_grammar(format, tools(), {}), "a" + call));
  if (!format.control_token(call).empty()) {
    grammar::Matcher spelled(tool_grammar(format, tools(), {}).grammar, Tokens(format).vocabulary);
    EXPECT_FALSE(spelled.accept_bytes(call));
  }
}

TEST_P(ToolGrammarOf, WhateverItAllowsIsReadAsValidCalls) {
  const Format format = format_of(GetParam());
  const Tokens tokens(format);
  std::mt19937 random(1);
  int seen = 0;
  for (const ToolChoice::Thinking thinking :
       {ToolChoice::Thinking::kNone, ToolChoice::Thinking::kMayOpen,
        ToolChoice::Thinking::kIsOpen}) {
    for (const bool parallel : {true, false}) {
      const bool is_open = thinking == ToolChoice::Thinking::kIsOpen && format.thinking;
      const ToolGrammar made = tool_grammar(format, tools(), {"", parallel, thinking});
      for (int round = 0; round < 10; ++round) {
        const std::vector<Piece> text = at_random(made, tokens, random);
        if (text.empty()) continue;
        ++seen;
        std::string whole;
        for (const Piece& piece : text) whole += piece.text;
        const Answer answer = read_all(format, {is_open, true, tools()}, text);
        EXPECT_EQ(answer.wrong, "") << whole;
        EXPECT_EQ(answer.content, "") << whole;
        ASSERT_FALSE(answer.calls.empty()) << whole;
        if (!parallel) {
          ASSERT_THAT(answer.calls, SizeIs(1)) << whole;
        }
        for (const auto& [name, arguments] : answer.calls) {
          if (name == "now") {
            EXPECT_THAT(arguments, IsEmpty()) << whole;
            continue;
          }
          ASSERT_EQ(name, "weather") << whole;
          // Numbers may be written in ways that a dump does not use (1.0 for 1): only their values
          // are looked at.
          EXPECT_TRUE(arguments.at("place").is_string()) << whole;
          EXPECT_GE(arguments.at("days").get<int>(), 1) << whole;
          EXPECT_LE(arguments.at("days").get<int>(), 12) << whole;
          for (const auto& [key, value] : arguments.items())
            EXPECT_TRUE(weather()["properties"].contains(key)) << whole;
          if (arguments.contains("unit")) {
            EXPECT_TRUE(arguments["unit"] == "C" || arguments["unit"] == "F") << whole;
          }
          if (arguments.contains("maybe") && arguments["maybe"].is_string()) {
            EXPECT_LE(arguments["maybe"].get<std::string>().size(), 5U) << whole;
            EXPECT_GE(arguments["maybe"].get<std::string>().size(), 1U) << whole;
          }
          if (arguments.contains("where")) {
            EXPECT_GE(arguments["where"].at("x").get<double>(), 0) << whole;
          }
        }
      }
    }
  }
  EXPECT_GT(seen, 15);
}

ReaderOptions held() {
  ReaderOptions options;
  options.tools = tools();
  options.calls_are_held = true;
  return options;
}

// Formats whose calls can be told only when they are whole.
bool is_told_whole(const Format& format) {
  const CallSyntax& s = format.calls;
  return s.body == CallBody::kBraces || s.body == CallBody::kPython ||
         (s.body == CallBody::kJson && s.keeps_ids);
}

TEST_P(ToolGrammarOf, HeldCallsAreToldAsTheyAreWritten) {
  const Format format = format_of(GetParam());
  const std::vector<Piece> call = pieces_of(format, GetParam().call);
  const Answer want = read_all(format, {false, true, tools()}, call);
  ASSERT_THAT(want.calls, SizeIs(1));
  for (const std::vector<Piece>& cut : cuts(call)) {
    const Answer got = read_all(format, held(), cut);
    EXPECT_EQ(got.wrong, "");
    EXPECT_EQ(got.calls, want.calls);
    EXPECT_EQ(got.content, want.content);
  }
  // Byte by byte: the first of the arguments comes before the last byte, and what has been told is
  // the beginning of the whole.
  AnswerReader reader(format, held());
  std::string told, name;
  size_t parts = 0;
  const std::vector<Piece> bytes = cuts(call).back();
  for (size_t i = 0; i + 1 < bytes.size(); ++i)
    for (const Event& event : reader.feed(bytes[i].text, bytes[i].is_marker)) {
      if (event.kind == Event::Kind::kCallBegin) name = event.name;
      if (event.kind != Event::Kind::kCallArguments) continue;
      told += event.text;
      ++parts;
    }
  if (is_told_whole(format)) return;
  EXPECT_EQ(name, "weather");
  EXPECT_GE(parts, 2U);
  EXPECT_THAT(told, HasSubstr("Köln"));
  // An answer that is cut there has told no more, and nothing twice.
  std::string rest;
  for (const Event& event : reader.finish()) rest += event.text;
  EXPECT_THAT(rest, ::testing::Not(HasSubstr("Köln")));
}

TEST_P(ToolGrammarOf, WhateverIsCutOrAllowedIsToldOnce) {
  const Format format = format_of(GetParam());
  const Tokens tokens(format);
  std::mt19937 random(2);
  for (int round = 0; round < 20; ++round) {
    const std::vector<Piece> text = at_random(tool_grammar(format, tools(), {}), tokens, random);
    const Answer want = read_all(format, {false, true, tools()}, text);
    const Answer got = read_all(format, held(), text);
    EXPECT_EQ(got.wrong, "");
    EXPECT_EQ(got.calls, want.calls);
    if (text.empty()) continue;
    AnswerReader reader(format, held());
    const size_t cut = std::uniform_int_distribution<size_t>(0, text.size() - 1)(random);
    int open = 0;
    const auto count = [&](const std::vector<Event>& events) {
      for (const Event& event : events) {
        open += event.kind == Event::Kind::kCallBegin ? 1 : 0;
        open -= event.kind == Event::Kind::kCallEnd ? 1 : 0;
        EXPECT_GE(open, 0);
        EXPECT_LE(open, 1);
      }
    };
    for (size_t i = 0; i < cut; ++i) count(reader.feed(text[i].text, text[i].is_marker));
    count(reader.finish());
    EXPECT_EQ(open, 0);
  }
}

// tool_choice "auto": text, or calls whose arguments are valid all the same.
TEST_P(ToolGrammarOf, MayLetTextPass) {
  const Format format = format_of(GetParam());
  const std::string& call = GetParam().call;
  const bool channels = format.calls.body == CallBody::kChannels;
  ToolChoice choice;
  choice.required = false;
  const ToolGrammar made = tool_grammar(format, tools(), choice);
  const auto takes = [&](const std::string& text) { return accepts(format, made, text); };
  EXPECT_TRUE(takes(call));
  const std::string before = channels ? "<|channel|>final<|message|>" : "";
  EXPECT_TRUE(takes(before + "Hello <b>you</b>, {\"name\": 1}"));
  EXPECT_EQ(takes(""), !channels);
  if (channels)
    EXPECT_TRUE(takes("<|channel|>commentary<|message|>Hm.<|end|><|start|>assistant" + call));
  else
    EXPECT_TRUE(takes("Well:\n" + call));  // without markers it is no call there, but text
  std::string wrong = call;
  const size_t at = wrong.find("days");
  wrong.replace(at, 4, "dazs");
  EXPECT_FALSE(takes(wrong));
  if (!format.calls.bare) {
    EXPECT_FALSE(takes(before + "Well:\n" + wrong));
  }
  const Tokens tokens(format);
  std::mt19937 random(3);
  for (int round = 0; round < 10; ++round) {
    const Answer answer = read_all(format, held(), at_random(made, tokens, random));
    EXPECT_EQ(answer.wrong, "");
    for (const auto& [name, arguments] : answer.calls)
      EXPECT_TRUE(name == "now" || arguments.contains("days"));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ToolGrammarOf, ::testing::ValuesIn(families()),
                         [](const auto& param) { return param.param.name; });

std::string error_of(const Format& format, const Json& list, const ToolChoice& choice = {}) {
  try {
    tool_grammar(format, list, choice);
  } catch (const Error& e) {
    return e.message();
  }
  return "no error";
}

TEST(ToolGrammar, SaysWhatItCanNotDo) {
  const Format hermes = detect("<tool_call>");
  EXPECT_THAT(error_of(detect(""), tools()), HasSubstr("shows no tool calls"));
  EXPECT_THAT(error_of(hermes, Json::array()), HasSubstr("list of functions"));
  EXPECT_THAT(error_of(hermes, Json::parse(R"([{"type": "function", "function": {}}])")),
              HasSubstr("tools[0]"));
  EXPECT_THAT(error_of(hermes, tools(), {.name = "other"}), HasSubstr("other"));
  const Json bad = Json::parse(
      R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": true}}}}}])");
  EXPECT_THAT(error_of(hermes, bad), HasSubstr("tool f: parameters: #/properties/a/uniqueItems"));
  const Json never = Json::parse(R"([{"function": {"name": "f", "parameters": false}}])");
  EXPECT_THAT(error_of(hermes, never), HasSubstr("no arguments are valid"));
  const Json whole = Json::parse(
      R"([{"function": {"name": "f", "parameters": {"type": "object", "minProperties": 1}}}])");
  EXPECT_EQ(error_of(hermes, whole), "no error");
  EXPECT_THAT(error_of(detect("<tool_call><arg_key>"), whole), HasSubstr("minProperties"));
}

TEST(ToolGrammar, NotesNameTheTool) {
  const Json list = Json::parse(
      R"([{"function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string", "format": "color"}}}}}])");
  const ToolGrammar made = tool_grammar(detect("<tool_call>"), list, {});
  ASSERT_THAT(made.notes, SizeIs(1));
  EXPECT_THAT(made.notes[0], HasSubstr("tool f: #/properties/a/format"));
}

TEST(ToolGrammar, WhereTheThinkingEnds) {
  EXPECT_EQ(thinking_end(detect("<think>")), "</think>");
  EXPECT_EQ(thinking_end(detect("<|channel|>")), "<|end|>");
  EXPECT_EQ(thinking_end(detect("")), "");
}

}  // namespace
}  // namespace outboard::chat
