// Answers as models of each family write them. The layouts are those of the models' own templates
// (which tests/chat renders and reads back); the words are ours.
#include "chat/answer_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat/test_support.h"

namespace outboard::chat {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const Json& tools() {
  static const Json kTools = Json::parse(R"([
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object",
      "properties": {
        "place": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"enum": ["C", "F"]},
        "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "referred": {"$ref": "#/$defs/text"},
        "where": {"type": "object"},
        "tags": {"type": "array"}},
      "$defs": {"text": {"type": "string"}}}}},
    {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
  ])");
  return kTools;
}

struct Case {
  std::string name;
  std::string words;  // of the template
  std::string text;   // of the answer
  std::string reasoning, content;
  std::vector<std::pair<std::string, std::string>> calls;  // name, JSON
  std::vector<std::string> control_tokens = {};
  bool thinking_open = false;
  bool parse_tools = true;
};

std::string listed(const Answer& answer) {
  std::string text = "reasoning <" + answer.reasoning + "> content <" + answer.content + ">";
  for (const auto& [name, arguments] : answer.calls) text += " " + name + arguments.dump();
  return text + answer.wrong;
}

const std::string kHermes = "<tool_call></tool_call><think>";
const std::string kCoder = "<tool_call><function=x><parameter=y>";
const std::string kGlm = "<tool_call><arg_key><think>";
const std::string kGemma = "<|tool_call>call: <|channel>thought";
const std::string kHarmony = "<|channel|>";
const std::vector<std::string> kHarmonyTokens = {"<|start|>",     "<|channel|>", "<|message|>",
                                                 "<|constrain|>", "<|end|>",     "<|return|>",
                                                 "<|call|>"};
const std::string kLlama = "<|python_tag|>";
const std::string kDeepseek = "<｜tool▁call▁begin｜><think>";

