// The merges that a byte pair encoding was trained to, best first; internal to this room.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "formats/metadata.h"
#include "text/merge.h"
#include "text/vocabulary.h"

namespace outboard::text {

inline constexpr const char* kMerges = "tokenizer.ggml.merges";

// (left token, right token) -> rank and merged token; open addressing.
class MergeTable {
 public:
  void reserve(size_t count) { slots_.assign(std::bit_ceil(count * 2 + 1), Slot{}); }

  // The first rank of a pair stays.
  void add(int32_t left, int32_t right, int32_t rank, int32_t merged) {
    Slot& slot = slots_[slot_of(key_of(left, right))];
    if (slot.rank < 0) slot = {key_of(left, right), rank, merged};
  }

  bool find(int32_t left, int32_t right, MergeCandidate& candidate) const {
    const Slot& slot = slots_[slot_of(key_of(left, right))];
    candidate.priority = slot.rank;
    candidate.id = slot.merged;
    return slot.rank >= 0;
  }

 private:
  struct Slot {
    uint64_t key = 0;
    int32_t rank = -1;  // free
    int32_t merged = -1;
  };
  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const {
    const size_t mask = slots_.size() - 1;
    uint64_t hash = key * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
    size_t slot = static_cast<size_t>(hash) & mask;
    while (slots_[slot].rank >= 0 && slots_[slot].key != key) slot = (slot + 1) & mask;
    return slot;
  }
  std::vector<Slot> slots_;
};

// "tokenizer.ggml.merges", pairs with a space between. Throws Error where there are none, and for
// one that names no tokens.
MergeTable read_merges(const formats::Metadata& metadata, const Vocabulary& vocabulary);

}  // namespace outboard::text
