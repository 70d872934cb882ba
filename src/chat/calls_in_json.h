// Calls in JSON that is still being written.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chat/format.h"

namespace outboard::chat {

// Follows JSON that a grammar holds to a format's calls (tool_grammar()): {"name": ...,
// "arguments": {...}}, an array of such, or {"NAME": {...}}. What is no such JSON gives calls that
// mean nothing.
class CallsInJson {
 public:
  explicit CallsInJson(const CallSyntax& syntax) : syntax_(&syntax) {}

  struct Written {
    std::string name;
    std::string arguments;  // so far
    bool ended = false;     // nothing more comes of the arguments
  };

  // text: all that came so far; it only grows.
  void follow(std::string_view text);
  // In order; the last may have no name yet.
  const std::vector<Written>& calls() const { return calls_; }

 private:
  void step(char c);
  void string_ended();

  const CallSyntax* syntax_;
  size_t at_ = 0;
  size_t depth_ = 0;       // brackets that are open
  size_t call_depth_ = 1;  // in a call's object
  bool in_string_ = false, escaped_ = false, is_value_ = false, in_arguments_ = false;
  std::string string_, key_;
  std::vector<Written> calls_;
};

}  // namespace outboard::chat
