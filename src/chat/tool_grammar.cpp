#include "chat/tool_grammar.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "chat/tools.h"
#include "grammar/char_dfa.h"
#include "grammar/json_rules.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"
#include "support/error.h"

namespace outboard::chat {
namespace {

using Json = nlohmann::ordered_json;
using grammar::CharDfa;

// Texts in which the word stands somewhere.
CharDfa containing(std::string_view word) {
  grammar::CharNfa nfa;
  nfa.start = nfa.add();
  nfa.chars(nfa.start, grammar::every_char(), nfa.start);
  uint32_t at = nfa.start;
  for (const uint32_t c : grammar::chars_of(word)) {
    const uint32_t next = nfa.add();
    nfa.chars(at, {{c, c}}, next);
    at = next;
  }
  nfa.end = at;
  nfa.chars(at, grammar::every_char(), at);
  return grammar::determinized(nfa);
}

// Texts that a reader of tags takes for something else than a string, where it may choose.
const CharDfa& looks_like_json() {
  static const CharDfa kJson = grammar::compile_pattern(
      R"(^\s*([-0-9{\[(\x22'][\s\S]*|true|false|null|True|False|None)?\s*$)");
  return kJson;
}

class ToolRules {
 public:
  ToolRules(const Format& format, const Json& tools, const ToolChoice& choice)
      : format_(format), syntax_(format.calls), choice_(choice), json_(builder_) {
    if (!format.has_calls())
      throw Error(fmt::format("this model's chat template shows no tool calls ({})", format.family),
                  "Ask without tool_choice, or use a model that was trained to call tools.");
    if (!tools.is_array() || tools.empty()) fail("tools: expected a list of functions");
    for (size_t i = 0; i < tools.size(); ++i) {
      const Json* function = function_of(tools[i]);
      if (function == nullptr) fail("tools[{}]: expected a function with a name", i);
      const std::string& name = function->at("name").get_ref<const std::string&>();
      if (choice.name.empty() || choice.name == name) add_tool(name, *function);
    }
    if (tools_.empty()) fail("tool_choice: no tool is called {}", choice.name);
  }

  ToolGrammar build() {
    const uint32_t root = builder_.add_rule();
    const uint32_t begin = builder_.state();
    thinking(builder_.start(root), begin);
    if (!choice_.required) text_first(begin, builder_.end(root));
    calls(begin, builder_.end(root));
    return {builder_.build(root), notes_};
  }

 private:
  struct Tool {
    std::string name;
    uint32_t rule;
  };

  // Paths through the grammar: each goes on from a state and gives the one it comes to.
  uint32_t text(uint32_t from, std::string_view text) {
    while (!text.empty()) {
      const std::string_view token = format_.control_token(text);
      const uint32_t to = builder_.state();
      if (!token.empty()) {
        builder_.token(from, token, to);
        text.remove_prefix(token.size());
      } else {
        size_t length = 1;
        while (length < text.size() && format_.control_token(text.substr(length)).empty()) ++length;
        builder_.literal(from, text.substr(0, length), to);
        text.remove_prefix(length);
      }
      from = to;
    }
    return from;
  }
  uint32_t lines(uint32_t from, int most) {
    const uint32_t to = builder_.state();
    builder_.free(from, to);
    uint32_t at = from;
    for (int i = 0; i < most; ++i) {
      const uint32_t next = builder_.state();
      builder_.literal(at, "\n", next);
      builder_.free(next, to);
      at = next;
    }
    return to;
  }
  uint32_t rule(uint32_t from, uint32_t rule) {
    const uint32_t to = builder_.state();
    builder_.call(from, rule, to);
    return to;
  }
  // Any text, then `end`, which is not in it.
  uint32_t until(uint32_t from, const std::string& end) {
    const uint32_t at = builder_.state();
    const bool is_token = !format_.control_token(end).empty();
    json_.plain(
        from,
        is_token ? grammar::any_text() : grammar::difference(grammar::any_text(), containing(end)),
        at);
    return text(at, end);
  }

