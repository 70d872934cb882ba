#include "engine/page_pool.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "support/error.h"

namespace outboard::engine {

struct PageNode {
  PageNode* parent = nullptr;
  int32_t page = -1;
  std::vector<int32_t> tokens;  // at most a page full; fewer only in a leaf
  std::vector<std::unique_ptr<PageNode>> children;
  int references = 0;
  uint64_t last_use = 0;
  int32_t snapshot = -1;  // the slot with what a sequence had come to at the page's end
  uint64_t snapshot_use = 0;
  int32_t window_page = -1;
  int window_users = 0;  // sequences whose next token sees it
};

namespace {

size_t common_prefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  const size_t n = std::min(a.size(), b.size());
  return static_cast<size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(n), b.begin()).first - a.begin());
}

PageNode* find_child(const PageNode& node, std::span<const int32_t> tokens) {
  for (const auto& child : node.children)
    if (std::ranges::equal(child->tokens, tokens)) return child.get();
  return nullptr;
}

PageNode& add_child(PageNode& parent, int32_t page, std::span<const int32_t> tokens) {
  auto node = std::make_unique<PageNode>();
  node->parent = &parent;
  node->page = page;
  node->tokens.assign(tokens.begin(), tokens.end());
  return *parent.children.emplace_back(std::move(node));
}

// The leaf that no sequence refers to and that was used longest ago.
void find_oldest(PageNode& node, PageNode*& oldest) {
  for (const auto& child : node.children) {
    if (child->children.empty() && child->references == 0 &&
        (oldest == nullptr || child->last_use < oldest->last_use))
      oldest = child.get();
    find_oldest(*child, oldest);
  }
}

// The node with a window page that nobody needs and that was used longest ago; of a text's the
// first.
void find_oldest_window(PageNode& node, PageNode*& oldest) {
  for (const auto& child : node.children) {
    if (child->window_page >= 0 && child->window_users == 0 &&
        (oldest == nullptr || child->last_use < oldest->last_use))
      oldest = child.get();
    find_oldest_window(*child, oldest);
  }
}

// The node whose snapshot was used longest ago.
void find_oldest_snapshot(PageNode& node, PageNode*& oldest) {
  for (const auto& child : node.children) {
    if (child->snapshot >= 0 && (oldest == nullptr || child->snapshot_use < oldest->snapshot_use))
      oldest = child.get();
    find_oldest_snapshot(*child, oldest);
  }
}

// The nodes with a snapshot, and those on the way to them.
void add_ways_to_snapshots(const PageNode& node, std::unordered_set<const PageNode*>& wanted) {
  for (const auto& child : node.children) {
    if (child->snapshot >= 0)
      for (const PageNode* at = child.get(); at != nullptr && wanted.insert(at).second;)
        at = at->parent;
    add_ways_to_snapshots(*child, wanted);
  }
}

template <typename Copy>
size_t first_independent(std::span<const Copy> copies) {
  for (size_t i = 1; i < copies.size(); ++i)
    for (const Copy& earlier : copies.first(i))
      if (copies[i].to == earlier.from || copies[i].to == earlier.to ||
          copies[i].from == earlier.to)
        return i;
  return copies.size();
}

}  // namespace

PagePool::PagePool(int pages, int page_tokens, bool cache, int sequences, int snapshots,
                   PageWindows windows)
    : page_tokens_(page_tokens),
      cache_(cache),
      root_(std::make_unique<PageNode>()),
      has_slots_(sequences > 0),
      has_snapshots_(has_slots_ && cache && snapshots > 0),
      windows_(windows) {
  for (int32_t page = windows.pages - 1; page >= 0; --page) free_windows_.push_back(page);
  for (int32_t page = pages - 1; page >= 0; --page) free_.push_back(page);
  for (int32_t slot = sequences - 1; slot >= 0; --slot) free_slots_.push_back(slot);
  if (!has_snapshots_) return;
  for (int32_t slot = sequences + snapshots - 1; slot >= sequences; --slot)
    free_snapshots_.push_back(slot);
}

PagePool::~PagePool() = default;
PagePool::PagePool(PagePool&&) noexcept = default;
PagePool& PagePool::operator=(PagePool&&) noexcept = default;

