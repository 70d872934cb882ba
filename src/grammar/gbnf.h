// Grammars in llama.cpp's notation, GBNF (its grammars/README.md says what that is).
#pragma once

#include <memory>
#include <string_view>

#include "grammar/grammar.h"

namespace outboard::grammar {

// Rules `name ::= ...` of which one is called root: literals, classes of characters, `.`, groups,
// alternatives, `* + ?`, `{m}`, `{m,}`, `{m,n}` and comments. Characters are Unicode's, in UTF-8.
//
// Throws Error, "line L, column C: ...": for what is no GBNF, rules that are not there or there
// twice, a rule that begins with itself (as llama.cpp, which would never end either), and for
// `<token>` and `<[id]>`, which are not done here. Rules that can't be brought to an end are left
// out; where the root is one, that is an Error, too.
std::shared_ptr<const Grammar> parse_gbnf(std::string_view text);

}  // namespace outboard::grammar