  void thinking(uint32_t from, uint32_t to) {
    const bool channels = syntax_.body == CallBody::kChannels;
    const std::string next = channels ? "<|start|>assistant" : "";
    if (choice_.thinking != ToolChoice::Thinking::kIsOpen || !format_.thinking) {
      builder_.free(from, to);
      // Where thinking has ended before this grammar begins, the next message's start comes.
      if (channels) builder_.free(text(from, next), to);
    }
    if (!format_.thinking || choice_.thinking == ToolChoice::Thinking::kNone) return;
    uint32_t at = from;
    if (choice_.thinking == ToolChoice::Thinking::kMayOpen)
      at = text(lines(at, 1), format_.thinking->open);
    at = text(until(at, format_.thinking->close), next);
    builder_.free(lines(at, 3), to);
  }

  // Text in which no call begins, then nothing or calls.
  void text_first(uint32_t from, uint32_t to) {
    const CallSyntax& s = syntax_;
    if (s.body == CallBody::kChannels) {
      const uint32_t at = builder_.state();
      json_.plain(text(from, "<|channel|>final<|message|>"), grammar::any_text(), at);
      builder_.free(at, to);
      const uint32_t preamble = builder_.state();
      json_.plain(text(from, "<|channel|>commentary<|message|>"), grammar::any_text(), preamble);
      return builder_.free(text(preamble, "<|end|><|start|>assistant"), from);
    }
    CharDfa words = grammar::any_text();
    for (const std::string& marker : {s.section_open, s.open})
      if (!marker.empty() && format_.control_token(marker).empty())
        words = grammar::difference(words, containing(marker));
    // JSON without a marker is a call where an answer begins with it.
    if (s.bare) words = grammar::difference(words, grammar::compile_pattern(R"(^\s*\{)"));
    const uint32_t at = builder_.state();
    json_.plain(from, words, at);
    builder_.free(at, to);
    if (!s.bare) calls(at, to);
  }

  void calls(uint32_t from, uint32_t to) {
    const CallSyntax& s = syntax_;
    if (s.body == CallBody::kChannels) return builder_.free(call(from), to);
    if (s.body == CallBody::kPython || s.one_array || s.body == CallBody::kKeyedJson) {
      uint32_t at = lines(text(from, s.open), 1);
      const uint32_t begin = builder_.state();
      json_.open(at, '[', begin);
      at = many(begin, ", ");
      const uint32_t end = builder_.state();
      json_.close(at, ']', end);
      return builder_.free(text(lines(end, 1), s.close), to);
    }
    if (s.one_block) {
      const uint32_t at = many(lines(text(from, s.open), 1), "");
      return builder_.free(text(lines(at, 1), s.close), to);
    }
    if (s.bare) return builder_.free(call(from), to);
    if (s.section_open.empty()) return builder_.free(many(from, ""), to);
    uint32_t at = lines(text(from, s.section_open), 1);
    at = text(lines(many(at, ""), 1), s.section_close);
    // Some write each call in a section of its own.
    if (choice_.parallel) builder_.free(lines(at, 1), from);
    builder_.free(at, to);
  }

  // One call, or several with this between them; nothing: a line break at most.
  uint32_t many(uint32_t from, std::string_view between) {
    const uint32_t begin = builder_.state();
    builder_.free(from, begin);
    const uint32_t at = call(begin);
    if (!choice_.parallel) return at;
    if (between.empty()) {
      builder_.free(lines(at, 1), begin);
    } else {
      json_.comma(at, begin);
    }
    return at;
  }

  uint32_t call(uint32_t from) {
    const uint32_t to = builder_.state();
    for (const Tool& tool : tools_) builder_.call(from, tool.rule, to);
    return to;
  }