int PagePool::begin_pages(Lease& lease, std::span<const int32_t> prompt, size_t limit) {
  lease = {};
  ++clock_;
  std::vector<PageNode*> path = find_path(prompt, limit);
  for (PageNode* node : path) node->last_use = clock_;
  lease.known_ = path.size() * static_cast<size_t>(page_tokens_);
  if (has_slots_) {
    if (free_slots_.empty()) fail("every slot is in use");  // our own bug
    lease.slot_ = free_slots_.back();
    free_slots_.pop_back();
  }
  while (!can_go_on(path)) path.pop_back();
  if (has_slots_ && !path.empty()) {
    path.back()->snapshot_use = clock_;
    slot_copies_.push_back({path.back()->snapshot, lease.slot_});
  }
  refer(lease, path, prompt);
  return static_cast<int>(lease.tokens_.size());
}

std::vector<PageNode*> PagePool::find_path(std::span<const int32_t> prompt, size_t limit) const {
  const auto page_size = static_cast<size_t>(page_tokens_);
  std::vector<PageNode*> path;
  PageNode* node = root_.get();
  while ((path.size() + 1) * page_size <= limit) {
    node = find_child(*node, prompt.subspan(path.size() * page_size, page_size));
    if (node == nullptr) break;
    path.push_back(node);
  }
  return path;
}

// Whether a sequence that begins so may go on behind it.
bool PagePool::can_go_on(std::span<PageNode* const> path) const {
  if (path.empty()) return true;
  if (has_slots_ && path.back()->snapshot < 0) return false;
  if (windows_.pages == 0) return true;
  const size_t first = first_in_window(path.size() * static_cast<size_t>(page_tokens_));
  return std::ranges::all_of(path.subspan(std::min(first, path.size())),
                             [](const PageNode* node) { return node->window_page >= 0; });
}

size_t PagePool::first_in_window(size_t tokens) const {
  const auto seen = static_cast<size_t>(windows_.positions - 1);  // beside its own
  return (tokens - std::min(tokens, seen)) / static_cast<size_t>(page_tokens_);
}

void PagePool::refer(Lease& lease, std::span<PageNode* const> path,
                     std::span<const int32_t> prompt) {
  for (PageNode* known : path) {
    refer(*known);
    lease.shared_.push_back(known);
    lease.pages_.push_back(known->page);
  }
  if (windows_.pages > 0) {
    const size_t first = first_in_window(path.size() * static_cast<size_t>(page_tokens_));
    for (size_t i = 0; i < path.size(); ++i) {
      const bool is_held = i >= first && path[i]->window_page >= 0;
      if (is_held) ++path[i]->window_users;
      lease.window_pages_.push_back(is_held ? path[i]->window_page : -1);
    }
  }
  const auto known = prompt.first(path.size() * static_cast<size_t>(page_tokens_));
  lease.tokens_.assign(known.begin(), known.end());
}

size_t PagePool::hold(Lease& lease, std::span<const int32_t> prompt, size_t limit) {
  lease = {};
  refer(lease, find_path(prompt, limit), prompt);
  return lease.tokens_.size();
}

size_t PagePool::known_tokens(std::span<const int32_t> prompt, size_t limit) const {
  std::vector<PageNode*> path = find_path(prompt, limit);
  while (!can_go_on(path)) path.pop_back();
  return path.size() * static_cast<size_t>(page_tokens_);
}

int PagePool::begin(Lease& lease, std::span<const int32_t> prompt, size_t limit,
                    std::vector<devices::PageCopy>& copies) {
  auto done = static_cast<size_t>(begin_pages(lease, prompt, limit));
  const PageNode* node = lease.shared_.empty() ? root_.get() : lease.shared_.back();
  // The best beginning of the next page, copied because this sequence goes on differently.
  const PageNode* best = nullptr;
  size_t best_tokens = 0;
  if (has_slots_) limit = done;  // no snapshot stands inside a page
  for (const auto& child : node->children) {
    if (windows_.pages > 0 && child->window_page < 0) continue;
    const size_t n = common_prefix(child->tokens, prompt.subspan(done, limit - done));
    if (n > best_tokens) {
      best_tokens = n;
      best = child.get();
    }
  }
  if (best != nullptr) {
    // The source may be the page that take_page() reuses: then its content is in place already.
    const int32_t from = best->page, window_from = best->window_page;
    const int32_t page = take_page();
    lease.pages_.push_back(page);
    if (page != from) copies.push_back({from, page});
    if (windows_.pages > 0) {
      const int32_t window_page = take_window_page();
      lease.window_pages_.push_back(window_page);
      if (window_page != window_from) window_copies_.push_back({window_from, window_page});
    }
    done += best_tokens;
  }
  lease.tokens_.assign(prompt.begin(), prompt.begin() + static_cast<ptrdiff_t>(done));
  return static_cast<int>(done);
}

