#include "devices/cpu/kv_cache.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "support/error.h"
#include "support/machine.h"
#include "support/progress.h"

namespace outboard::devices::cpu {

KvCache::KvCache(const std::vector<program::KvState>& states,
                 const devices::CompileOptions& options, bool floats)
    : page_tokens_(options.page_tokens), element_bytes_(floats ? sizeof(float) : sizeof(uint16_t)) {
  std::array<int64_t, 2> full{};  // of a page by a sequence's states, by a source's
  Pages& windows = pages_[static_cast<size_t>(devices::PageKind::kWindow)];
  for (const program::KvState& state : states) {
    const bool is_window = state.window > 0 && options.window_pages > 0;
    int64_t& at = is_window ? windows.elements : full[state.source ? 1 : 0];
    const int64_t rows = int64_t{page_tokens_} * state.kv_heads;
    layers_.push_back({state, is_window ? devices::PageKind::kWindow : devices::PageKind::kFull, at,
                       state.values_in_keys ? at : at + rows * state.key_dim});
    at += int64_t{page_tokens_} * state.elements();
  }
  pages_[static_cast<size_t>(devices::PageKind::kFull)].elements = std::max(full[0], full[1]);
  const std::array<size_t, 2> counts{static_cast<size_t>(options.pages),
                                     static_cast<size_t>(options.window_pages)};
  const auto bytes_of = [&](size_t kind) {
    return counts[kind] * static_cast<size_t>(pages_[kind].elements) * element_bytes_;
  };
  const size_t bytes = bytes_of(0) + bytes_of(1);
  const size_t memory = physical_memory();
  if (memory > 0 && bytes > memory)
    throw Error(
        fmt::format("a context of {} positions needs {} for keys and values, but this machine "
                    "has {} of memory",
                    counts[0] * static_cast<size_t>(page_tokens_), format_bytes(bytes),
                    format_bytes(memory)),
        "Ask for a shorter context with --ctx.");
  for (size_t kind = 0; kind < pages_.size(); ++kind)
    if (bytes_of(kind) > 0) pages_[kind].memory = AlignedBuffer(bytes_of(kind));
}

std::byte* KvCache::keys(int state, int kv_head) const {
  const Layer& layer = layers_[static_cast<size_t>(state)];
  return at(layer.kind, layer.keys + int64_t{kv_head} * page_tokens_ * layer.state.key_dim);
}

std::byte* KvCache::values(int state, int kv_head) const {
  const Layer& layer = layers_[static_cast<size_t>(state)];
  return at(layer.kind, layer.values + int64_t{kv_head} * page_tokens_ * value_row(state));
}

void KvCache::copy_page(devices::PageKind kind, devices::PageCopy copy, int part, int parts) const {
  const int64_t elements = pages(kind).elements;
  if (elements == 0) return;
  const int64_t begin = elements * part / parts;
  const int64_t end = elements * (part + 1) / parts;
  std::memcpy(at(kind, copy.to * elements + begin), at(kind, copy.from * elements + begin),
              static_cast<size_t>(end - begin) * element_bytes_);
}

}  // namespace outboard::devices::cpu