  void add_tool(const std::string& name, const Json& function) {
    static const Json kNoParameters = {{"type", "object"}, {"additionalProperties", false}};
    const auto given = function.find("parameters");
    schemas_.push_back(std::make_unique<Json>(
        given == function.end() || given->is_null() ? kNoParameters : *given));
    // An empty list of properties would leave all names open, to a schema's reader; who describes a
    // tool so means that it takes no arguments.
    Json& schema = *schemas_.back();
    if (schema.is_object() && schema.contains("properties") && schema["properties"].empty() &&
        !schema.contains("additionalProperties"))
      schema["additionalProperties"] = false;
    tools_.push_back({name, builder_.add_rule()});
    try {
      write_call(tools_.back(), schema);
      if (!builder_.can_match(tools_.back().rule))
        fail("#: no arguments are valid under this schema, or none that end");
    } catch (Error& e) {
      e.add_context(fmt::format("tool {}: parameters", name));
      throw;
    }
  }

  void write_call(const Tool& tool, Json& schema) {
    const CallSyntax& s = syntax_;
    const uint32_t from = builder_.start(tool.rule);
    uint32_t at = from;
    switch (s.body) {
      case CallBody::kJson: {
        const bool marked = !s.one_array && !s.one_block && !s.bare;
        if (marked) at = lines(text(from, s.open), 1);
        at = open(at, '{');
        if (!s.id_key.empty()) at = comma(number(key(at, s.id_key)));
        at = value(key(at, s.name_key), tool.name);
        at = arguments(tool, key(comma(at), s.arguments_key), schema);
        if (s.id_length > 0) {  // Mistral's models give their calls ids
          const uint32_t end = builder_.state();
          builder_.free(at, end);
          builder_.free(text(id(text(key(comma(at), "id"), "\"")), "\""), end);
          at = end;
        }
        at = close(at, '}');
        if (marked) at = text(lines(at, 1), s.close);
        break;
      }
      case CallBody::kKeyedJson:
        at = close(arguments(tool, key(open(at, '{'), tool.name), schema), '}');
        break;
      case CallBody::kNamedJson: {
        at = text(text(from, s.open), s.name_open);
        const bool numbered = s.keeps_ids && s.id_open.empty() && s.id_length == 0;
        at = text(at, (numbered ? "functions." : "") + tool.name + (numbered ? ":" : ""));
        if (numbered) at = digits(at);
        if (!s.id_open.empty()) {
          const uint32_t named = builder_.state();
          builder_.free(at, named);
          builder_.free(id(text(at, s.id_open)), named);
          at = named;
        }
        at = arguments(tool, lines(text(at, s.name_close), 1), schema);
        at = text(lines(at, 1), s.close);
        break;
      }
      case CallBody::kTags:
        at = text(text(from, s.open), tool.name + s.name_close);
        at = properties(tool, lines(at, 1), schema, "");
        at = text(lines(at, 1), s.close);
        break;
      case CallBody::kBraces:
        at = text(text(from, s.open), "call:" + tool.name + "{");
        at = text(properties(tool, at, schema, ","), "}");
        at = text(at, s.close);
        break;
      case CallBody::kPython:
        at = text(properties(tool, text(at, tool.name + "("), schema, ", "), ")");
        break;
      case CallBody::kChannels: {
        // The recipient stands in the role or in the channel; models write both.
        const uint32_t message = builder_.state();
        const uint32_t channel = text(from, "<|channel|>commentary to=functions." + tool.name);
        builder_.free(text(channel, " <|constrain|>json"), message);
        builder_.free(channel, message);
        const uint32_t role = text(from, " to=functions." + tool.name + "<|channel|>commentary");
        builder_.free(text(role, " json"), message);
        builder_.free(text(role, " <|constrain|>json"), message);
        builder_.free(role, message);
        at = arguments(tool, text(message, "<|message|>"), schema);
        break;
      }
      case CallBody::kNone:
        return;
    }
    builder_.free(at, builder_.end(tool.rule));
  }

