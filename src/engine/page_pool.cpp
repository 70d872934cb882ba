#include "engine/page_pool.h"

#include <algorithm>

#include "support/error.h"

namespace outboard::engine {

struct PageNode {
  PageNode* parent = nullptr;
  int32_t page = -1;
  std::vector<int32_t> tokens;  // at most a page full; fewer only in a leaf
  std::vector<std::unique_ptr<PageNode>> children;
  int references = 0;
  uint64_t last_use = 0;
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

}  // namespace

PagePool::PagePool(int pages, int page_tokens, bool cache)
    : page_tokens_(page_tokens), cache_(cache), root_(std::make_unique<PageNode>()) {
  for (int32_t page = pages - 1; page >= 0; --page) free_.push_back(page);
}

PagePool::~PagePool() = default;
PagePool::PagePool(PagePool&&) noexcept = default;
PagePool& PagePool::operator=(PagePool&&) noexcept = default;

int PagePool::begin(Lease& lease, std::span<const int32_t> prompt, size_t limit,
                    std::vector<devices::PageCopy>& copies) {
  lease = {};
  const auto page_size = static_cast<size_t>(page_tokens_);
  PageNode* node = root_.get();
  size_t done = 0;
  ++clock_;
  while (done + page_size <= limit) {
    PageNode* child = find_child(*node, prompt.subspan(done, page_size));
    if (child == nullptr) break;
    refer(*child);
    child->last_use = clock_;
    lease.shared_.push_back(child);
    lease.pages_.push_back(child->page);
    done += page_size;
    node = child;
  }
  // The best beginning of the next page, copied because this sequence goes on differently.
  const PageNode* best = nullptr;
  size_t best_tokens = 0;
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

size_t PagePool::pages_missing(const Lease& lease, size_t tokens) const {
  const auto page_size = static_cast<size_t>(page_tokens_);
  const size_t wanted = (tokens + page_size - 1) / page_size;
  return wanted - std::min(wanted, lease.pages_.size());
}

bool PagePool::can_begin(std::span<const int32_t> prompt, size_t tokens) const {
  const auto page_size = static_cast<size_t>(page_tokens_);
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
  if (cache_ && !rest.empty() && owned < lease.pages_.size()) {
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
  lease = {};
}

size_t independent_copies(std::span<const devices::PageCopy> copies) {
  for (size_t i = 1; i < copies.size(); ++i)
    for (const devices::PageCopy& earlier : copies.first(i))
      if (copies[i].to == earlier.from || copies[i].to == earlier.to ||
          copies[i].from == earlier.to)
        return i;
  return copies.size();
}

int32_t PagePool::take_page() {
  if (free_.empty()) {
    PageNode* oldest = nullptr;
    find_oldest(*root_, oldest);
    if (oldest == nullptr) fail("KV cache: every page is in use");
    free_.push_back(oldest->page);
    --unused_;
    std::erase_if(oldest->parent->children,
                  [&](const auto& child) { return child.get() == oldest; });
  }
  const int32_t page = free_.back();
  free_.pop_back();
  return page;
}

}  // namespace outboard::engine
