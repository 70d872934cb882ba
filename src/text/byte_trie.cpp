#include "text/byte_trie.h"

namespace outboard::text {

ByteTrie::ByteTrie() : edges_(64), values_{-1} { first_.fill(kNone); }

size_t ByteTrie::slot_of(uint64_t key) const {
  const size_t mask = edges_.size() - 1;
  // Fibonacci hashing; the high bits of the product are the mixed ones.
  size_t slot = static_cast<size_t>((key * 0x9E3779B97F4A7C15u) >> 24) & mask;
  while (edges_[slot].key != 0 && edges_[slot].key != key) slot = (slot + 1) & mask;
  return slot;
}

void ByteTrie::grow() {
  std::vector<Edge> old(edges_.size() * 2);
  old.swap(edges_);
  for (const Edge& edge : old)
    if (edge.key != 0) edges_[slot_of(edge.key)] = edge;
}

void ByteTrie::add(std::string_view string, int32_t value) {
  if (string.empty()) return;
  uint32_t node = kRoot;
  for (const char character : string) {
    const auto byte = static_cast<uint8_t>(character);
    uint32_t target = next(node, byte);
    if (target == kNone) {
      target = static_cast<uint32_t>(values_.size());
      values_.push_back(-1);
      if (node == kRoot) {
        first_[byte] = target;
      } else {
        if (++used_ * 2 > edges_.size()) grow();
        const uint64_t key = (uint64_t{node} + 1) << 8 | byte;
        edges_[slot_of(key)] = {key, target};
      }
    }
    node = target;
  }
  if (values_[node] < 0) values_[node] = value;
}

uint32_t ByteTrie::next(uint32_t node, uint8_t byte) const {
  if (node == kRoot) return first_[byte];
  const Edge& edge = edges_[slot_of((uint64_t{node} + 1) << 8 | byte)];
  return edge.key == 0 ? kNone : edge.target;
}

ByteTrie::Match ByteTrie::longest(std::string_view text, size_t at) const {
  Match match;
  uint32_t node = kRoot;
  for (size_t i = at; i < text.size(); ++i) {
    node = next(node, static_cast<uint8_t>(text[i]));
    if (node == kNone) break;
    if (values_[node] >= 0) match = {i + 1 - at, values_[node]};
  }
  return match;
}

}  // namespace outboard::text
