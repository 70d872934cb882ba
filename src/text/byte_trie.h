// Strings found by walking a text byte by byte.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace outboard::text {

// Grows only; safe to read from many threads once built. Edges of all nodes share one hash table,
// so building it for a vocabulary of 250,000 takes tens of milliseconds and no node allocations.
class ByteTrie {
 public:
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kNone = ~uint32_t{0};

  ByteTrie();

  // The first value added for a string stays. Empty strings are ignored.
  void add(std::string_view string, int32_t value);
  bool empty() const { return values_.size() == 1; }

  // The node after one more byte, or kNone.
  uint32_t next(uint32_t node, uint8_t byte) const;
  // The value of the string that ends at this node, or -1.
  int32_t value(uint32_t node) const { return values_[node]; }

  struct Match {
    size_t length = 0;  // 0: nothing found
    int32_t value = -1;
  };
  // The longest string that text has at position at.
  Match longest(std::string_view text, size_t at) const;
  // The longest of those for which accepts(match) holds.
  template <typename Accepts>
  Match longest_that(std::string_view text, size_t at, Accepts accepts) const {
    Match best;
    uint32_t node = kRoot;
    for (size_t i = at; i < text.size(); ++i) {
      node = next(node, static_cast<uint8_t>(text[i]));
      if (node == kNone) break;
      const Match match{i + 1 - at, value(node)};
      if (match.value >= 0 && accepts(match)) best = match;
    }
    return best;
  }

 private:
  struct Edge {
    uint64_t key = 0;  // 0: free; else (node + 1) << 8 | byte
    uint32_t target = 0;
  };
  size_t slot_of(uint64_t key) const;
  void grow();

  std::array<uint32_t, 256> first_;  // edges of the root
  std::vector<Edge> edges_;
  size_t used_ = 0;
  std::vector<int32_t> values_;  // by node
};

}  // namespace outboard::text
