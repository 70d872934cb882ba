#include "engine/page_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "support/error.h"

namespace outboard::engine {
namespace {

std::vector<int32_t> sequence(int first, int count) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

// Runs a whole sequence through the pool; returns the tokens it did not have to compute.
int run(PagePool& pool, PagePool::Lease& lease, const std::vector<int32_t>& tokens,
        std::vector<devices::PageCopy>& copies) {
  const int known = pool.begin(lease, tokens, tokens.size() - 1, copies);
  pool.reserve(lease, tokens.size());
  pool.commit(lease, std::span(tokens).subspan(static_cast<size_t>(known)));
  return known;
}

class PagePoolTest : public ::testing::Test {
 protected:
  PagePool pool_{8, 4, true};
  std::vector<devices::PageCopy> copies_;
};

TEST_F(PagePoolTest, SharesWholePagesWhileBothRun) {
  PagePool::Lease a;
  PagePool::Lease b;
  EXPECT_EQ(run(pool_, a, sequence(0, 10), copies_), 0);
  EXPECT_EQ(run(pool_, b, sequence(0, 10), copies_), 8);
  ASSERT_EQ(a.pages().size(), 3u);
  ASSERT_EQ(b.pages().size(), 3u);
  EXPECT_EQ(a.pages()[0], b.pages()[0]);
  EXPECT_EQ(a.pages()[1], b.pages()[1]);
  EXPECT_NE(a.pages()[2], b.pages()[2]);  // both write to it
  EXPECT_EQ(pool_.free_pages(), 4);
}

TEST_F(PagePoolTest, ContinuesAFinishedSequenceInsideAPage) {
  PagePool::Lease a;
  run(pool_, a, sequence(0, 10), copies_);
  pool_.end(a);
  PagePool::Lease b;
  EXPECT_EQ(run(pool_, b, sequence(0, 16), copies_), 10);
  ASSERT_EQ(copies_.size(), 1u);
  EXPECT_EQ(copies_[0].to, b.pages()[2]);
}

TEST_F(PagePoolTest, LeavesTheLastTokenToCompute) {
  PagePool::Lease a;
  run(pool_, a, sequence(0, 8), copies_);
  pool_.end(a);
  PagePool::Lease b;
  EXPECT_EQ(run(pool_, b, sequence(0, 8), copies_), 7);
}

TEST_F(PagePoolTest, SharesUpToTheDifference) {
  PagePool::Lease a;
  run(pool_, a, sequence(0, 12), copies_);
  pool_.end(a);
  std::vector<int32_t> other = sequence(0, 12);
  other[6] = 99;
  PagePool::Lease b;
  EXPECT_EQ(run(pool_, b, other, copies_), 6);
}

TEST_F(PagePoolTest, TwoWhoComputeTheSameKeepOnePage) {
  PagePool::Lease a;
  PagePool::Lease b;
  const auto tokens = sequence(0, 8);
  // Both begin before either has computed anything.
  pool_.begin(a, tokens, 7, copies_);
  pool_.begin(b, tokens, 7, copies_);
  pool_.reserve(a, 8);
  pool_.reserve(b, 8);
  pool_.commit(a, tokens);
  pool_.commit(b, tokens);
  EXPECT_EQ(std::vector(a.pages().begin(), a.pages().end()),
            std::vector(b.pages().begin(), b.pages().end()));
  EXPECT_EQ(pool_.free_pages(), 6);
}

TEST_F(PagePoolTest, EvictsWhatWasUsedLongestAgo) {
  PagePool::Lease lease;
  run(pool_, lease, sequence(0, 16), copies_);
  pool_.end(lease);
  run(pool_, lease, sequence(100, 16), copies_);
  pool_.end(lease);
  run(pool_, lease, sequence(0, 16), copies_);  // used again
  pool_.end(lease);
  run(pool_, lease, sequence(200, 12), copies_);  // needs three pages
  pool_.end(lease);
  copies_.clear();
  EXPECT_EQ(run(pool_, lease, sequence(0, 17), copies_), 16);
  pool_.end(lease);
  EXPECT_LT(run(pool_, lease, sequence(100, 16), copies_), 12);
  pool_.end(lease);
}

TEST_F(PagePoolTest, RefusesWhenAllPagesAreHeld) {
  PagePool::Lease a;
  pool_.begin(a, sequence(0, 4), 3, copies_);
  EXPECT_THROW(pool_.reserve(a, 33), Error);
}

TEST_F(PagePoolTest, NeverGivesOnePageToTwoWriters) {
  // Many short sequences with common beginnings; three at a time.
  std::vector<PagePool::Lease> leases(2);
  for (int round = 0; round < 200; ++round) {
    PagePool::Lease& lease = leases[static_cast<size_t>(round % 2)];
    pool_.end(lease);
    std::vector<int32_t> tokens = sequence(0, 5 + round % 11);
    tokens[static_cast<size_t>(round % 5)] += round % 3;
    copies_.clear();
    run(pool_, lease, tokens, copies_);
    std::set<int32_t> pages(lease.pages().begin(), lease.pages().end());
    EXPECT_EQ(pages.size(), lease.pages().size());
    const PagePool::Lease& other = leases[static_cast<size_t>(1 - round % 2)];
    // The last page is written by its sequence alone unless it is full.
    if (tokens.size() % 4 == 0 || other.pages().empty()) continue;
    EXPECT_EQ(std::count(other.pages().begin(), other.pages().end(), lease.pages().back()), 0)
        << round;
  }
}

TEST(PagePoolWithoutCache, ForgetsEverything) {
  PagePool pool(4, 4, false);
  PagePool::Lease lease;
  std::vector<devices::PageCopy> copies;
  run(pool, lease, sequence(0, 10), copies);
  pool.end(lease);
  EXPECT_EQ(run(pool, lease, sequence(0, 10), copies), 0);
  pool.end(lease);
  EXPECT_EQ(pool.free_pages(), 4);
}

TEST(IndependentCopies, EndWhereOrderMatters) {
  using Copies = std::vector<devices::PageCopy>;
  EXPECT_EQ(independent_copies(Copies{}), 0u);
  EXPECT_EQ(independent_copies(Copies{{1, 2}, {1, 3}, {4, 5}}), 3u);
  EXPECT_EQ(independent_copies(Copies{{1, 2}, {3, 4}, {5, 1}}), 2u);  // 1 is read first
  EXPECT_EQ(independent_copies(Copies{{1, 2}, {2, 3}}), 1u);
  EXPECT_EQ(independent_copies(Copies{{1, 2}, {3, 2}}), 1u);
}

// Two sequences that begin like two cached ones, in a pool with a page to spare: the second takes
// the page that the first copies.
TEST(PagePool, ShortOfPagesItsCopiesFormAChain) {
  PagePool pool(3, 4, true);
  std::vector<devices::PageCopy> copies;
  std::vector<PagePool::Lease> leases(4);
  const std::vector<int32_t> texts[] = {{1, 2, 3, 4}, {5, 6, 7, 8}};
  for (size_t i = 0; i < 2; ++i) {
    pool.begin(leases[i], texts[i], 3, copies);
    pool.reserve(leases[i], 4);
    pool.commit(leases[i], texts[i]);
    pool.end(leases[i]);
  }
  ASSERT_TRUE(copies.empty());
  const std::vector<int32_t> like_first{1, 2, 9, 9}, like_second{5, 6, 9, 9};
  EXPECT_EQ(pool.begin(leases[2], like_first, 3, copies), 2);
  EXPECT_EQ(pool.begin(leases[3], like_second, 3, copies), 2);
  ASSERT_EQ(copies.size(), 2u);
  EXPECT_EQ(copies[1].to, copies[0].from);
  EXPECT_EQ(independent_copies(copies), 1u);
}

// --- slots ---

// Four sequences at once, two snapshots in slots 4 and 5.
class SlotPoolTest : public ::testing::Test {
 protected:
  using Copies = std::vector<std::pair<int32_t, int32_t>>;
  Copies slot_copies() {
    Copies list;
    for (const devices::SlotCopy& copy : pool_.take_slot_copies())
      list.emplace_back(copy.from, copy.to);
    return list;
  }
  // Computes the tokens, with a snapshot at the end of so many (99: none).
  int run(PagePool::Lease& lease, const std::vector<int32_t>& tokens, size_t snapshot_at,
          bool is_answer = false) {
    const auto known = static_cast<size_t>(pool_.begin(lease, tokens, tokens.size() - 1, copies_));
    pool_.reserve(lease, tokens.size());
    const size_t first = std::max(known, std::min(snapshot_at, tokens.size()));
    pool_.commit(lease, std::span(tokens).subspan(known, first - known));
    if (first == snapshot_at) pool_.snapshot(lease, is_answer);
    pool_.commit(lease, std::span(tokens).subspan(first));
    return static_cast<int>(known);
  }

