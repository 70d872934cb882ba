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

PagePool::PagePool(int pages, int page_tokens, bool cache, int sequences, int snapshots)
    : page_tokens_(page_tokens),
      cache_(cache),
      root_(std::make_unique<PageNode>()),
      has_slots_(sequences > 0),
      has_snapshots_(has_slots_ && cache && snapshots > 0) {
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
    while (!path.empty() && path.back()->snapshot < 0) path.pop_back();
    if (!path.empty()) {
      path.back()->snapshot_use = clock_;
      slot_copies_.push_back({path.back()->snapshot, lease.slot_});
    }
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

void PagePool::refer(Lease& lease, std::span<PageNode* const> path,
                     std::span<const int32_t> prompt) {
  for (PageNode* known : path) {
    refer(*known);
    lease.shared_.push_back(known);
    lease.pages_.push_back(known->page);
  }
  const auto known = prompt.first(path.size() * static_cast<size_t>(page_tokens_));
  lease.tokens_.assign(known.begin(), known.end());
}

size_t PagePool::hold(Lease& lease, std::span<const int32_t> prompt, size_t limit) {
  lease = {};
  refer(lease, find_path(prompt, limit), prompt);
  return lease.tokens_.size();
}

size_t PagePool::snapshot_tokens(std::span<const int32_t> prompt, size_t limit) const {
  std::vector<PageNode*> path = find_path(prompt, limit);
  while (!path.empty() && path.back()->snapshot < 0) path.pop_back();
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
    const size_t n = common_prefix(child->tokens, prompt.subspan(done, limit - done));
    if (n > best_tokens) {
      best_tokens = n;
      best = child.get();
    }
  }
  if (best != nullptr) {
    // The source may be the page that take_page() reuses: then its content is in place already.
    const int32_t from = best->page;
    const int32_t page = take_page();
    lease.pages_.push_back(page);
    if (page != from) copies.push_back({from, page});
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
        open.emplace_back(child.get(), visit(before, child->tokens, child->page, child->snapshot));
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
}

void PagePool::commit(Lease& lease, std::span<const int32_t> tokens) {
  lease.tokens_.insert(lease.tokens_.end(), tokens.begin(), tokens.end());
  if (cache_) share_full_pages(lease);
}

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
      add_child(parent, lease.pages_[owned], rest).last_use = ++clock_;
      ++unused_;
      ++owned;
    }
  }
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
    drop_snapshot(*oldest);
    --unused_;
    std::erase_if(oldest->parent->children,
                  [&](const auto& child) { return child.get() == oldest; });
  }
  const int32_t page = free_.back();
  free_.pop_back();
  return page;
}

}  // namespace outboard::engine
