#include "engine/beam_pages.h"

#include <numeric>

#include "support/error.h"

namespace outboard::engine {

BeamPages::BeamPages(int pages, int page_tokens)
    : page_tokens_(page_tokens),
      free_(static_cast<size_t>(pages)),
      references_(static_cast<size_t>(pages), 0) {
  std::iota(free_.rbegin(), free_.rend(), 0);
}

int32_t BeamPages::take_page() {
  if (free_.empty()) fail("beam search: all {} KV pages are in use", references_.size());
  const int32_t page = free_.back();
  free_.pop_back();
  references_[static_cast<size_t>(page)] = 1;
  return page;
}

BeamPages::Pages BeamPages::take(int tokens) {
  Pages pages;
  for (int i = 0; i < pages_for(tokens, page_tokens_); ++i) pages.push_back(take_page());
  return pages;
}

BeamPages::Pages BeamPages::share(const Pages& pages) {
  for (const int32_t page : pages) ++references_[static_cast<size_t>(page)];
  return pages;
}

void BeamPages::extend(Pages& pages, int position, std::vector<devices::PageCopy>& copies) {
  if (static_cast<size_t>(position / page_tokens_) == pages.size()) {
    pages.push_back(take_page());
    return;
  }
  int32_t& last = pages.back();
  if (references_[static_cast<size_t>(last)] == 1) return;
  --references_[static_cast<size_t>(last)];
  const int32_t copy = take_page();
  copies.push_back({last, copy});
  last = copy;
}

void BeamPages::release(Pages& pages) {
  for (const int32_t page : pages)
    if (--references_[static_cast<size_t>(page)] == 0) free_.push_back(page);
  pages.clear();
}

}  // namespace outboard::engine
