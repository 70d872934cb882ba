#include "devices/cpu/kv_cache.h"

#include <cstring>

#include "support/error.h"
#include "support/machine.h"
#include "support/progress.h"

namespace outboard::cpu {

KvCache::KvCache(const std::vector<program::KvState>& states, int pages, int page_tokens)
    : page_tokens_(page_tokens) {
  const size_t positions = static_cast<size_t>(pages) * static_cast<size_t>(page_tokens);
  size_t halves = 0;
  for (const program::KvState& state : states) {
    const size_t heads = positions * static_cast<size_t>(state.kv_heads);
    Layer layer{state, halves, 0};
    halves += heads * static_cast<size_t>(state.key_dim);
    layer.values = halves;
    halves += heads * static_cast<size_t>(state.value_dim);
    layers_.push_back(layer);
  }
  const size_t bytes = halves * sizeof(uint16_t);
  const size_t memory = physical_memory();
  if (memory > 0 && bytes > memory)
    throw Error(
        fmt::format("a context of {} positions needs {} for keys and values, but this machine "
                    "has {} of memory",
                    positions, format_bytes(bytes), format_bytes(memory)),
        "Ask for a shorter context with --ctx.");
  memory_ = AlignedBuffer(bytes);
}

int64_t KvCache::key_page_stride(int state) const {
  const program::KvState& s = layers_[static_cast<size_t>(state)].state;
  return int64_t{s.kv_heads} * page_tokens_ * s.key_dim;
}

int64_t KvCache::value_page_stride(int state) const {
  const program::KvState& s = layers_[static_cast<size_t>(state)].state;
  return int64_t{s.kv_heads} * page_tokens_ * s.value_dim;
}

uint16_t* KvCache::keys(int state, int kv_head) const {
  const Layer& layer = layers_[static_cast<size_t>(state)];
  return base() + layer.keys + int64_t{kv_head} * page_tokens_ * layer.state.key_dim;
}

uint16_t* KvCache::values(int state, int kv_head) const {
  const Layer& layer = layers_[static_cast<size_t>(state)];
  return base() + layer.values + int64_t{kv_head} * page_tokens_ * layer.state.value_dim;
}

void KvCache::copy_page(int state, int32_t from, int32_t to) const {
  const auto copy = [&](uint16_t* pages, int64_t stride) {
    std::memcpy(pages + to * stride, pages + from * stride,
                static_cast<size_t>(stride) * sizeof(uint16_t));
  };
  copy(keys(state, 0), key_page_stride(state));
  copy(values(state, 0), value_page_stride(state));
}

}  // namespace outboard::cpu
