// Keys and values of all layers in pages of half precision.
#pragma once

#include <cstdint>
#include <vector>

#include "program/program.h"
#include "support/aligned_buffer.h"

namespace outboard::cpu {

// Layout of one state: [page][kv_head][position in page][dim], keys and values apart. Memory that
// no position was ever written to costs nothing.
class KvCache {
 public:
  // Throws Error when the machine has less memory than the pages need.
  KvCache(const std::vector<program::KvState>& states, int pages, int page_tokens);

  uint16_t* keys(int state, int kv_head) const;
  uint16_t* values(int state, int kv_head) const;
  int64_t page_stride() const { return page_halves_; }  // in halves, from page to page
  int page_tokens() const { return page_tokens_; }

  void copy_page(int32_t from, int32_t to) const;
  size_t bytes() const { return memory_.size(); }

 private:
  struct Layer {
    program::KvState state;
    int64_t keys;  // offsets into a page in halves
    int64_t values;
  };
  uint16_t* base() const { return reinterpret_cast<uint16_t*>(memory_.data()); }

  int page_tokens_;
  int64_t page_halves_ = 0;
  std::vector<Layer> layers_;
  AlignedBuffer memory_;
};

}  // namespace outboard::cpu
