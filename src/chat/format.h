// How a family of models writes its thinking and its tool calls, read from its chat template.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace outboard::chat {

struct Thinking {
  std::string open, close;  // "<think>", "</think>"
};

// What stands between a call's markers.
enum class CallBody {
  kNone,       // the family's calls are not known: all is content
  kJson,       // {"name": ..., "arguments": {...}}, one or several, or an array of such objects
  kKeyedJson,  // the same with {"name of the function": {...}}
  kNamedJson,  // the name, then {...}
  kTags,       // the name, then keys and values in tags, as XML has it
  kBraces,     // call:name{key:value,...}, strings in a quote of their own (Gemma)
  kPython,     // [name(key=value, ...), ...]
  kChannels,   // the name stands in the header of a message (OpenAI's harmony)
};

// All calls:  section_open call... section_close
// A call:     open BODY close
//   kNamedJson   name_open NAME name_close JSON
//   kTags        NAME name_close, then (key_open KEY key_close value_open VALUE value_close)...
// Blanks may stand between all of these. Parts that a family does not have are empty. A call that
// comes without its section is one all the same.
struct CallSyntax {
  CallBody body = CallBody::kNone;
  std::string section_open, section_close;
  std::string open, close;
  // kNamedJson: may be left out when the model does. name_close empty: the name ends at a blank or
  // at `<`.
  std::string name_open, name_close;
  std::string id_open;  // kNamedJson: NAME id_open ID name_close
  std::string key_open, key_close, value_open, value_close;
  bool own_lines = false;               // kTags: a line break at both ends of a value is not its
  bool tells_strings = false;           // kTags: KEY is followed by `" string="true"` or "false"
  std::string quote;                    // kBraces: around strings
  std::string name_key, arguments_key;  // kJson, as the template writes them; others are read, too
  std::string id_key;                   // kJson: in front of them, a number as text; empty: none
  bool one_array = false;               // kJson: the template writes an array, of one call also
  bool one_block = false;  // kJson: all calls between one pair of markers, an object a line
  bool bare = false;       // kJson: without markers at the beginning of an answer
  bool keeps_ids = false;  // an id that the model writes is handed on
  size_t id_length = 0;    // ids have to be so many letters and digits (Mistral: 9); 0: any text
};

struct Format {
  std::string family;  // for messages and tests: "hermes", "qwen3-coder", "harmony" ...
  std::optional<Thinking> thinking;
  CallSyntax calls;
  std::vector<std::string> dropped;  // markers around content, not shown: "<|START_RESPONSE|>"
  // Control tokens of the model that stand in the texts above. A marker that begins with one is
  // none when ordinary text spells it.
  std::vector<std::string> control_tokens;
  std::string template_source;

  // Whether calls in an answer can be told.
  bool has_calls() const { return calls.body != CallBody::kNone; }
  // Whether a prompt that ends like this has begun the thinking: the answer begins inside it.
  bool thinking_open(std::string_view rendered_prompt) const;
  // The control token that `text` begins with, or nothing.
  std::string_view control_token(std::string_view text) const;
};

// What the template's text shows of it; llama.cpp (common/chat.cpp, chat-diff-analyzer.cpp) looks
// for the same words. A template that shows nothing known gives a Format without calls.
Format detect(std::string_view template_source, const text::Tokenizer& tokenizer);
// Without a tokenizer no marker is held to be a control token.
Format detect(std::string_view template_source);

}  // namespace outboard::chat
