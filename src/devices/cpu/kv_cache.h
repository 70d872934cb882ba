// Keys and values of all layers in pages of both kinds.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "devices/device.h"
#include "program/program.h"
#include "support/aligned_buffer.h"

namespace outboard::devices::cpu {

// Layout of one state: [page][kv_head][position in page][dim], keys and values apart. Memory that
// no position was ever written to costs nothing.
class KvCache {
 public:
  // Throws Error when the machine has less memory than the pages need.
  KvCache(const std::vector<program::KvState>& states, const devices::CompileOptions& options,
          bool floats);

  // Of page 0.
  std::byte* keys(int state, int kv_head) const;
  std::byte* values(int state, int kv_head) const;
  // Elements from a position's value to the next one's.
  int value_row(int state) const {
    const program::KvState& s = layers_[static_cast<size_t>(state)].state;
    return s.values_in_keys ? s.key_dim : s.value_dim;
  }
  bool floats() const { return element_bytes_ == sizeof(float); }  // float32, else f16
  size_t element_bytes() const { return element_bytes_; }
  // The kind of page that the state is in, and the elements from one of them to the next.
  devices::PageKind kind(int state) const { return layers_[static_cast<size_t>(state)].kind; }
  int64_t page_stride(int state) const { return pages(kind(state)).elements; }
  int page_tokens() const { return page_tokens_; }

  // Part `part` of `parts` of a page.
  void copy_page(devices::PageKind kind, devices::PageCopy copy, int part, int parts) const;
  size_t bytes() const { return pages_[0].memory.size() + pages_[1].memory.size(); }
  // All of a page.
  std::span<std::byte> page(devices::PageKind kind, int32_t page) const {
    return {at(kind, page * pages(kind).elements),
            static_cast<size_t>(pages(kind).elements) * element_bytes_};
  }

 private:
  struct Layer {
    program::KvState state;
    devices::PageKind kind;
    int64_t keys;  // offsets into a page in elements
    int64_t values;
  };
  struct Pages {
    int64_t elements = 0;  // of one
    AlignedBuffer memory;
  };
  const Pages& pages(devices::PageKind kind) const { return pages_[static_cast<size_t>(kind)]; }
  std::byte* at(devices::PageKind kind, int64_t element) const {
    return pages(kind).memory.data() + static_cast<size_t>(element) * element_bytes_;
  }

  int page_tokens_;
  size_t element_bytes_;
  std::vector<Layer> layers_;
  std::array<Pages, 2> pages_;  // by kind
};

}  // namespace outboard::devices::cpu