void PagePool::visit(const PageStore::Key& beginning, const Visit& visit) const {
  std::unordered_set<const PageNode*> wanted;
  if (has_slots_) add_ways_to_snapshots(*root_, wanted);
  std::vector<std::pair<const PageNode*, PageStore::Key>> open{{root_.get(), beginning}};
  while (!open.empty()) {
    const auto [node, before] = open.back();
    open.pop_back();
    for (const auto& child : node->children)
      if (child->tokens.size() == static_cast<size_t>(page_tokens_) &&
          (!has_slots_ || wanted.contains(child.get())))
        open.emplace_back(child.get(), visit(before, child->tokens, child->page, child->window_page,
                                             child->snapshot));
  }
}

size_t PagePool::pages_missing(const Lease& lease, size_t tokens) const {
  const auto page_size = static_cast<size_t>(page_tokens_);
  const size_t wanted = (tokens + page_size - 1) / page_size;
  return wanted - std::min(wanted, lease.pages_.size());
}

bool PagePool::can_begin(std::span<const int32_t> prompt, size_t tokens) const {
  const auto page_size = static_cast<size_t>(page_tokens_);
  if (has_slots_) return pages_missing({}, tokens) <= available();
  // Pages that others refer to anyway are not missing; those that nobody does are available.
  size_t shared = 0;
  const PageNode* node = root_.get();
  for (size_t done = 0; done + page_size < prompt.size(); done += page_size) {
    node = find_child(*node, prompt.subspan(done, page_size));
    if (node == nullptr) break;
    if (node->references > 0) ++shared;
  }
  return pages_missing({}, tokens) - shared <= available();
}

void PagePool::reserve(Lease& lease, size_t tokens) {
  while (lease.pages_.size() * static_cast<size_t>(page_tokens_) < tokens)
    lease.pages_.push_back(take_page());
  while (windows_.pages > 0 && lease.window_pages_.size() < lease.pages_.size())
    lease.window_pages_.push_back(take_window_page());
}

void PagePool::commit(Lease& lease, std::span<const int32_t> tokens) {
  lease.tokens_.insert(lease.tokens_.end(), tokens.begin(), tokens.end());
  if (cache_) share_full_pages(lease);
  pass(lease, lease.tokens_.size());
}

// What the next token does not see is given back. Few pages are passed a step: those before are -1.
void PagePool::pass(Lease& lease, size_t tokens) {
  if (windows_.pages == 0) return;
  for (size_t i = std::min(first_in_window(tokens), lease.window_pages_.size());
       i > 0 && lease.window_pages_[i - 1] >= 0; --i)
    give_back(lease, i - 1);
}

// A window page that the sequence needs no more; that of a node stays until another needs it.
void PagePool::give_back(Lease& lease, size_t index) {
  const int32_t page = std::exchange(lease.window_pages_[index], -1);
  if (page < 0) return;
  if (index < lease.shared_.size())
    --lease.shared_[index]->window_users;
  else
    free_windows_.push_back(page);
}

int32_t PagePool::place_window_page(Lease& lease, size_t index) {
  PageNode& node = *lease.shared_[index];
  node.window_page = take_window_page();
  ++node.window_users;
  return lease.window_pages_[index] = node.window_page;
}

void PagePool::leave_window_page(Lease& lease) { give_back(lease, lease.window_pages_.size() - 1); }

void PagePool::share_full_pages(Lease& lease) {
  const auto page_size = static_cast<size_t>(page_tokens_);
  for (;;) {
    const size_t index = lease.shared_.size();
    if ((index + 1) * page_size > lease.tokens_.size()) return;
    PageNode& parent = index == 0 ? *root_ : *lease.shared_.back();
    const auto content = std::span(lease.tokens_).subspan(index * page_size, page_size);
    PageNode* node = find_child(parent, content);
    if (node == nullptr) {
      node = &add_child(parent, lease.pages_[index], content);
      ++unused_;  // until the line below
    } else {      // another sequence computed the same: one of the two pages is enough
      free_.push_back(lease.pages_[index]);
      lease.pages_[index] = node->page;
    }
    if (index < lease.window_pages_.size() && lease.window_pages_[index] >= 0) {
      int32_t& own = lease.window_pages_[index];
      if (node->window_page >= 0) {
        free_windows_.push_back(own);
        own = node->window_page;
      }
      node->window_page = own;
      ++node->window_users;
    }
    refer(*node);
    node->last_use = ++clock_;
    lease.shared_.push_back(node);
  }
}

