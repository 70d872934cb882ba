// For tests: what a grammar accepts, byte by byte.
#pragma once

#include <bit>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/matcher.h"

namespace outboard::grammar {

// Every byte is a token; the one behind them ends the text.
inline std::shared_ptr<const Vocabulary> byte_vocabulary() {
  std::vector<std::string> pieces;
  for (int byte = 0; byte < 256; ++byte) pieces.emplace_back(1, static_cast<char>(byte));
  pieces.emplace_back();
  return std::make_shared<const Vocabulary>(std::move(pieces), std::vector<int32_t>{256});
}

// Whether the text is a whole one.
inline bool accepts(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  Matcher matcher(grammar, byte_vocabulary());
  return matcher.accept_bytes(text) && matcher.can_end();
}

// Whether it may be the beginning of one.
inline bool begins(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  return Matcher(grammar, byte_vocabulary()).accept_bytes(text);
}

// Takes the highest token that is allowed, so many times, or until the text ends. Where none is, or
// the mask and accept() differ, the program aborts.
inline void walk(const std::shared_ptr<const Grammar>& grammar,
                 const std::shared_ptr<const Vocabulary>& vocabulary, int steps) {
  Matcher matcher(grammar, vocabulary);
  for (int step = 0; step < steps && !matcher.ended(); ++step) {
    const auto mask = matcher.mask();
    size_t word = mask.size();
    while (word > 0 && mask[word - 1] == 0) --word;
    if (word == 0) std::abort();
    const auto token = static_cast<int32_t>(word * 32) - 1 - std::countl_zero(mask[word - 1]);
    if (!matcher.accept(token)) std::abort();
  }
}

}  // namespace outboard::grammar
