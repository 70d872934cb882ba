// Grammars that hold an answer to tool calls.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "chat/format.h"
#include "grammar/grammar.h"

namespace outboard::chat {

struct ToolChoice {
  std::string name;      // this function and no other; empty: any of the tools
  bool parallel = true;  // more than one call may come
  // Thinking may come before the calls: not at all, if the model opens it, or it has to, since the
  // prompt has opened it (Format::thinking_open()). The grammar is that of the whole answer.
  enum class Thinking { kNone, kMayOpen, kIsOpen } thinking = Thinking::kNone;
  bool required = true;  // false: the answer may be text, or text and then calls
};

struct ToolGrammar {
  std::shared_ptr<const grammar::Grammar> grammar;
  std::vector<std::string> notes;  // grammar::SchemaGrammar's, with the tool's name in front
};

// tools: OpenAI's array, as in ReaderOptions. An answer that the grammar lets through is one or
// more calls of them (or text), with arguments that are valid under their schemas, and AnswerReader
// reads it.
// Throws Error: a tool without a name, a schema that can't be compiled (the message names the
// tool), no tool of this name, a format without calls.
ToolGrammar tool_grammar(const Format& format, const nlohmann::ordered_json& tools,
                         const ToolChoice& choice);

// The text with which the thinking ends in this format ("</think>"); empty without thinking. For
// those who begin a grammar of their own (a JSON schema) only behind it.
std::string_view thinking_end(const Format& format);

}  // namespace outboard::chat