void PagePool::refer(PageNode& node) {
  if (node.references++ == 0) --unused_;
}

void PagePool::end(Lease& lease) {
  const auto page_size = static_cast<size_t>(page_tokens_);
  size_t owned = lease.shared_.size();
  const auto rest =
      std::span(lease.tokens_).subspan(std::min(lease.tokens_.size(), owned * page_size));
  if (cache_ && !has_slots_ && !rest.empty() && owned < lease.pages_.size()) {
    // The page begun last is kept for a sequence that continues this one.
    PageNode& parent = owned == 0 ? *root_ : *lease.shared_.back();
    const bool known = std::ranges::any_of(parent.children, [&](const auto& child) {
      return common_prefix(child->tokens, rest) == rest.size();
    });
    if (!known) {
      PageNode& node = add_child(parent, lease.pages_[owned], rest);
      node.last_use = ++clock_;
      ++unused_;
      if (windows_.pages > 0) node.window_page = std::exchange(lease.window_pages_[owned], -1);
      ++owned;
    }
  }
  for (size_t i = 0; i < lease.window_pages_.size(); ++i) give_back(lease, i);
  for (; owned < lease.pages_.size(); ++owned) free_.push_back(lease.pages_[owned]);
  for (PageNode* node : lease.shared_)
    if (--node->references == 0) ++unused_;
  if (lease.slot_ >= 0) free_slots_.push_back(lease.slot_);
  lease = {};
}

void PagePool::snapshot(Lease& lease, bool is_answer) {
  const auto page_size = static_cast<size_t>(page_tokens_);
  if (!has_snapshots_ || lease.shared_.empty() ||
      lease.tokens_.size() != lease.shared_.size() * page_size)
    return;
  PageNode& node = *lease.shared_.back();
  node.snapshot_use = ++clock_;
  if (node.snapshot >= 0) return;
  if (is_answer && lease.answer_ != nullptr) drop_snapshot(*lease.answer_);
  slot_copies_.push_back({lease.slot_, take_snapshot(node)});
  if (is_answer) lease.answer_ = &node;
}

int32_t PagePool::place_snapshot(const Lease& lease) {
  if (!has_snapshots_ || lease.shared_.empty() || lease.shared_.back()->snapshot >= 0) return -1;
  lease.shared_.back()->snapshot_use = ++clock_;
  return take_snapshot(*lease.shared_.back());
}

// A slot for it, where need be that of the snapshot that was used longest ago.
int32_t PagePool::take_snapshot(PageNode& node) {
  if (free_snapshots_.empty()) {
    PageNode* oldest = nullptr;
    find_oldest_snapshot(*root_, oldest);
    drop_snapshot(*oldest);
  }
  node.snapshot = free_snapshots_.back();
  free_snapshots_.pop_back();
  return node.snapshot;
}

void PagePool::drop_snapshot(PageNode& node) {
  if (node.snapshot >= 0) free_snapshots_.push_back(node.snapshot);
  node.snapshot = -1;
}

std::vector<devices::SlotCopy> PagePool::take_slot_copies() {
  return std::exchange(slot_copies_, {});
}

std::vector<devices::PageCopy> PagePool::take_window_copies() {
  return std::exchange(window_copies_, {});
}

size_t independent_copies(std::span<const devices::PageCopy> copies) {
  return first_independent(copies);
}
size_t independent_copies(std::span<const devices::SlotCopy> copies) {
  return first_independent(copies);
}

int32_t PagePool::take_page() {
  if (free_.empty()) {
    PageNode* oldest = nullptr;
    find_oldest(*root_, oldest);
    if (oldest == nullptr) fail("KV cache: every page is in use");
    free_.push_back(oldest->page);
    if (oldest->window_page >= 0) free_windows_.push_back(oldest->window_page);
    drop_snapshot(*oldest);
    --unused_;
    std::erase_if(oldest->parent->children,
                  [&](const auto& child) { return child.get() == oldest; });
  }
  const int32_t page = free_.back();
  free_.pop_back();
  return page;
}

int32_t PagePool::take_window_page() {
  if (free_windows_.empty()) {
    PageNode* oldest = nullptr;
    find_oldest_window(*root_, oldest);
    if (oldest == nullptr) fail("KV cache: every window page is in use");  // our own bug
    free_windows_.push_back(std::exchange(oldest->window_page, -1));
  }
  const int32_t page = free_windows_.back();
  free_windows_.pop_back();
  return page;
}

}  // namespace outboard::engine
