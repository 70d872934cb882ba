// KV pages, counted by reference and shared between sequences that begin alike; slots, one a
// sequence, and snapshots of them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "devices/device.h"
#include "engine/page_store.h"

namespace outboard::engine {

// The pages form a tree: a node is a page with the tokens whose keys and values it holds, and its
// path from the root spells the beginning of a text. A sequence holds references to the nodes of
// its path and owns the page it is writing. Pages that no sequence refers to stay in the tree as a
// cache, and the ones used longest ago are taken when a page is needed.
//
// Of a Program with slot states a sequence has a slot, too, and a beginning of a text can only be
// gone on from where a snapshot of a slot hangs at the node: a copy in one of a limited number of
// further slots, of which the one used longest ago goes.
//
// Where there are window pages (devices::PageKind), a node has one beside its full page until
// another needs it: those that no sequence's next token sees go, the ones used longest ago first. A
// beginning of a text can only be gone on from where the window behind it is still there.
struct PageWindows {
  int positions = 0;  // that a token sees, its own included
  // 0: there are none. REQUIRES: as many as all sequences want at a time, for their windows and
  // what one step computes.
  int pages = 0;
};

class PagePool {
 public:
  // sequences: that run at once, slots 0 to sequences - 1 are theirs; 0: the Program has no slot
  // states. Snapshots have the slots behind them.
  PagePool(int pages, int page_tokens, bool cache, int sequences = 0, int snapshots = 0,
           PageWindows windows = {});
  ~PagePool();
  PagePool(PagePool&&) noexcept;
  PagePool& operator=(PagePool&&) noexcept;

  // A sequence's hold on pages.
  class Lease {
   public:
    std::span<const int32_t> pages() const { return pages_; }
    // Beside them; -1: given back. Empty where there are none.
    std::span<const int32_t> window_pages() const { return window_pages_; }
    int32_t slot() const { return slot_; }  // -1: the Program has none
    // Tokens, whole pages, that the tree knew of this text when it began: where they are more than
    // could be gone on from, texts part there, and a snapshot is worth having.
    size_t known() const { return known_; }

   private:
    friend class PagePool;
    std::vector<int32_t> pages_;            // in order of position
    std::vector<int32_t> window_pages_;     // likewise
    std::vector<struct PageNode*> shared_;  // nodes of the first pages; the rest is owned
    std::vector<int32_t> tokens_;           // all tokens whose keys and values are computed
    int32_t slot_ = -1;
    size_t known_ = 0;
    struct PageNode* answer_ = nullptr;  // the node with the snapshot of its growing answer
  };

  // Starts a sequence: finds how much of the prompt is in the tree already, at most `limit` tokens.
  // Where the match ends inside a page, that page is copied: the copy is appended to `copies` and
  // must be in the next step. Returns the tokens that need not be computed.
  int begin(Lease& lease, std::span<const int32_t> prompt, size_t limit,
            std::vector<devices::PageCopy>& copies);
  // Holds the whole pages of this beginning that the tree knows, for more to be put behind them;
  // not for a sequence: it gets no slot. Returns how many tokens they hold.
  size_t hold(Lease& lease, std::span<const int32_t> prompt, size_t limit);
  // Makes room for `tokens` positions in all; throws Error where can_reserve() is false.
  void reserve(Lease& lease, size_t tokens);
  bool can_reserve(const Lease& lease, size_t tokens) const {
    return pages_missing(lease, tokens) <= available();
  }
  size_t pages_missing(const Lease& lease, size_t tokens) const;
  // Whether a new sequence with this beginning would find room for so many positions.
  bool can_begin(std::span<const int32_t> prompt, size_t tokens) const;
  // Pages that are free, or kept and referred to by nobody.
  size_t available() const { return free_.size() + unused_; }
  // Tells that these tokens' keys and values are computed now; full pages enter the tree. Window
  // pages that the next token does not see are given back.
  void commit(Lease& lease, std::span<const int32_t> tokens);
  // Of a text that others do not share: so many of its tokens are computed in all.
  void pass(Lease& lease, size_t tokens);
  // Window pages from elsewhere, for pages that are held. The first that the token behind so many
  // sees, counted in pages:
  size_t first_in_window(size_t tokens) const;
  // A window page for that one, which has none; what is copied from or to it must have happened.
  int32_t place_window_page(Lease& lease, size_t index);
  // The last page of the lease is not to have one.
  void leave_window_page(Lease& lease);
  // Keeps a snapshot of what the sequence has come to. Does nothing unless the tokens that are
  // committed end with a page. is_answer: it takes the place of the one before of this answer.
  void snapshot(Lease& lease, bool is_answer);
  // The slot for a snapshot that comes from elsewhere, at the end of the pages that are held; -1
  // where there is one, or none is kept. What is copied from or to it must have happened.
  int32_t place_snapshot(const Lease& lease);
  // Tokens of the longest beginning, whole pages, that can be gone on from.
  size_t known_tokens(std::span<const int32_t> prompt, size_t limit) const;
  // The sequence goes on in another slot, which nobody else has; `slot` becomes the one it had.
  static void exchange_slot(Lease& lease, int32_t& slot) { std::swap(lease.slot_, slot); }
  // Copies of slots since the last call, in order. They must happen before the step that goes on
  // from them.
  std::vector<devices::SlotCopy> take_slot_copies();
  // Likewise of window pages.
  std::vector<devices::PageCopy> take_window_copies();
  // Ends a sequence.
  void end(Lease& lease);

  // The tree from its root, whole pages only, of a Program with slots those that lead to a
  // snapshot: `visit` gets what it gave for the page before (first: `beginning`), the page's
  // tokens, the page, its window page and the slot with the snapshot at its end (-1: none).
  using Visit =
      std::function<PageStore::Key(const PageStore::Key& before, std::span<const int32_t> tokens,
                                   int32_t page, int32_t window_page, int32_t snapshot)>;
  void visit(const PageStore::Key& beginning, const Visit& visit) const;

  int free_pages() const { return static_cast<int>(free_.size()); }

 private:
  int begin_pages(Lease& lease, std::span<const int32_t> prompt, size_t limit);
  std::vector<PageNode*> find_path(std::span<const int32_t> prompt, size_t limit) const;
  void refer(Lease& lease, std::span<PageNode* const> path, std::span<const int32_t> prompt);
  bool can_go_on(std::span<PageNode* const> path) const;
  int32_t take_page();
  int32_t take_window_page();
  void give_back(Lease& lease, size_t index);
  int32_t take_snapshot(PageNode& node);
  void share_full_pages(Lease& lease);
  void drop_snapshot(PageNode& node);
  void refer(PageNode& node);

  int page_tokens_;
  bool cache_;
  uint64_t clock_ = 0;
  std::vector<int32_t> free_;
  size_t unused_ = 0;  // nodes that no sequence refers to
  std::unique_ptr<PageNode> root_;
  bool has_slots_;
  bool has_snapshots_;
  std::vector<int32_t> free_slots_;
  std::vector<int32_t> free_snapshots_;
  std::vector<devices::SlotCopy> slot_copies_;
  PageWindows windows_;
  std::vector<int32_t> free_windows_;
  std::vector<devices::PageCopy> window_copies_;
};

// How many of the first copies can happen in any order. The page that one copies may be taken and
// copied to by a later one, when the pool is short of pages.
size_t independent_copies(std::span<const devices::PageCopy> copies);
size_t independent_copies(std::span<const devices::SlotCopy> copies);

}  // namespace outboard::engine
