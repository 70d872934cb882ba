// The chat room behind a pipe, for tests over many templates: one JSON request a line on stdin, one
// JSON answer a line on stdout. Any failure answers {"error": ...}.
#include <iostream>
#include <nlohmann/json.hpp>

#include "chat/answer_reader.h"
#include "chat/conversation.h"
#include "chat/format.h"
#include "chat/test_support.h"
#include "chat/tool_grammar.h"
#include "grammar/matcher.h"
#include "support/error.h"

namespace {

using Json = nlohmann::ordered_json;
using namespace outboard;

chat::Format format_of(const Json& request) {
  chat::Format format = chat::detect(request.at("template").get<std::string>());
  if (request.contains("control_tokens"))
    format.control_tokens = request.at("control_tokens").get<std::vector<std::string>>();
  return format;
}

Json detect(const Json& request) {
  const chat::Format format = format_of(request);
  Json thinking;
  if (format.thinking) thinking = {format.thinking->open, format.thinking->close};
  return {{"family", format.family}, {"has_calls", format.has_calls()}, {"thinking", thinking}};
}

// The prompt for a conversation as OpenAI's protocol has it.
Json prompt(const Json& request) {
  const text::ChatTemplate chat_template(request.at("template").get<std::string>(),
                                         request.value("bos", ""), request.value("eos", ""));
  const chat::Format format = format_of(request);
  const chat::TemplateAbilities can = chat::abilities_of(chat_template);
  text::ChatOptions options;
  options.add_generation_prompt = request.value("add_generation_prompt", true);
  if (request.contains("tools")) options.tools = request.at("tools");
  chat::ThinkingChoice choice;
  if (request.contains("thinking")) choice.on = request.at("thinking").get<bool>();
  choice.effort = request.value("effort", "");
  const auto variables = chat::thinking_variables(format, choice);
  if (request.contains("variables")) options.variables = request.at("variables");
  if (variables) options.variables.update(*variables);
  Json abilities = {{"system_role", can.system_role},
                    {"developer_role", can.developer_role},
                    {"late_system", can.late_system},
                    {"user_after_user", can.user_after_user},
                    {"tool_role", can.tool_role},
                    {"tool_calls", can.tool_calls},
                    {"parallel_calls", can.parallel_calls},
                    {"content_apart", can.content_apart},
                    {"string_arguments", can.string_arguments},
                    {"null_content", can.null_content},
                    {"string_content", can.string_content},
                    {"reasoning_field", can.reasoning_field}};
  const std::string text =
      chat_template.render(chat::prepare(request.at("messages"), format, can), options).bytes();
  return {{"text", text},
          {"thinking_open", format.thinking_open(text)},
          {"abilities", abilities},
          {"variables", variables ? *variables : Json()}};
}

Json of(const chat::Answer& answer) {
  Json calls = Json::array();
  for (const auto& [name, arguments] : answer.calls)
    calls.push_back({{"name", name}, {"arguments", arguments}});
  return {{"reasoning", answer.reasoning},
          {"content", answer.content},
          {"calls", calls},
          {"wrong", answer.wrong}};
}

// What an answer is read as, in one piece and in single bytes.
Json read(const Json& request) {
  const chat::Format format = format_of(request);
  const chat::ReaderOptions options{request.value("thinking_open", false), true,
                                    request.at("tools")};
  const auto pieces = chat::pieces_of(format, request.at("text").get<std::string>());
  const Json whole = of(chat::read_all(format, options, pieces));
  if (of(chat::read_all(format, options, chat::cuts(pieces).back())) != whole)
    fail("read in single bytes it is something else than {}", whole.dump());
  return whole;
}

// How much of an answer the grammar of these tools lets through.
Json grammar_of(const Json& request) {
  const chat::Format format = format_of(request);
  chat::ToolChoice choice;
  const auto made = chat::tool_grammar(format, request.at("tools"), choice);
  grammar::Matcher matcher(made.grammar,
                           std::make_shared<const grammar::Vocabulary>(std::vector<std::string>{""},
                                                                       std::vector<int32_t>{0}));
  std::string passed;
  for (const char c : request.at("text").get<std::string>()) {
    if (!matcher.accept_bytes({&c, 1})) break;
    passed += c;
  }
  return {{"passed", passed}, {"can_end", matcher.can_end()}};
}

Json answer(const Json& request) {
  const std::string operation = request.at("op");
  if (operation == "detect") return detect(request);
  if (operation == "prompt") return prompt(request);
  if (operation == "read") return read(request);
  if (operation == "grammar") return grammar_of(request);
  fail("unknown op {}", operation);
}

}  // namespace

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    Json out;
    try {
      out = answer(Json::parse(line));
    } catch (const Error& error) {
      out = {{"error", error.message()}, {"hint", error.hint()}};
    } catch (const Json::exception& error) {
      out = {{"error", std::string("request: ") + error.what()}};
    }
    std::cout << out.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  }
  return 0;
}
