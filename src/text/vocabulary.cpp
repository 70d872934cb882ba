#include "text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "support/error.h"

namespace outboard::text {
namespace {

constexpr const char* kTokens = "tokenizer.ggml.tokens";
constexpr const char* kTypes = "tokenizer.ggml.token_type";
constexpr const char* kScores = "tokenizer.ggml.scores";

uint32_t hash_of(std::string_view text) {
  const size_t hash = std::hash<std::string_view>{}(text);
  return static_cast<uint32_t>(hash ^ hash >> 32);
}

}  // namespace

Vocabulary::Vocabulary(const formats::Metadata& metadata) {
  if (!metadata.contains(kTokens))
    throw Error(fmt::format("{}: missing, expected the list of tokens", kTokens),
                "The file holds no vocabulary; use a complete GGUF file of the model.");
  const std::vector<std::string>& tokens = metadata.get_strings(kTokens);
  if (tokens.empty()) fail("{}: empty, expected at least one token", kTokens);
  size_t bytes = 0;
  for (const std::string& token : tokens) bytes += token.size();
  constexpr size_t kLimit = std::numeric_limits<int32_t>::max();
  if (tokens.size() >= kLimit / 2 || bytes >= kLimit)
    fail("{}: {} tokens of {} bytes, expected less than 2^30 tokens and 2^31 bytes", kTokens,
         tokens.size(), bytes);

  texts_.reserve(bytes);
  offsets_.reserve(tokens.size() + 1);
  for (const std::string& token : tokens) {
    offsets_.push_back(static_cast<uint32_t>(texts_.size()));
    texts_ += token;
    longest_ = std::max(longest_, token.size());
  }
  offsets_.push_back(static_cast<uint32_t>(texts_.size()));

  types_.assign(tokens.size(), TokenType::kNormal);
  if (metadata.contains(kTypes)) {
    const std::vector<int64_t> types = metadata.get_ints(kTypes);
    if (types.size() != tokens.size())
      fail("{}: {} values, expected {} as in {}", kTypes, types.size(), tokens.size(), kTokens);
    for (size_t i = 0; i < types.size(); ++i) {
      // 0 is "undefined" in GGUF; readers take it for a plain token.
      if (types[i] < 0 || types[i] > 6) fail("{}[{}]: {}, expected 1 to 6", kTypes, i, types[i]);
      types_[i] = types[i] == 0 ? TokenType::kNormal : static_cast<TokenType>(types[i]);
    }
  }
  for (size_t i = 0; i < types_.size(); ++i)
    if (types_[i] == TokenType::kNormal || types_[i] == TokenType::kByte)
      last_trained_ = static_cast<int32_t>(i);
  if (metadata.contains(kScores)) {
    scores_ = metadata.get_floats_or_empty(kScores);
    if (scores_.size() != tokens.size())
      fail("{}: {} values, expected {} as in {}", kScores, scores_.size(), tokens.size(), kTokens);
    for (size_t i = 0; i < scores_.size(); ++i)
      if (std::isnan(scores_[i])) fail("{}[{}]: not a number", kScores, i);
  }
  index_texts();
}

void Vocabulary::index_texts() {
  slots_.assign(std::bit_ceil(size() * 2), Slot{0, -1});
  const size_t mask = slots_.size() - 1;
  for (size_t i = 0; i < size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const std::string_view token = text(id);
    if (token.empty()) continue;
    const uint32_t hash = hash_of(token);
    size_t slot = hash & mask;
    bool known = false;
    while (slots_[slot].id >= 0 && !known) {
      known = slots_[slot].hash == hash && text(slots_[slot].id) == token;
      slot = (slot + 1) & mask;
    }
    if (!known) slots_[slot] = {hash, id};
  }
}

int32_t Vocabulary::find(std::string_view wanted) const {
  if (wanted.empty() || wanted.size() > longest_) return -1;
  const size_t mask = slots_.size() - 1;
  const uint32_t hash = hash_of(wanted);
  for (size_t slot = hash & mask; slots_[slot].id >= 0; slot = (slot + 1) & mask)
    if (slots_[slot].hash == hash && text(slots_[slot].id) == wanted) return slots_[slot].id;
  return -1;
}

}  // namespace outboard::text
