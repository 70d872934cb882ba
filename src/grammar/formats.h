// The formats of JSON schema that are written out as text.
#pragma once

#include <optional>
#include <string_view>

#include "grammar/char_dfa.h"

namespace outboard::grammar {

// What texts of a format are, or a part of them: all are valid, but not every valid one is here
// (leap seconds, comments in addresses, characters beyond ASCII). None for a format that is not
// known, or whose texts are no regular language.
std::optional<CharDfa> compile_format(std::string_view name);

}  // namespace outboard::grammar
