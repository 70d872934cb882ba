// The merging of neighbours that both kinds of byte pair encoding share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace outboard::text {

// A part of the text, in a doubly linked list by index. Length 0: merged into its left neighbour.
struct Symbol {
  int32_t id;       // token, or -1 for none
  uint32_t begin;   // bytes in the text
  uint32_t length;  // bytes
  int32_t previous, next;
  bool frozen = false;  // takes no part in merging
};

// A possible merge. Smaller priority first, then from left to right.
struct MergeCandidate {
  double priority;
  int32_t id;  // of the merged token
  uint32_t left, right;
  uint32_t length;  // of both together; tells a stale candidate from a live one
};

struct MergeScratch {
  std::vector<Symbol> symbols;
  std::vector<MergeCandidate> heap;
};

// Merges until nothing is left to merge; O(n log n). find(left, right, candidate) says whether two
// neighbouring symbols may merge, and sets id and priority. merged(left, right) is called before a
// merge is carried out.
template <typename Find, typename Merged>
void merge_symbols(MergeScratch& scratch, Find find, Merged merged) {
  std::vector<Symbol>& symbols = scratch.symbols;
  std::vector<MergeCandidate>& heap = scratch.heap;
  const auto later = [](const MergeCandidate& a, const MergeCandidate& b) {
    return a.priority != b.priority ? a.priority > b.priority : a.left > b.left;
  };
  const auto consider = [&](int32_t left, int32_t right, bool push) {
    if (left < 0 || right < 0) return;
    const Symbol& a = symbols[static_cast<size_t>(left)];
    const Symbol& b = symbols[static_cast<size_t>(right)];
    if (a.frozen || b.frozen) return;
    MergeCandidate candidate{0, -1, static_cast<uint32_t>(left), static_cast<uint32_t>(right),
                             a.length + b.length};
    if (!find(a, b, candidate)) return;
    heap.push_back(candidate);
    if (push) std::push_heap(heap.begin(), heap.end(), later);
  };

  heap.clear();
  for (size_t i = 1; i < symbols.size(); ++i)
    consider(static_cast<int32_t>(i - 1), static_cast<int32_t>(i), false);
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const MergeCandidate top = heap.back();
    heap.pop_back();
    Symbol& left = symbols[top.left];
    Symbol& right = symbols[top.right];
    // A neighbour was merged elsewhere in the meantime.
    if (left.length == 0 || right.length == 0 || left.length + right.length != top.length) continue;
    merged(left, right);
    left.id = top.id;
    left.length = top.length;
    left.next = right.next;
    if (right.next >= 0) symbols[static_cast<size_t>(right.next)].previous = right.previous;
    right.length = 0;
    consider(left.previous, static_cast<int32_t>(top.left), true);
    consider(static_cast<int32_t>(top.left), left.next, true);
  }
}

// Links the symbols to a list in their order.
inline void link_symbols(std::vector<Symbol>& symbols) {
  const auto count = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i < count; ++i) {
    symbols[static_cast<size_t>(i)].previous = i - 1;
    symbols[static_cast<size_t>(i)].next = i + 1 < count ? i + 1 : -1;
  }
}

}  // namespace outboard::text