std::vector<Case> cases() {
  return {
      {"Plain", "", "Hello <b>you</b>\n\n", "", "Hello <b>you</b>\n\n", {}},
      {"PlainKeepsWhatLooksLikeACall",
       "",
       "<tool_call>{}</tool_call>",
       "",
       "<tool_call>{}</tool_call>",
       {}},
      {"BlanksPass", kHermes, "  a \n\n b  \n", "", "  a \n\n b  \n", {}},
      {"Empty", kHermes, "", "", "", {}},

      {"Thinking", kHermes, "<think>\nHm, so.\n</think>\n\nYes.", "Hm, so.", "Yes.", {}},
      {"ThinkingOpenedByThePrompt", kHermes, "Hm\n\n</think>\n\nYes.", "Hm", "Yes.", {}, {}, true},
      {"ThinkingOpenedTwice", kHermes, "<think>\nHm</think>Yes.", "Hm", "Yes.", {}, {}, true},
      {"ThinkingClosedTwice", kHermes, "Hm</think>\n</think>\n\nYes.", "Hm", "Yes.", {}, {}, true},
      {"ThinkingClosedLater",
       kHermes,
       "Hm</think>Yes </think> no",
       "Hm",
       "Yes </think> no",
       {},
       {},
       true},
      {"ThinkingNeverClosed", kHermes, "<think>Hm <thin", "Hm <thin", "", {}},
      {"EmptyThinking", kHermes, "<think>\n\n</think>\n\nYes.", "", "Yes.", {}},
      {"TrailingThink", kHermes, "Use <think>", "", "Use <think>", {}},
      {"ThinkAlone", kHermes, "<think>", "", "", {}},
      {"ThinkInTheMiddle", kHermes, "A <think>b</think> c", "", "A <think>b</think> c", {}},
      {"NoCallsInsideThinking",
       kHermes,
       "<think>I could <tool_call>{\"name\": \"now\"}</tool_call></think>No.",
       "I could <tool_call>{\"name\": \"now\"}</tool_call>",
       "No.",
       {}},
      {"MistralThinking",
       "[THINK]",
       "[THINK]Hm[/THINK]Yes",
       "Hm",
       "Yes",
       {},
       {"[THINK]", "[/THINK]"}},
      {"SeedThinking", "seed:think", "<seed:think>Hm</seed:think>\nYes", "Hm", "Yes", {}},
      {"GraniteThinking",
       "<think> <response></response>",
       "<think>Hm</think><response>Yes</response>",
       "Hm",
       "Yes",
       {}},
      {"OlderGraniteThinking",
       "Here is my thought process:",
       "Here is my thought process: Hm\n\nHere is my response: Yes",
       "Hm",
       "Yes",
       {}},
      {"AprielThinking",
       "[BEGIN FINAL RESPONSE]",
       "Hm\n[BEGIN FINAL RESPONSE]\nYes",
       "Hm",
       "Yes",
       {},
       {},
       true},
      {"CohereThinking",
       "<|START_THINKING|><|START_ACTION|><|START_RESPONSE|>",
       "<|START_THINKING|>Hm<|END_THINKING|><|START_RESPONSE|>Yes<|END_RESPONSE|>",
       "Hm",
       "Yes",
       {},
       {"<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"}},

      {"Hermes",
       kHermes,
       "<think>Hm</think>\n\nLet me look.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": "
       "{\"place\": \"Köln\", \"days\": 2}}\n</tool_call>\n<tool_call>\n{\"name\": \"now\", "
       "\"arguments\": {}}\n</tool_call>",
       "Hm",
       "Let me look.",
       {{"weather", R"({"place":"Köln","days":2})"}, {"now", "{}"}}},
      {"HermesContentAround",
       kHermes,
       "a\n<tool_call>{\"name\": \"now\"}</tool_call>\nb\n<tool_call>{\"name\": "
       "\"now\"}</tool_call> c ",
       "",
       "abc ",
       {{"now", "{}"}, {"now", "{}"}}},
      {"HermesMarkerInAString",
       kHermes,
       "<tool_call>{\"name\": \"weather\", \"arguments\": {\"place\": "
       "\"</tool_call>\"}}</tool_call>",
       "",
       "",
       {{"weather", R"({"place":"</tool_call>"})"}}},
      {"HermesArgumentsAsText",
       kHermes,
       "<tool_call>{\"name\": \"weather\", \"arguments\": \"{\\\"days\\\": 1}\"}</tool_call>",
       "",
       "",
       {{"weather", R"({"days":1})"}}},
      {"HermesWrapped",
       kHermes,
       "<tool_call>{\"type\": \"function\", \"function\": {\"name\": \"now\", \"parameters\": "
       "null}}"
       "</tool_call>",
       "",
       "",
       {{"now", "{}"}}},
      {"HermesRawLineBreak",
       kHermes,
       "<tool_call>{\"name\": \"weather\", \"arguments\": {\"place\": \"a\nb\tc\"}}</tool_call>",
       "",
       "",
       {{"weather", R"({"place":"a\nb\tc"})"}}},
      {"HermesWithoutEnd",
       kHermes,
       "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}",
       "",
       "",
       {{"now", "{}"}}},
      {"HermesArray",
       kHermes,
       "<tool_call>[{\"name\": \"now\"}, {\"name\": \"now\"}]</tool_call>",
       "",
       "",
       {{"now", "{}"}, {"now", "{}"}}},
      {"HermesBroken",
       kHermes,
       "Well <tool_call>\n{\"name\": now}\n</tool_call> there",
       "",
       "Well <tool_call>\n{\"name\": now}\n</tool_call> there",
       {}},
      {"HermesBrokenThenGood",
       kHermes,
       "<tool_call>\n{{\"name\": \"now\"}}</tool_call>\n<tool_call>{\"name\": \"now\"}</tool_call>",
       "",
       "<tool_call>\n{{\"name\": \"now\"}}</tool_call>",
       {{"now", "{}"}}},
      {"HermesWithoutName",
       kHermes,
       "<tool_call>{\"arguments\": {}}</tool_call>",
       "",
       "<tool_call>{\"arguments\": {}}</tool_call>",
       {}},
      {"HermesArgumentsNoObject",
       kHermes,
       "<tool_call>{\"name\": \"now\", \"arguments\": [1]}</tool_call>",
       "",
       "<tool_call>{\"name\": \"now\", \"arguments\": [1]}</tool_call>",
       {}},
      {"HermesCut",
       kHermes,
       "Yes.\n\n<tool_call>\n{\"name\": \"now\", \"argu",
       "",
       "Yes.\n\n<tool_call>\n{\"name\": \"now\", \"argu",
       {}},
      {"HermesCutInTheMarker", kHermes, "Yes.\n<tool_ca", "", "Yes.\n<tool_ca", {}},
      {"HermesMentioned",
       kHermes,
       "The tag <tool_call> begins a call.",
       "",
       "The tag <tool_call> begins a call.",
       {}},
      {"HermesNotAsked",
       kHermes,
       "a <tool_call>{\"name\": \"now\"}</tool_call>",
       "",
       "a <tool_call>{\"name\": \"now\"}</tool_call>",
       {},
       {},
       false,
       false},
      {"HermesCounterfeit",
       kHermes,
       "a <tool_call>{\"name\": \"now\"}</tool_call>",
       "",
       "a",
       {{"now", "{}"}},
       {"<tool_call>", "</tool_call>"}},

      {"Coder",
       kCoder,
       "I "
       "look.\n\n<tool_call>\n<function=weather>\n<parameter=place>\n12\n</parameter>\n<parameter="
       "days>\n3\n</parameter>\n<parameter=where>\n{\"a\": [1, null]}\n</parameter>\n</function>\n"
       "</tool_call>\n<tool_call>\n<function=now>\n</function>\n</tool_call>",
       "",
       "I look.",
       {{"weather", R"({"place":"12","days":3,"where":{"a":[1,null]}})"}, {"now", "{}"}}},
      {"CoderWithoutToolCall",
       kCoder,
       "<function=weather>\n<parameter=unit>\nC\n</parameter>\n</function>\n</tool_call>",
       "",
       "",
       {{"weather", R"({"unit":"C"})"}}},
      {"CoderKeepsLines",
       kCoder,
       "<tool_call><function=weather><parameter=place>\n\n  a\n\nb "
       "\n\n</parameter></function></tool_call>",
       "",
       "",
       {{"weather", R"({"place":"\n  a\n\nb \n"})"}}},
      {"CoderTagInAValue",
       kCoder,
       "<tool_call>\n<function=weather>\n<parameter=place>\nx</parameter>y<parameter=\n</"
       "parameter>\n"
       "</function>\n</tool_call>",
       "",
       "",
       {{"weather", R"({"place":"x</parameter>y<parameter="})"}}},
      {"CoderTypes",
       kCoder,
       "<tool_call><function=weather><parameter=maybe>null</parameter><parameter=referred>1"
       "</parameter><parameter=tags>['a', None, True]</parameter><parameter=days>soon</parameter>"
       "<parameter=other>{\"x\": 1}</parameter><parameter=another>plain "
       "words</parameter><parameter=python>None</parameter>"
       "</function></tool_call>",
       "",
       "",
       {{"weather",
         R"({"maybe":null,"referred":"1","tags":["a",null,true],"days":"soon","other":{"x":1},"another":"plain words","python":"None"})"}}},
      {"CoderCut",
       kCoder,
       "<tool_call>\n<function=weather>\n<parameter=place>\nK",
       "",
       "<tool_call>\n<function=weather>\n<parameter=place>\nK",
       {}},
      {"CoderBroken",
       kCoder,
       "<tool_call>\n<function=weather>\nKöln</function></tool_call>",
       "",
       "<tool_call>\n<function=weather>\nKöln</function></tool_call>",
       {}},
      {"Seed",
       "seed:think seed:tool_call",
       "<seed:think>Hm</seed:think>\n<seed:tool_call>\n<function=weather>\n<parameter=place>a\n"
       "</parameter>\n</function>\n</seed:tool_call>",
       "Hm",
       "",
       {{"weather", R"({"place":"a\n"})"}}},
      {"MiniMax",
       "minimax:tool_call <think>",
       "Hm\n</think>\n\n<minimax:tool_call>\n<invoke name=\"weather\">\n<parameter "
       "name=\"place\">a b"
       "</parameter>\n</invoke>\n<invoke name=\"now\">\n</invoke>\n</minimax:tool_call>",
       "Hm",
       "",
       {{"weather", R"({"place":"a b"})"}, {"now", "{}"}},
       {},
       true},
      {"Dsml",
       "DSML function_calls <think>",
       "Hm</think>\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke "
       "name=\"weather\">\n<｜DSML｜parameter "
       "name=\"x\" string=\"true\">5</｜DSML｜parameter>\n<｜DSML｜parameter name=\"y\" "
       "string=\"false\">[1]</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
       "Hm",
       "",
       {{"weather", R"({"x":"5","y":[1]})"}},
       {},
       true},
      {"MiniCpm",
       "<function name=\"<param name=\"",
       "<function name=\"weather\"><param name=\"place\"><![CDATA[a < b\n]]></param><param "
       "name=\"days\">1</param></function>",
       "",
       "",
       {{"weather", R"({"place":"a < b\n","days":1})"}}},

      {"Glm",
       kGlm,
       "\n<think>Hm</think>\nI look.\n<tool_call>weather\n<arg_key>place</arg_key>\n<arg_value>1"
       "</arg_value>\n<arg_key>days</arg_key>\n<arg_value>1</arg_value>\n</"
       "tool_call>\n<tool_call>now"
       "</tool_call>",
       "Hm",
       "I look.",
       {{"weather", R"({"place":"1","days":1})"}, {"now", "{}"}}},
      {"GlmInOneLine",
       kGlm,
       "</think><tool_call>weather<arg_key>place</arg_key><arg_value> x </arg_value></tool_call>",
       "",
       "",
       {{"weather", R"({"place":" x "})"}},
       {},
       true},
      {"GlmBroken",
       kGlm,
       "<tool_call>some words</tool_call>",
       "",
       "<tool_call>some words</tool_call>",
       {}},

      {"Llama",
       kLlama,
       "{\"name\": \"weather\", \"parameters\": {\"place\": \"Köln\"}}",
       "",
       "",
       {{"weather", R"({"place":"Köln"})"}}},
      {"LlamaPythonTag",
       kLlama,
       "<|python_tag|>{\"name\": \"now\", \"parameters\": {}}",
       "",
       "",
       {{"now", "{}"}},
       {"<|python_tag|>"}},
      {"LlamaTwo",
       kLlama,
       "{\"name\": \"now\", \"parameters\": {}}; {\"name\": \"now\", \"parameters\": {}}",
       "",
       "",
       {{"now", "{}"}, {"now", "{}"}}},
      {"LlamaAnswersJson",
       kLlama,
       "{\"name\": \"Ada\", \"age\": 36}\n",
       "",
       "{\"name\": \"Ada\", \"age\": 36}\n",
       {}},
      {"LlamaAnswersOtherJson",
       kLlama,
       "{\"a\": {\"b\": [1, 2]}}",
       "",
       "{\"a\": {\"b\": [1, 2]}}",
       {}},
      {"LlamaCode", kLlama, "<|python_tag|>print(1)", "", "<|python_tag|>print(1)", {}},
      {"LlamaJsonLater",
       kLlama,
       "Like {\"name\": \"now\", \"parameters\": {}}",
       "",
       "Like {\"name\": \"now\", \"parameters\": {}}",
       {}},

      {"MistralArray",
       "[TOOL_CALLS]",
       "[TOOL_CALLS][{\"name\": \"weather\", \"arguments\": {\"place\": \"a\"}, \"id\": "
       "\"abcdefghi\"}, "
       "{\"name\": \"now\", \"arguments\": {}}]",
       "",
       "",
       {{"weather", R"({"place":"a"})"}, {"now", "{}"}},
       {"[TOOL_CALLS]"}},
      {"MistralNamed",
       "[TOOL_CALLS][ARGS]",
       "Well.[TOOL_CALLS]weather[ARGS]{\"place\": "
       "\"[TOOL_CALLS]\"}[TOOL_CALLS]now[CALL_ID]a1b2c3d4e[ARGS]{}",
       "",
       "Well.",
       {{"weather", R"({"place":"[TOOL_CALLS]"})"}, {"now", "{}"}}},
      {"GemmaThinksAgain",
       kGemma,
       "Yes.<|channel>thought\nHm<channel|>No.<channel|>",
       "Hm",
       "Yes.No.",
       {},
       {"<|channel>", "<channel|>"}},
      {"Gemma",
       kGemma,
       "<|channel>thought\nHm\n<channel|><|tool_call>call:weather{days:1,where:{a:[1,<|\"|>two, "
       "}<|\"|>,"
       "null,true]},place:<|\"|>Köln \"x\"\n<|\"|>}<tool_call|><|tool_call>call:now{}<tool_call|>",
       "Hm",
       "",
       {{"weather", R"({"days":1,"where":{"a":[1,"two, }",null,true]},"place":"Köln \"x\"\n"})"},
        {"now", "{}"}},
       {"<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|\"|>"}},
      {"GemmaCut",
       kGemma,
       "<|tool_call>call:weather{days:1",
       "",
       "<|tool_call>call:weather{days:1",
       {}},
      {"GemmaAnswers", kGemma, "<|channel>thought\n<channel|>Yes.", "", "Yes.", {}},
      {"FunctionGemma",
       "<start_function_call>",
       "<start_function_call>call:weather{place:<escape>a,b<escape>,days:-2}<end_function_call>",
       "",
       "",
       {{"weather", R"({"place":"a,b","days":-2})"}}},

      {"Phi",
       "<|tool_call|><|/tool_call|>",
       "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]<|/tool_call|>",
       "",
       "",
       {{"now", "{}"}}},
      {"Functools",
       "functools",
       " functools[{\"name\": \"now\", \"arguments\": {}}]",
       "",
       "",
       {{"now", "{}"}}},
      {"Granite",
       "<|tool_call|>",
       "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]",
       "",
       "",
       {{"now", "{}"}},
       {"<|tool_call|>"}},
      {"CommandR7b",
       "<|START_THINKING|><|START_ACTION|>",
       "<|START_THINKING|>Hm<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": \"0\", "
       "\"tool_name\": "
       "\"weather\", \"parameters\": {\"days\": 1}},\n    {\"tool_call_id\": \"1\", \"tool_name\": "
       "\"now\", "
       "\"parameters\": {}}\n]<|END_ACTION|>",
       "Hm",
       "",
       {{"weather", R"({"days":1})"}, {"now", "{}"}}},
      {"CommandR",
       "Action:\n```json",
       "Plan.\nAction:\n```json\n[\n    {\n        \"tool_name\": \"now\",\n        "
       "\"parameters\": {}\n    "
       "}\n]\n```",
       "",
       "Plan.",
       {{"now", "{}"}}},
      {"Apertus",
       "<|tools_prefix|>",
       "<|tools_prefix|>[{\"weather\": {\"days\": 1}}, {\"now\": {}}]<|tools_suffix|>",
       "",
       "",
       {{"weather", R"({"days":1})"}, {"now", "{}"}}},
      {"MiniMaxM1",
       "<tool_calls>\\n",
       "<tool_calls>\n{\"name\": \"now\", \"arguments\": {}}\n{\"name\": \"now\", "
       "\"arguments\": {}}\n</tool_calls>",
       "",
       "",
       {{"now", "{}"}, {"now", "{}"}}},
      {"Functionary",
       "<function=",
       "<function=weather>{\"days\": 1}</function><function=now>{}</function>",
       "",
       "",
       {{"weather", R"({"days":1})"}, {"now", "{}"}}},

      {"DeepseekV3",
       kDeepseek + "```json",
       "Hm</"
       "think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{"
       "\"days\": "
       "1}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n``"
       "`<｜tool▁call▁"
       "end｜><｜tool▁calls▁end｜>",
       "Hm",
       "",
       {{"weather", R"({"days":1})"}, {"now", "{}"}},
       {"<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>",
        "<｜tool▁calls▁end｜>"},
       true},
      {"DeepseekV31",
       kDeepseek,
       "Yes.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{\"days\": "
       "1}<｜tool▁call▁end｜><｜tool▁"
       "call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
       "",
       "Yes.",
       {{"weather", R"({"days":1})"}, {"now", "{}"}}},
      {"DeepseekWithoutSection",
       kDeepseek,
       "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜>",
       "",
       "",
       {{"now", "{}"}}},
      {"DeepseekCut",
       kDeepseek,
       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{",
       "",
       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{",
       {}},
      {"Kimi",
       "<|tool_calls_section_begin|>",
       "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_"
       "begin|>{\"days\": "
       "1}<|tool_call_end|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_"
       "call_end|><|tool_"
       "calls_section_end|>",
       "",
       "",
       {{"weather", R"({"days":1})"}, {"now", "{}"}}},
      {"Lfm2",
       "<|tool_call_start|>",
       "<|tool_call_start|>[weather(place='it\\'s \"x\"', days=1, where={\"a\": null}), "
       "now()]<|tool_call_end|>",
       "",
       "",
       {{"weather", R"({"place":"it's \"x\"","days":1,"where":{"a":null}})"}, {"now", "{}"}}},

      {"Harmony",
       kHarmony,
       "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|"
       "return|>",
       "Hm",
       "Yes.",
       {},
       kHarmonyTokens},
      {"HarmonyCall",
       kHarmony,
       "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>commentary "
       "to=functions.weather "
       "<|constrain|>json<|message|>{\"place\": \"<|end\"}<|call|>",
       "Hm",
       "",
       {{"weather", R"({"place":"<|end"})"}},
       kHarmonyTokens},
      {"HarmonyCallInTheRole",
       kHarmony,
       " to=functions.now<|channel|>commentary json<|message|>{}",
       "",
       "",
       {{"now", "{}"}},
       kHarmonyTokens},
      {"HarmonyHeaderAnew",
       kHarmony,
       "<|channel|>commentary to=assistant<|channel|>analysis<|message|>Hm<|end|>",
       "Hm",
       "",
       {},
       kHarmonyTokens},
      {"HarmonyPreamble",
       kHarmony,
       "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant "
       "to=functions.now<|channel|>commentary"
       "<|message|>{}<|call|>",
       "",
       "I look.",
       {{"now", "{}"}},
       kHarmonyTokens},
      {"HarmonyCut",
       kHarmony,
       "<|channel|>commentary to=functions.weather<|message|>{\"pla",
       "",
       "<|channel|>commentary to=functions.weather<|message|>{\"pla",
       {},
       kHarmonyTokens},
      {"HarmonyCutThinking", kHarmony, "Hm and", "Hm and", "", {}, kHarmonyTokens, true},
      {"HarmonyWithoutHeader", kHarmony, "Yes, a <|b.", "", "Yes, a <|b.", {}, kHarmonyTokens},
  };
}

class AnswerReaderCase : public ::testing::TestWithParam<Case> {};

TEST_P(AnswerReaderCase, HoweverItIsCut) {
  const Case& c = GetParam();
  Format format = detect(c.words);
  format.control_tokens = c.control_tokens;
  const ReaderOptions options{c.thinking_open, c.parse_tools, tools()};
  const std::vector<Piece> pieces = pieces_of(format, c.text);
  const Answer answer = read_all(format, options, pieces);
  EXPECT_EQ(answer.wrong, "");
  EXPECT_EQ(answer.reasoning, c.reasoning);
  EXPECT_EQ(answer.content, c.content);
  ASSERT_THAT(answer.calls, SizeIs(c.calls.size())) << listed(answer);
  for (size_t i = 0; i < c.calls.size(); ++i) {
    EXPECT_EQ(answer.calls[i].first, c.calls[i].first);
    EXPECT_EQ(answer.calls[i].second.dump(), Json::parse(c.calls[i].second).dump());
  }
  for (const auto& cut : cuts(pieces)) {
    const Answer other = read_all(format, options, cut);
    ASSERT_EQ(listed(other), listed(answer)) << "cut behind: " << cut[0].text;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, AnswerReaderCase, ::testing::ValuesIn(cases()),
                         [](const auto& param) { return param.param.name; });

std::string content_of(const std::vector<Event>& events) {
  std::string text;
  for (const Event& event : events)
    if (event.kind == Event::Kind::kContent) text += event.text;
  return text;
}

TEST(AnswerReader, HoldsBackNoLongerThanNeeded) {
  AnswerReader reader(detect(kHermes), {});
  EXPECT_EQ(content_of(reader.feed("Hello ")), "Hello");
  EXPECT_EQ(content_of(reader.feed("you <to")), " you");
  EXPECT_EQ(content_of(reader.feed("ol")), "");
  EXPECT_EQ(content_of(reader.feed("s")), " <tools");
  EXPECT_EQ(content_of(reader.feed(">\n")), ">");
  EXPECT_EQ(content_of(reader.feed("x")), "\nx");
  EXPECT_THAT(reader.finish(), IsEmpty());
}

TEST(AnswerReader, SaysWhetherItThinks) {
  AnswerReader reader(detect(kHermes), {.thinking_open = true});
  EXPECT_TRUE(reader.thinking());
  reader.feed("Hm</think>");
  EXPECT_FALSE(reader.thinking());
}

TEST(AnswerReader, CallsComeAsSoonAsTheyAreWhole) {
  AnswerReader reader(detect(kHermes), {});
  EXPECT_THAT(reader.feed("<tool_call>{\"name\": \"now\"}</tool_call"), IsEmpty());
  EXPECT_THAT(reader.feed(">"), SizeIs(3));
  EXPECT_EQ(reader.calls(), 1U);
}

TEST(AnswerReader, IdsOfTheModelAreKeptWhereTheTemplateNeedsThem) {
  const Format mistral = detect("[TOOL_CALLS]");
  const Answer answer = read_all(
      mistral, {},
      {{R"([TOOL_CALLS][{"name":"a","arguments":{},"id":"abcdefghi"},{"name":"a","arguments":{},"id":"abcdefghi"},{"name":"a","arguments":{},"id":"short"}])",
        false}});
  ASSERT_THAT(answer.ids, SizeIs(3));
  EXPECT_EQ(answer.ids[0], "abcdefghi");
  EXPECT_THAT(answer.ids[1], SizeIs(9));
  EXPECT_THAT(answer.ids[2], SizeIs(9));
  EXPECT_EQ(answer.wrong, "");
  const Answer kimi = read_all(
      detect("<|tool_calls_section_begin|>"), {},
      {{"<|tool_call_begin|>functions.a:3<|tool_call_argument_begin|>{}<|tool_call_end|>", false}});
  EXPECT_THAT(kimi.ids, ElementsAre("functions.a:3"));
}

TEST(AnswerReader, ControlTokensOfNoMarkerAreNobodysWords) {
  AnswerReader reader(detect(kHermes), {});
  EXPECT_EQ(content_of(reader.feed("a")), "a");
  EXPECT_EQ(content_of(reader.feed("<|im_end|>", true)), "");
  EXPECT_EQ(content_of(reader.feed("<|im_end|>b")), "<|im_end|>b");
}

TEST(AnswerReader, SpelledMarkersAreTextWhereTheModelHasTokens) {
  Format mistral = detect("[TOOL_CALLS][ARGS]");
  mistral.control_tokens = {"[TOOL_CALLS]", "[ARGS]"};
  const std::string spelled = "Write [TOOL_CALLS]now[ARGS]{} so.";
  EXPECT_EQ(listed(read_all(mistral, {}, {{spelled, false}})),
            "reasoning <> content <" + spelled + ">");
  Format harmony = detect(kHarmony);
  harmony.control_tokens = kHarmonyTokens;
  std::vector<Piece> pieces = pieces_of(harmony, "<|channel|>final<|message|>");
  pieces.push_back({"It ends with <|end|>, <|start|>", false});
  EXPECT_EQ(read_all(harmony, {}, pieces).content, "It ends with <|end|>, <|start|>");
}

TEST(AnswerReader, LongCallsAreReadInOneGo) {
  // 2 MB in single characters: a reader that began anew with each would never come to an end.
  Format format = detect(kCoder);
  std::string text = "<tool_call><function=weather><parameter=place>";
  for (int i = 0; i < 100'000; ++i) text += "</param > words \n";
  text += "</parameter></function></tool_call>";
  AnswerReader reader(format, {.tools = tools()});
  size_t events = 0;
  for (const char c : text) events += reader.feed({&c, 1}).size();
  EXPECT_EQ(events, 3U);
}

TEST(Format, TheNameOfTheFamily) {
  const std::vector<std::pair<std::string, std::string>> kFamilies = {
      {"", "none"},       {kHermes, "hermes"},     {kCoder, "qwen3-coder"},
      {kGlm, "glm"},      {kGemma, "gemma4"},      {kHarmony, "harmony"},
      {kLlama, "llama3"}, {kDeepseek, "deepseek"}, {"]<]minimax[>[<tool_call>", "minimax-m3"}};
  for (const auto& [words, family] : kFamilies) EXPECT_EQ(detect(words).family, family) << words;
  EXPECT_FALSE(detect("").has_calls());
  EXPECT_FALSE(detect("").thinking.has_value());
}

TEST(Format, ControlTokensAreTheTokenizers) {
  formats::Metadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("gpt2"));
  metadata.set("tokenizer.ggml.pre", std::string("gpt-2"));
  metadata.set("tokenizer.ggml.tokens",
               formats::MetadataArray{std::vector<std::string>{"a", "[TOOL_CALLS]", "[ARGS]",
                                                               "[CALL_ID]", "[THINK]", "</s>"}});
  // [ARGS] is user-defined, [THINK] ordinary text.
  metadata.set("tokenizer.ggml.token_type",
               formats::MetadataArray{std::vector<int32_t>{1, 3, 4, 3, 1, 3}});
  metadata.set("tokenizer.ggml.merges", formats::MetadataArray{std::vector<std::string>{}});
  const auto tokenizer = text::Tokenizer::from_metadata(metadata);
  const Format format = detect("[TOOL_CALLS][ARGS][THINK]", *tokenizer);
  EXPECT_THAT(format.control_tokens, ElementsAre("[TOOL_CALLS]", "[CALL_ID]"));
  EXPECT_EQ(format.control_token("[TOOL_CALLS]now"), "[TOOL_CALLS]");
  EXPECT_EQ(format.control_token("[ARGS]"), "");
}

TEST(Format, SeesThatThePromptBeganTheThinking) {
  const Format format = detect(kHermes);
  EXPECT_TRUE(format.thinking_open("<|im_start|>assistant\n<think>\n"));
  EXPECT_FALSE(format.thinking_open("<|im_start|>assistant\n<think>\n\n</think>\n\n"));
  EXPECT_FALSE(
      format.thinking_open("<|im_start|>user\n<think><|im_end|>\n<|im_start|>assistant\n"));
  EXPECT_FALSE(detect("").thinking_open("<think>"));
  EXPECT_TRUE(detect(kHarmony).thinking_open("<|start|>assistant<|channel|>analysis<|message|>"));
}

}  // namespace
}  // namespace outboard::chat
