// Keys and values of all layers in pages.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "program/program.h"
#include "support/aligned_buffer.h"

namespace outboard::devices::cpu {

// Layout of one state: [page][kv_head][position in page][dim], keys and values apart. Memory that
// no position was ever written to costs nothing.
class KvCache {
 public:
  // Throws Error when the machine has less memory than the pages need.
  KvCache(const std::vector<program::KvState>& states, int pages, int page_tokens, bool floats);

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
  int64_t page_stride() const { return page_elements_; }  // in elements, from page to page
  int page_tokens() const { return page_tokens_; }

  // Part `part` of `parts` of a page.
  void copy_page(int32_t from, int32_t to, int part, int parts) const;
  size_t bytes() const { return memory_.size(); }
  // All of a page.
  std::span<std::byte> page(int32_t page) const {
    return {at(page * page_elements_), static_cast<size_t>(page_elements_) * element_bytes_};
  }

 private:
  struct Layer {
    program::KvState state;
    int64_t keys;  // offsets into a page in elements
    int64_t values;
  };
  std::byte* at(int64_t element) const {
    return memory_.data() + static_cast<size_t>(element) * element_bytes_;
  }

  int page_tokens_;
  size_t element_bytes_;
  int64_t page_elements_ = 0;
  std::vector<Layer> layers_;
  AlignedBuffer memory_;
};

}  // namespace outboard::devices::cpu
