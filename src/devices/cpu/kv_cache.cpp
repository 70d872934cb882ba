#include "devices/cpu/kv_cache.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "support/error.h"
#include "support/machine.h"
#include "support/progress.h"

namespace outboard::devices::cpu {

KvCache::KvCache(const std::vector<program::KvState>& states, int pages, int page_tokens,
                 bool floats)
    : page_tokens_(page_tokens), element_bytes_(floats ? sizeof(float) : sizeof(uint16_t)) {
  std::array<int64_t, 2> used{};  // of a page by a sequence's states, by a source's
  for (const program::KvState& state : states) {
    int64_t& at = used[state.source ? 1 : 0];
    const int64_t rows = int64_t{page_tokens} * state.kv_heads;
    layers_.push_back({state, at, state.values_in_keys ? at : at + rows * state.key_dim});
    at += int64_t{page_tokens} * state.elements();
  }
  page_elements_ = std::max(used[0], used[1]);
  const size_t positions = static_cast<size_t>(pages) * static_cast<size_t>(page_tokens);
  const size_t bytes =
      static_cast<size_t>(pages) * static_cast<size_t>(page_elements_) * element_bytes_;
  const size_t memory = physical_memory();
  if (memory > 0 && bytes > memory)
    throw Error(
        fmt::format("a context of {} positions needs {} for keys and values, but this machine "
                    "has {} of memory",
                    positions, format_bytes(bytes), format_bytes(memory)),
        "Ask for a shorter context with --ctx.");
  if (bytes > 0) memory_ = AlignedBuffer(bytes);
}

std::byte* KvCache::keys(int state, int kv_head) const {
  const Layer& layer = layers_[static_cast<size_t>(state)];
  return at(layer.keys + int64_t{kv_head} * page_tokens_ * layer.state.key_dim);
}

std::byte* KvCache::values(int state, int kv_head) const {
  const Layer& layer = layers_[static_cast<size_t>(state)];
  return at(layer.values + int64_t{kv_head} * page_tokens_ * value_row(state));
}

void KvCache::copy_page(int32_t from, int32_t to, int part, int parts) const {
  if (page_elements_ == 0) return;
  const int64_t begin = page_elements_ * part / parts;
  const int64_t end = page_elements_ * (part + 1) / parts;
  std::memcpy(at(to * page_elements_ + begin), at(from * page_elements_ + begin),
              static_cast<size_t>(end - begin) * element_bytes_);
}

}  // namespace outboard::devices::cpu