  // Pieces of JSON.
  uint32_t open(uint32_t from, char bracket) {
    const uint32_t to = builder_.state();
    json_.open(from, bracket, to);
    return to;
  }
  uint32_t close(uint32_t from, char bracket) {
    const uint32_t to = builder_.state();
    json_.close(from, bracket, to);
    return to;
  }
  uint32_t comma(uint32_t from) {
    const uint32_t to = builder_.state();
    json_.comma(from, to);
    return to;
  }
  uint32_t key(uint32_t from, const std::string& name) {
    const uint32_t to = builder_.state();
    json_.name(from, name, to);
    return to;
  }
  uint32_t value(uint32_t from, const Json& value) {
    const uint32_t to = builder_.state();
    json_.value(from, value, to);
    return to;
  }
  uint32_t digits(uint32_t from) {
    const uint32_t to = builder_.state();
    builder_.bytes(from, '0', '9', to);
    const uint32_t second = builder_.state();
    builder_.bytes(from, '1', '9', second);
    builder_.bytes(second, '0', '9', to);
    return to;
  }
  // An id as Mistral's templates ask for it.
  uint32_t id(uint32_t from) {
    for (size_t i = 0; i < syntax_.id_length; ++i) {
      const uint32_t next = builder_.state();
      builder_.bytes(from, '0', '9', next);
      builder_.bytes(from, 'A', 'Z', next);
      builder_.bytes(from, 'a', 'z', next);
      from = next;
    }
    return from;
  }
  uint32_t number(uint32_t from) { return text(digits(text(from, "\"")), "\""); }

  void note(const Tool& tool, const grammar::SchemaRules& rules) {
    for (const std::string& text : rules.notes())
      notes_.push_back(fmt::format("tool {}: {}", tool.name, text));
  }

  uint32_t arguments(const Tool& tool, uint32_t from, const Json& schema) {
    grammar::SchemaRules rules(builder_, json_, schema);
    const uint32_t to = rule(from, rules.json(""));
    note(tool, rules);
    return to;
  }

  // The arguments one by one, in the order of `properties`, for formats that know no JSON object
  // around them. What only a whole object could keep is refused.
  uint32_t properties(const Tool& tool, uint32_t from, Json& schema, std::string_view between) {
    static constexpr std::array<std::string_view, 14> kKnown = {
        "type",        "properties", "required", "additionalProperties",
        "description", "title",      "$defs",    "definitions",
        "$schema",     "$id",        "$comment", "default",
        "examples",    "strict"};
    if (schema.is_boolean() && schema.get<bool>()) schema = Json::object();
    if (!schema.is_object()) fail("#: expected an object");
    for (const auto& [keyword, value] : schema.items())
      if (std::ranges::find(kKnown, keyword) == kKnown.end())
        fail("#/{}: this model writes arguments one by one, so `{}` of all of them can't be kept",
             keyword, keyword);
    if (!schema.contains("properties")) schema["properties"] = Json::object();
    if (!schema["properties"].is_object()) fail("#/properties: expected an object");
    std::vector<std::string> required;
    if (schema.contains("required")) {
      for (const Json& name : schema["required"]) {
        if (!name.is_string()) fail("#/required: expected names");
        required.push_back(name);
        if (!schema["properties"].contains(required.back()))
          schema["properties"][required.back()] = true;
      }
    }
    std::vector<std::string> names;
    for (const auto& [name, value] : schema["properties"].items()) names.push_back(name);
    // Gemma's templates sort them, in calls and in the descriptions of tools.
    if (syntax_.body == CallBody::kBraces)
      std::ranges::sort(names, [](const std::string& a, const std::string& b) {
        return std::ranges::lexicographical_compare(a, b, [](char x, char y) {
          return std::tolower(static_cast<unsigned char>(x)) <
                 std::tolower(static_cast<unsigned char>(y));
        });
      });
    // Strings are written without quotes, all else as JSON. Where both may come, the JSON has to be
    // something else than a string.
    const Json whole = schema;
    std::vector<unsigned> kinds;
    for (const std::string& name : names) {
      kinds.push_back(allowed_kinds(whole["properties"][name], whole));
      if (kinds.back() != kAnyKind && (kinds.back() & kString) != 0)
        schema["properties"][name] = {{"allOf", Json::array({whole["properties"][name]})},
                                      {"not", {{"type", "string"}}}};
    }
    grammar::SchemaRules plain(builder_, json_, whole);
    grammar::SchemaRules rest(builder_, json_, schema);
    uint32_t none = from;              // so far nothing was written
    uint32_t some = builder_.state();  // something was
    for (size_t i = 0; i < names.size(); ++i) {
      const uint32_t one = builder_.add_rule();
      write_property(one, names[i], kinds[i], plain, rest);
      const uint32_t next_none = builder_.state();
      const uint32_t next_some = builder_.state();
      if (std::ranges::find(required, names[i]) == required.end()) {
        builder_.free(none, next_none);
        builder_.free(some, next_some);
      }
      builder_.free(rule(none, one), next_some);
      const uint32_t again = between.empty() ? lines(some, 1) : text(some, between);
      builder_.free(rule(again, one), next_some);
      none = next_none;
      some = next_some;
    }
    note(tool, plain);
    const uint32_t to = builder_.state();
    builder_.free(none, to);
    builder_.free(some, to);
    return to;
  }

