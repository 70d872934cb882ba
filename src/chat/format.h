// How a family of models writes its thinking and its tool calls, read from its chat template.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace outboard::chat {

// What begins or ends a part of an answer. Many markers are control tokens of the model, and then
// ordinary text that is spelled the same is no marker.
struct Marker {
  std::string text;  // empty: there is none
  // So many bytes at the beginning of `text` are a control token of this model: 0, or the token's
  // length.
  size_t control = 0;

  bool empty() const { return text.empty(); }
};

struct Thinking {
  Marker open, close;  // "<think>", "</think>"
};

// What stands between a call's markers.
enum class CallBody {
  kNone,       // the family's calls are not known: all is content
  kJson,       // {"name": ..., "arguments": {...}}, or an array of such objects
  kKeyedJson,  // [{"name of the function": {...}}]
  kNamedJson,  // the name, a marker, {...}
  kTags,       // the name, then key and value in tags, as XML has it
  kBraces,     // call:name{key:value,...}, strings in a quote of their own (Gemma)
  kPython,     // [name(key=value, ...), ...]
  kChannels,   // the name stands in a message's header (OpenAI's harmony)
};

// All calls:  section_open call... section_close
// A call:     open name_open NAME name_close BODY close
//   kTags:    BODY is (key_open KEY key_close VALUE value_close)...
// Blanks may stand between all of these. Any part may be empty.
struct CallSyntax {
  CallBody body = CallBody::kNone;
  Marker section_open, section_close;
  Marker open, close;
  Marker also_open;                   // another marker that begins a call
  std::string name_open, name_close;  // kNamedJson, kTags
  std::string key_open, key_close, value_close;
  bool value_on_own_line = false;   // kTags: a line break before and behind each value is not its
  bool value_tells_string = false;  // kTags: the key's tag says string="true" or "false"
  std::string quote;                // kBraces: around strings
  std::string name_key = "name";    // kJson
  std::string arguments_key = "arguments";
  std::string id_key;      // kJson: beside them, a number for each call; empty: none
  bool bare = false;       // kJson: without markers when it is all of the answer (Llama 3)
  bool one_array = false;  // kJson: calls are one array, written between the section's markers
  bool keeps_ids = false;  // ids that the model writes are handed on
  size_t id_length = 0;    // ids must be so many letters and digits (Mistral: 9); 0: any
};

struct Format {
  std::string family;  // for messages and tests: "hermes", "qwen3-coder", "harmony" ...
  std::optional<Thinking> thinking;
  CallSyntax calls;
  std::vector<Marker> dropped;  // around content, not shown: "<|START_RESPONSE|>"
  std::string template_source;

  // Whether the calls of an answer can be told.
  bool has_calls() const { return calls.body != CallBody::kNone; }
  // Whether a prompt that ends like this has begun the thinking: the answer begins inside it.
  bool thinking_open(std::string_view rendered_prompt) const;
};

// What the template's text shows of it, as llama.cpp's common/chat.cpp looks for the same words.
// A template that shows nothing known gives a Format without calls. Never throws.
Format detect(std::string_view template_source, const text::Tokenizer& tokenizer);
// Without a tokenizer: no marker is held to be a control token.
Format detect(std::string_view template_source);

}  // namespace outboard::chat
