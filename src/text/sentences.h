// Cutting long texts where sentences end; texts that say nothing.
#pragma once

#include <string_view>
#include <vector>

namespace outboard::text {

// The sentences of a line, without the space between them; joined by one space they give the line
// again, but for runs of spaces. A sentence ends at . ! ? or … (and closing quotes or brackets
// after them) before a space and something that can start a sentence (a letter that is not lower
// case, a digit, an opening quote or bracket), and after 。！？ anywhere. A dot after an initial
// ("J.") or a common abbreviation ("Dr.") ends none.
std::vector<std::string_view> split_sentences(std::string_view line);

// The same text cut in two near its middle: after a comma, semicolon or colon if there is one in
// the middle half, else at the space nearest to the middle, else between two characters. The first
// part is never empty; the second is, when the text is a single character.
std::pair<std::string_view, std::string_view> cut_in_two(std::string_view text);

// Nothing that could be seen or said: spaces of any kind, controls, marks that show nothing alone.
bool is_blank(std::string_view text);
// A letter or a digit of any script.
bool has_words(std::string_view text);

// The token of a language to translate to that a line begins with, ">>fra<<"; empty: none. Not a
// quotation that happens to hold "<<".
std::string_view language_token(std::string_view line);

}  // namespace outboard::text
