// The regular expressions of JSON schemas (ECMA-262's, as far as they are regular).
#pragma once

#include <string_view>

#include "grammar/char_dfa.h"

namespace outboard::grammar {

// All texts in which the pattern is found somewhere, as JSON schema's `pattern` asks; ^ and $ are
// the text's begin and end. Characters, classes, \d \w \s and their opposites as ECMA-262 has them
// with the flag u, `.` (all but line ends), groups, alternatives and repetitions, greedy or lazy.
// Throws Error naming what there is besides: back references, look-around, \b, \p{...}; what is no
// pattern; and what becomes too large.
CharDfa compile_pattern(std::string_view pattern);

}  // namespace outboard::grammar
