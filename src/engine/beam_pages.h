// KV pages that beams share: counted by reference, copied when two beams would write to one.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/device.h"

namespace outboard::engine {

// Pages that hold so many positions.
constexpr int pages_for(int tokens, int page_tokens) {
  return (tokens + page_tokens - 1) / page_tokens;
}

class BeamPages {
 public:
  BeamPages(int pages, int page_tokens);

  using Pages = std::vector<int32_t>;  // of one sequence, in order of position

  // Pages of its own for `tokens` positions. Throws Error when there are too few left, which a
  // caller who counts prevents.
  Pages take(int tokens);
  // Another sequence that begins like this one.
  Pages share(const Pages& pages);
  // Makes the page of `position` (the sequence's next) its own to write: a new one, or a copy,
  // which is appended to `copies` and must be in the step that writes.
  void extend(Pages& pages, int position, std::vector<devices::PageCopy>& copies);
  void release(Pages& pages);

  int free() const { return static_cast<int>(free_.size()); }

 private:
  int32_t take_page();

  int page_tokens_;
  std::vector<int32_t> free_;
  std::vector<int> references_;
};

}  // namespace outboard::engine