  void write_property(uint32_t one, const std::string& name, unsigned kinds,
                      grammar::SchemaRules& plain, grammar::SchemaRules& rest) {
    const CallSyntax& s = syntax_;
    const std::string pointer = (nlohmann::json::json_pointer("/properties") / name).to_string();
    const uint32_t from = builder_.start(one);
    const uint32_t to = builder_.end(one);
    const bool tags = s.body == CallBody::kTags;
    // In Python's notation strings have JSON's quotes, which Python reads, too.
    const bool has_strings = (kinds & kString) != 0 && s.body != CallBody::kPython;
    if (has_strings && kinds != kAnyKind) {
      CharDfa strings = plain.strings(pointer);
      const std::string& end = tags ? s.value_close : s.quote;
      if (!strings.is_empty()) strings = grammar::difference(strings, containing(end));
      if (tags && kinds != kString && !strings.is_empty())
        strings = grammar::difference(strings, looks_like_json());
      if (!strings.is_empty()) {
        const uint32_t begin = tags ? tag(from, name, "true") : text(from, name + ":" + s.quote);
        const uint32_t at = builder_.state();
        json_.plain(begin, strings, at);
        builder_.free(tags ? tag_end(at) : text(at, s.quote), to);
      }
      if (kinds == kString) return;
    }
    const uint32_t begin = tags ? tag(from, name, "false")
                                : text(from, name + (s.body == CallBody::kPython ? "=" : ":"));
    // For Python the strings were not taken out.
    grammar::SchemaRules& rules = s.body == CallBody::kPython ? plain : rest;
    const uint32_t at = rule(begin, rules.json(pointer));
    builder_.free(tags ? tag_end(at) : at, to);
  }

  uint32_t tag(uint32_t from, const std::string& name, const char* is_string) {
    const CallSyntax& s = syntax_;
    std::string key = name;
    if (s.tells_strings) key += std::string("\" string=\"") + is_string + "\"";
    uint32_t at = text(from, s.key_open + key + s.key_close);
    if (!s.value_open.empty()) at = text(lines(at, 1), s.value_open);
    return s.own_lines ? text(at, "\n") : at;
  }
  uint32_t tag_end(uint32_t from) {
    return text(syntax_.own_lines ? text(from, "\n") : from, syntax_.value_close);
  }

  const Format& format_;
  const CallSyntax& syntax_;
  const ToolChoice& choice_;
  grammar::Builder builder_;
  grammar::JsonRules json_;
  std::vector<std::unique_ptr<Json>> schemas_;
  std::vector<Tool> tools_;
  std::vector<std::string> notes_;
};

}  // namespace

ToolGrammar tool_grammar(const Format& format, const Json& tools, const ToolChoice& choice) {
  return ToolRules(format, tools, choice).build();
}

std::string_view thinking_end(const Format& format) {
  return format.thinking ? std::string_view(format.thinking->close) : std::string_view();
}

}  // namespace outboard::chat