  PagePool pool_{32, 4, true, 4, 2};
  std::vector<devices::PageCopy> copies_;
};

TEST_F(SlotPoolTest, GoesOnFromASnapshotAlone) {
  PagePool::Lease a, b;
  EXPECT_EQ(run(a, sequence(0, 14), 8), 0);
  EXPECT_EQ(slot_copies(), (Copies{{a.slot(), 4}}));
  // Three pages are known, the snapshot stands behind two.
  EXPECT_EQ(run(b, sequence(0, 20), 12), 8);
  EXPECT_EQ(b.known(), 12U);
  EXPECT_NE(a.slot(), b.slot());
  EXPECT_EQ(slot_copies(), (Copies{{4, b.slot()}, {b.slot(), 5}}));
  EXPECT_TRUE(copies_.empty());  // no half pages
  // What b computed again is one page with a's.
  EXPECT_EQ(a.pages()[2], b.pages()[2]);
}

TEST_F(SlotPoolTest, WithoutASnapshotAllIsComputedAgain) {
  PagePool::Lease a, b;
  run(a, sequence(0, 14), 99);
  pool_.end(a);
  EXPECT_EQ(run(b, sequence(0, 14), 99), 0);
  EXPECT_EQ(b.known(), 12U);
  EXPECT_TRUE(slot_copies().empty());
}

TEST_F(SlotPoolTest, SnapshotsStandAtTheEndsOfPages) {
  PagePool::Lease a;
  run(a, sequence(0, 14), 99);
  pool_.snapshot(a, false);  // 14 tokens
  EXPECT_TRUE(slot_copies().empty());
}

TEST_F(SlotPoolTest, TheOneUsedLongestAgoGoes) {
  PagePool::Lease lease;
  for (const int first : {100, 200}) {
    run(lease, sequence(first, 9), 8);
    pool_.end(lease);
  }
  EXPECT_EQ(run(lease, sequence(100, 9), 99), 8);  // used
  pool_.end(lease);
  run(lease, sequence(300, 9), 8);
  pool_.end(lease);
  EXPECT_EQ(run(lease, sequence(200, 9), 99), 0);
  pool_.end(lease);
  EXPECT_EQ(run(lease, sequence(100, 9), 99), 8);
  pool_.end(lease);
  EXPECT_EQ(run(lease, sequence(300, 9), 99), 8);
}

// An answer that grows has one snapshot, not one a page.
TEST_F(SlotPoolTest, AnAnswersSnapshotMovesAlong) {
  PagePool::Lease other, a, b;
  run(other, sequence(500, 9), 8);
  pool_.end(other);
  run(a, sequence(0, 4), 4, true);
  for (int page = 1; page < 5; ++page) {
    pool_.reserve(a, static_cast<size_t>(4 * page + 4));
    pool_.commit(a, sequence(4 * page, 4));
    pool_.snapshot(a, true);
  }
  pool_.end(a);
  EXPECT_EQ(run(b, sequence(0, 30), 99), 20);
  EXPECT_EQ(run(other, sequence(500, 9), 99), 8);  // not driven out
}

// Pages that are held for a snapshot from elsewhere.
TEST_F(SlotPoolTest, ASnapshotIsPlaced) {
  PagePool::Lease lease, a;
  EXPECT_EQ(pool_.hold(lease, sequence(0, 9), 8), 0U);
  EXPECT_EQ(lease.slot(), -1);
  pool_.reserve(lease, 8);
  pool_.commit(lease, sequence(0, 8));
  EXPECT_EQ(pool_.known_tokens(sequence(0, 9), 8), 0U);
  EXPECT_GE(pool_.place_snapshot(lease), 4);  // none of a sequence
  EXPECT_EQ(pool_.place_snapshot(lease), -1);
  EXPECT_EQ(pool_.known_tokens(sequence(0, 9), 8), 8U);
  EXPECT_TRUE(pool_.take_slot_copies().empty());
  pool_.end(lease);
  EXPECT_EQ(pool_.begin(a, sequence(0, 9), 8, copies_), 8);
  EXPECT_EQ(pool_.take_slot_copies().size(), 1U);
  pool_.end(a);
}

// Pages that nothing could be gone on from are of no use elsewhere.
TEST_F(SlotPoolTest, OnlyWaysToSnapshotsAreVisited) {
  PagePool::Lease a, b;
  run(a, sequence(0, 9), 4);
  pool_.end(a);
  run(b, sequence(100, 13), 8, true);
  pool_.end(b);
  std::vector<std::pair<int32_t, bool>> seen;
  pool_.visit({}, [&](const PageStore::Key& before, std::span<const int32_t> tokens, int32_t,
                      int32_t, int32_t snapshot) {
    seen.emplace_back(tokens[0], snapshot >= 0);
    return before;
  });
  for (const auto& [token, has_snapshot] : seen) EXPECT_TRUE(token >= 100 || has_snapshot) << token;
  EXPECT_TRUE(std::ranges::any_of(seen, [](const auto& node) { return node.second; }));
}

// Pages of 4, a window of 8: a sequence sees two or three pages.
class WindowPoolTest : public ::testing::Test {
 protected:
  int run(PagePool::Lease& lease, const std::vector<int32_t>& tokens) {
    const int known = pool_.begin(lease, tokens, tokens.size() - 1, copies_);
    for (size_t done = static_cast<size_t>(known); done < tokens.size();) {  // by four
      const size_t count = std::min<size_t>(4, tokens.size() - done);
      pool_.reserve(lease, done + count);
      pool_.commit(lease, std::span(tokens).subspan(done, count));
      done += count;
    }
    return known;
  }

