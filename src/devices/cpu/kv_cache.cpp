#include "devices/cpu/kv_cache.h"

#include <cstring>

#include "support/error.h"
#include "support/machine.h"
#include "support/progress.h"

namespace outboard::cpu {

KvCache::KvCache(const std::vector<program::KvState>& states, int pages, int page_tokens)
    : page_tokens_(page_tokens) {
  for (const program::KvState& state : states) {
    const int64_t rows = int64_t{page_tokens} * state.kv_heads;
    layers_.push_back({state, page_halves_, page_halves_ + rows * state.key_dim});
    page_halves_ += rows * (state.key_dim + state.value_dim);
  }
  const size_t positions = static_cast<size_t>(pages) * static_cast<size_t>(page_tokens);
  const size_t bytes =
      static_cast<size_t>(pages) * static_cast<size_t>(page_halves_) * sizeof(uint16_t);
  const size_t memory = physical_memory();
  if (memory > 0 && bytes > memory)
    throw Error(
        fmt::format("a context of {} positions needs {} for keys and values, but this machine "
                    "has {} of memory",
                    positions, format_bytes(bytes), format_bytes(memory)),
        "Ask for a shorter context with --ctx.");
  memory_ = AlignedBuffer(bytes);
}

uint16_t* KvCache::keys(int state, int kv_head) const {
  const Layer& layer = layers_[static_cast<size_t>(state)];
  return base() + layer.keys + int64_t{kv_head} * page_tokens_ * layer.state.key_dim;
}

uint16_t* KvCache::values(int state, int kv_head) const {
  const Layer& layer = layers_[static_cast<size_t>(state)];
  return base() + layer.values + int64_t{kv_head} * page_tokens_ * layer.state.value_dim;
}

void KvCache::copy_page(int32_t from, int32_t to) const {
  std::memcpy(base() + to * page_halves_, base() + from * page_halves_,
              static_cast<size_t>(page_halves_) * sizeof(uint16_t));
}

}  // namespace outboard::cpu
