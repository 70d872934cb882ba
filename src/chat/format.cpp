#include "chat/format.h"

#include <algorithm>
#include <array>

namespace outboard::chat {
namespace {

// Words in a template and what a model with such a template writes.
class Source {
 public:
  explicit Source(std::string_view text) : text_(text) {}
  bool has(std::string_view word) const { return text_.find(word) != std::string_view::npos; }

 private:
  std::string_view text_;
};

std::optional<Thinking> thinking_of(const Source& source) {
  struct Row {
    std::string_view word, open, close;
  };
  // The special ones first: `<think>` is also explained in prompts of models that do it another
  // way.
  static constexpr std::array kRows = {
      Row{"seed:think", "<seed:think>", "</seed:think>"},
      Row{"<mm:think>", "<mm:think>", "</mm:think>"},
      Row{"[THINK]", "[THINK]", "[/THINK]"},
      Row{"<|START_THINKING|>", "<|START_THINKING|>", "<|END_THINKING|>"},
      Row{"<|channel>thought", "<|channel>thought", "<channel|>"},
      Row{"<|inner_prefix|>", "<|inner_prefix|>", "<|inner_suffix|>"},
      Row{"[BEGIN FINAL RESPONSE]", "Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"},
      Row{"Here is my thought process:", "Here is my thought process:", "Here is my response:"},
      Row{"<think>", "<think>", "</think>"},
      Row{"</think>", "<think>", "</think>"},
  };
  for (const Row& row : kRows)
    if (source.has(row.word)) return Thinking{std::string(row.open), std::string(row.close)};
  return std::nullopt;
}

CallSyntax json_calls(std::string open, std::string close, bool one_array,
                      std::string arguments_key = "arguments") {
  CallSyntax c;
  c.body = CallBody::kJson;
  c.open = std::move(open);
  c.close = std::move(close);
  c.one_array = one_array;
  c.name_key = "name";
  c.arguments_key = std::move(arguments_key);
  return c;
}

CallSyntax named_calls(std::string open, std::string name_close, std::string close) {
  CallSyntax c;
  c.body = CallBody::kNamedJson;
  c.open = std::move(open);
  c.name_close = std::move(name_close);
  c.close = std::move(close);
  return c;
}

// <invoke name="NAME"> <parameter name="KEY">VALUE</parameter> </invoke>
CallSyntax attribute_tags(const std::string& mark, const std::string& call,
                          const std::string& parameter) {
  CallSyntax c;
  c.body = CallBody::kTags;
  c.open = "<" + mark + call + " name=\"";
  c.name_close = "\">";
  c.key_open = "<" + mark + parameter + " name=\"";
  c.key_close = "\">";
  c.value_close = "</" + mark + parameter + ">";
  c.close = "</" + mark + call + ">";
  return c;
}

// <function=NAME> <parameter=KEY>VALUE</parameter> </function>
CallSyntax equal_tags(std::string section_open, std::string section_close) {
  CallSyntax c;
  c.body = CallBody::kTags;
  c.section_open = std::move(section_open);
  c.section_close = std::move(section_close);
  c.open = "<function=";
  c.name_close = ">";
  c.key_open = "<parameter=";
  c.key_close = ">";
  c.value_close = "</parameter>";
  c.close = "</function>";
  return c;
}

CallSyntax deepseek_calls(const Source& source) {
  // V3 and R1 write the type, and the arguments as a block of Markdown; V3.1 neither.
  CallSyntax c = named_calls("<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>");
  if (source.has("```json")) {
    c.name_open = "function<｜tool▁sep｜>";
    c.name_close = "\n```json";
    c.close = "```<｜tool▁call▁end｜>";
  }
  c.section_open = "<｜tool▁calls▁begin｜>";
  c.section_close = "<｜tool▁calls▁end｜>";
  return c;
}

CallSyntax brace_calls(std::string open, std::string close, std::string quote) {
  CallSyntax c;
  c.body = CallBody::kBraces;
  c.open = std::move(open);
  c.close = std::move(close);
  c.quote = std::move(quote);
  return c;
}

struct Found {
  std::string family;
  CallSyntax calls;
};

// From the most telling words to the least: several families share `<tool_call>`.
Found calls_of(const Source& source) {
  CallSyntax c;
  if (source.has("<|channel|>")) {
    c.body = CallBody::kChannels;
    return {"harmony", c};
  }
  if (source.has("[TOOL_CALLS]")) {
    if (source.has("[ARGS]")) {
      c = named_calls("[TOOL_CALLS]", "[ARGS]", "");
      c.id_open = "[CALL_ID]";
    } else {
      c = json_calls("[TOOL_CALLS]", "", true);
    }
    c.keeps_ids = true;
    c.id_length = 9;
    return {"mistral", c};
  }
  if (source.has("<|tool_calls_section_begin|>") || source.has("<|tool_call_argument_begin|>")) {
    c = named_calls("<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>");
    c.section_open = "<|tool_calls_section_begin|>";
    c.section_close = "<|tool_calls_section_end|>";
    c.keeps_ids = true;
    return {"kimi-k2", c};
  }
  if (source.has("<|tool_call>"))
    return {"gemma4", brace_calls("<|tool_call>", "<tool_call|>", "<|\"|>")};
  if (source.has("<start_function_call>"))
    return {"functiongemma",
            brace_calls("<start_function_call>", "<end_function_call>", "<escape>")};
  if (source.has("DSML")) {
    c = attribute_tags("｜DSML｜", "invoke", "parameter");
    c.key_close = ">";
    c.tells_strings = true;
    const std::string section = source.has("function_calls") ? "function_calls" : "tool_calls";
    c.section_open = "<｜DSML｜" + section + ">";
    c.section_close = "</｜DSML｜" + section + ">";
    return {"deepseek-dsml", c};
  }
  if (source.has("<｜tool▁call▁begin｜>")) return {"deepseek", deepseek_calls(source)};
  if (source.has("<|START_ACTION|>")) {
    c = json_calls("<|START_ACTION|>", "<|END_ACTION|>", true, "parameters");
    c.name_key = "tool_name";
    c.id_key = "tool_call_id";
    return {"command-r7b", c};
  }
  if (source.has("Action:\\n```json") || source.has("Action:\n```json")) {
    c = json_calls("Action:\n```json", "```", true, "parameters");
    c.name_key = "tool_name";
    return {"command-r", c};
  }
  if (source.has("seed:tool_call"))
    return {"seed-oss", equal_tags("<seed:tool_call>", "</seed:tool_call>")};
  if (source.has("minimax:tool_call")) {
    c = attribute_tags("", "invoke", "parameter");
    c.section_open = "<minimax:tool_call>";
    c.section_close = "</minimax:tool_call>";
    return {"minimax-m2", c};
  }
  // Its calls are written in tags named after the arguments, each behind a token of its own.
  if (source.has("]<]minimax[>[")) return {"minimax-m3", c};
  if (source.has("<function=") && source.has("<parameter=")) {
    c = equal_tags("<tool_call>", "</tool_call>");
    c.own_lines = true;
    return {"qwen3-coder", c};
  }
  if (source.has("<function="))
    return {"functionary-3.1", named_calls("<function=", ">", "</function>")};
  if (source.has("<function name=\"") && source.has("<param name=\""))
    return {"minicpm5", attribute_tags("", "function", "param")};
  if (source.has("<arg_key>")) {
    c.body = CallBody::kTags;
    c.open = "<tool_call>";
    c.key_open = "<arg_key>";
    c.key_close = "</arg_key>";
    c.value_open = "<arg_value>";
    c.value_close = "</arg_value>";
    c.close = "</tool_call>";
    return {"glm", c};
  }
  if (source.has("<|tool_call_start|>") || source.has("<|tool_list_start|>")) {
    c.body = CallBody::kPython;
    c.open = "<|tool_call_start|>";
    c.close = "<|tool_call_end|>";
    return {"lfm2", c};
  }
  if (source.has("<|tools_prefix|>")) {
    c = json_calls("<|tools_prefix|>", "<|tools_suffix|>", true);
    c.body = CallBody::kKeyedJson;
    return {"apertus", c};
  }
  if (source.has("<tool_calls>")) {
    const bool one_array = source.has("<tool_calls>[");
    c = json_calls("<tool_calls>", "</tool_calls>", one_array);
    c.one_block = !one_array;
    return {one_array ? "apriel" : "minimax-m1", c};
  }
  if (source.has("<TOOLCALL>"))
    return {"nemotron-v2", json_calls("<TOOLCALL>", "</TOOLCALL>", true)};
  if (source.has("<|function_call|>"))
    return {"gigachat", json_calls("<|function_call|>", "", false)};
  if (source.has("<tool_call>"))
    return {"hermes", json_calls("<tool_call>", "</tool_call>", false)};
  if (source.has("<|/tool_call|>") || source.has("<|/tool|>"))
    return {"phi4-mini", json_calls("<|tool_call|>", "<|/tool_call|>", true)};
  if (source.has("<|tool_call|>")) return {"granite", json_calls("<|tool_call|>", "", true)};
  if (source.has("functools")) return {"functools", json_calls("functools", "", true)};
  if (source.has("<|python_tag|>") || source.has("{\"name\": function name, \"parameters\":")) {
    c = json_calls("<|python_tag|>", "", false, "parameters");
    c.bare = true;
    return {"llama3", c};
  }
  return {"none", c};
}

std::string_view trimmed_end(std::string_view text) {
  const size_t last = text.find_last_not_of(" \t\r\n");
  return last == std::string_view::npos ? std::string_view() : text.substr(0, last + 1);
}

void find_control_tokens(Format& format, const text::Tokenizer& tokenizer) {
  const CallSyntax& c = format.calls;
  std::vector<std::string_view> texts = {c.section_open, c.section_close, c.open,        c.close,
                                         c.name_open,    c.name_close,    c.id_open,     c.key_open,
                                         c.key_close,    c.value_open,    c.value_close, c.quote};
  if (format.thinking) {
    texts.push_back(format.thinking->open);
    texts.push_back(format.thinking->close);
  }
  for (const std::string& text : format.dropped) texts.push_back(text);
  if (c.body == CallBody::kChannels)
    for (const char* text : {"<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>",
                             "<|return|>", "<|call|>"})
      texts.push_back(text);
  for (const std::string_view text : texts)
    for (size_t begin = 0; begin < text.size(); ++begin)
      for (size_t end = begin + 1; end <= text.size(); ++end) {
        const std::string_view part = text.substr(begin, end - begin);
        const int32_t token = tokenizer.find_token(part);
        if (token >= 0 && tokenizer.is_control(token) &&
            std::ranges::find(format.control_tokens, part) == format.control_tokens.end())
          format.control_tokens.emplace_back(part);
      }
}

}  // namespace

Format detect(std::string_view template_source) {
  const Source source(template_source);
  Found found = calls_of(source);
  Format format;
  format.family = std::move(found.family);
  format.calls = std::move(found.calls);
  format.template_source = template_source;
  if (format.calls.body == CallBody::kChannels)
    format.thinking = Thinking{"<|channel|>analysis<|message|>", "<|end|>"};
  else
    format.thinking = thinking_of(source);
  for (const char* word : {"RESPONSE", "TEXT"}) {
    const std::string start = std::string("<|START_") + word + "|>";
    if (!source.has(start)) continue;
    format.dropped.push_back(start);
    format.dropped.push_back(std::string("<|END_") + word + "|>");
  }
  if (source.has("<response></response>")) {  // Granite 3.3
    format.dropped.emplace_back("<response>");
    format.dropped.emplace_back("</response>");
  }
  return format;
}

Format detect(std::string_view template_source, const text::Tokenizer& tokenizer) {
  Format format = detect(template_source);
  find_control_tokens(format, tokenizer);
  return format;
}

bool Format::thinking_open(std::string_view rendered_prompt) const {
  return thinking && trimmed_end(rendered_prompt).ends_with(thinking->open);
}

std::string_view Format::control_token(std::string_view text) const {
  std::string_view longest;
  for (const std::string& token : control_tokens)
    if (token.size() > longest.size() && text.starts_with(token)) longest = token;
  return longest;
}

}  // namespace outboard::chat