  PagePool pool_{32, 4, true, 0, 0, {8, 8}};
  std::vector<devices::PageCopy> copies_;
};

TEST_F(WindowPoolTest, WhatTheNextTokenDoesNotSeeIsGivenBack) {
  PagePool::Lease a;
  run(a, sequence(0, 41));
  ASSERT_EQ(a.pages().size(), 11U);
  ASSERT_EQ(a.window_pages().size(), 11U);
  for (size_t i = 0; i < 11; ++i) {
    EXPECT_GE(a.pages()[i], 0);
    EXPECT_EQ(a.window_pages()[i] >= 0, i >= 8) << i;  // token 41 sees positions 34 to 41
  }
}

TEST_F(WindowPoolTest, ABeginningIsOfUseWhereItsWindowIsThere) {
  PagePool::Lease a, b, c, d;
  run(a, sequence(0, 41));  // of eight window pages the last are still in the tree
  pool_.end(a);
  EXPECT_EQ(run(b, sequence(0, 13)), 0);  // 0 to 12 have gone
  pool_.end(b);
  EXPECT_EQ(run(c, sequence(0, 44)), 41);  // pages 9 to 11 have stayed
  EXPECT_EQ(pool_.take_window_copies().size(), 1U);
  EXPECT_EQ(copies_.size(), 1U);
  pool_.end(c);
  // What was computed again has its window again, in the same pages of the tree.
  EXPECT_EQ(pool_.known_tokens(sequence(0, 13), 12), 12U);
  EXPECT_EQ(run(d, sequence(0, 13)), 12);
}

TEST_F(WindowPoolTest, AllArePutBackInTheEnd) {
  for (int i = 0; i < 20; ++i) {
    PagePool::Lease a, b;
    run(a, sequence(i * 7, 30));
    run(b, sequence(i * 7, 10));
    std::set<int32_t> seen;  // no page twice, but for those that both see
    for (const PagePool::Lease* lease : {&a, &b})
      for (const int32_t page : lease->window_pages())
        if (page >= 0) seen.insert(page);
    EXPECT_GE(seen.size(), 3U);
    pool_.end(a);
    pool_.end(b);
  }
}

TEST_F(SlotPoolTest, APageThatGoesTakesItsSnapshotAlong) {
  PagePool small(3, 4, true, 2, 1);
  PagePool::Lease lease;
  const auto text = sequence(0, 5);
  small.begin(lease, text, 4, copies_);
  small.reserve(lease, 5);
  small.commit(lease, std::span(text).first(4));
  small.snapshot(lease, false);
  small.end(lease);
  const auto other = sequence(50, 12);
  small.begin(lease, other, 11, copies_);
  small.reserve(lease, 12);  // all pages
  small.commit(lease, std::span(other).first(4));
  small.take_slot_copies();
  small.snapshot(lease, false);
  ASSERT_EQ(small.take_slot_copies().size(), 1U);  // there is room for it
  small.end(lease);
  EXPECT_EQ(small.begin(lease, text, 4, copies_), 0);
}

TEST_F(SlotPoolTest, SlotsAreGivenBack) {
  std::set<int32_t> seen;
  PagePool::Lease leases[4];
  for (int round = 0; round < 3; ++round) {
    for (PagePool::Lease& lease : leases) {
      pool_.begin(lease, sequence(0, 3), 2, copies_);
      EXPECT_TRUE(lease.slot() >= 0 && lease.slot() < 4);
      seen.insert(lease.slot());
    }
    EXPECT_EQ(seen.size(), 4U);
    for (PagePool::Lease& lease : leases) pool_.end(lease);
  }
}

// What one copy writes and another reads or writes cannot happen in any order.
TEST(IndependentCopies, OfSlots) {
  const devices::SlotCopy copies[] = {{0, 4}, {5, 1}, {4, 2}};
  EXPECT_EQ(independent_copies(std::span(copies)), 2U);
  const devices::SlotCopy taken[] = {{0, 4}, {5, 0}};
  EXPECT_EQ(independent_copies(std::span(taken)), 1U);
}

}  // namespace
}  // namespace outboard::engine
