// An answer as it comes, told apart: thinking, text for the person, tool calls.
#pragma once

#include <cstddef>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "chat/format.h"

namespace outboard::chat {

struct Event {
  enum class Kind {
    kReasoning,      // text: more of the thinking
    kContent,        // text: more of what the person reads
    kCallBegin,      // index, id, name
    kCallArguments,  // index; text: a piece of the JSON text of one object
    kCallEnd,        // index
  };
  Kind kind;
  std::string text;
  size_t index = 0;  // of the call: 0, 1, ...
  std::string id;    // unique
  std::string name;
};

struct ReaderOptions {
  bool thinking_open = false;  // the prompt has begun the thinking (Format::thinking_open())
  bool parse_tools = true;     // false: calls are content
  // The request's tools, as OpenAI has them: [{"type": "function", "function": {"name":,
  // "parameters": schema}}]. They say which values written in tags are strings. Copied.
  nlohmann::ordered_json tools = nullptr;
  // A grammar (tool_grammar()) lets nothing through but whole calls: their arguments may be told
  // as they are written. A call that is cut off, then, is told as far as it came.
  bool calls_are_held = false;
};

class Reader;

// Whatever is fed comes out in order and once: bytes of a call that can't be read, or that was cut
// off, come out as content, markers included. What is left out are the markers of what was read,
// the blanks around them, and control tokens that belong to no marker.
//
// A call comes whole, its three events together, when its end has been read: until then it may
// still turn out to be none. Where calls are held to their format, they come as they are written
// (of kBraces and kPython whole all the same). Text is held back only as long as it may be the
// beginning of a marker (or blanks in front of one). Inside the thinking no calls are looked for.
// The thinking may begin at the beginning of an answer, and behind calls or thinking; elsewhere its
// marker is content, unless it came as a control token.
//
// Never throws on any text. One thread at a time. How pieces are cut makes no difference to the
// sum of events, as long as control tokens come whole.
class AnswerReader {
 public:
  AnswerReader(const Format& format, ReaderOptions options);
  AnswerReader(AnswerReader&&) noexcept;
  AnswerReader& operator=(AnswerReader&&) noexcept;
  ~AnswerReader();

  // text: whole UTF-8 characters. is_marker: text is that of one control token.
  std::vector<Event> feed(std::string_view text, bool is_marker = false);
  // Nothing more comes: what was held back.
  std::vector<Event> finish();

  // The number of calls so far; > 0: the answer's reason to end is "tool_calls".
  size_t calls() const;
  // Whether what comes next is thinking.
  bool thinking() const;

 private:
  std::unique_ptr<Reader> reader_;
};

}  // namespace outboard::chat
