// `begin`: a step's record into VRAM. `copy_pages`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/devices/kernels/test_step.h"

namespace outboard::devices::gpu::kernels {
namespace {

constexpr int kSlots = 4, kSlot = 1, kMaxTokens = 300, kT = 280, kRuns = 4;

class Begin : public testing::Test {
 protected:
  Begin()
      : layout(make_layout({.tokens = kMaxTokens,
                            .rows = 5,
                            .runs = kRuns,
                            .pages_per_run = 260,
                            .sources = true,
                            .slots = true,
                            .kept = true})),
        records(runner.allocate<uint8_t>(index(kSlots * layout.bytes))),
        vram(runner.allocate<uint8_t>(index(layout.bytes))),
        chosen(runner.allocate<int32_t>(kSlots * kRuns)),
        ended(runner.allocate<int32_t>(kRuns)),
        slot(runner.allocate<uint32_t>(1)),
        from(records.subspan(index(kSlot * layout.bytes), index(layout.bytes)), layout),
        to(vram, layout) {
    slot[0] = kSlot;
    std::ranges::fill(ended, 1);
    for (int i = 0; i < kSlots * kRuns; ++i) chosen[index(i)] = 1000 + i;
    from.header() = {3, 2, 2, -1, 3, {}};
    const int ids[] = {42, 43, -2};
    const int positions[] = {7, 8, 100};
    const int runs[] = {0, 0, 1};
    std::copy_n(ids, 3, from.ids().begin());
    std::copy_n(positions, 3, from.positions().begin());
    std::copy_n(runs, 3, from.token_run().begin());
    from.row_token()[0] = 1;
    from.row_token()[1] = 2;
    for (size_t t = 0; t < 3; ++t) {
      from.token_slot()[t] = static_cast<int>(5 - t);
      from.kept()[t] = static_cast<int>(11 + t);
    }
    from.choice_row()[2] = 5;
    from.best()[2] = 0;
    from.sampling()[2] = {};
    for (int run = 0; run < 2; ++run) {
      RunSampling& s = from.sampling()[index(run)];
      s = {};
      from.choice_row()[index(run)] = run;
      from.best()[index(run)] = 0;
      from.source_run()[index(run)] = 1 - run;
      from.source_tokens()[index(run)] = 50 + run;
      from.slot_runs()[index(run)] = {9 - run, 2 * run, 2 - run, 0};
      for (size_t i = 0; i < 260; ++i) from.source_pages(run)[i] = static_cast<int>(i) * 7 + run;
      s.temperature = 0.5F;
      s.stops[kMaxStops - 1] = 77;
      s.recent_count = run == 0 ? 0 : kMaxRecent;
      for (int i = 0; i < kMaxRecent; ++i) s.recent[i] = i;
      s.recent[kMaxRecent - 1] = -1;
      for (size_t i = 0; i < 260; ++i) from.pages(run)[i] = static_cast<int>(i) * 10 + run;
    }
  }
  void run() {
    std::ranges::fill(to.kept(), -5);
    BeginArgs a{};
    a.slot = KernelRunner::const_ptr(slot);
    a.records = KernelRunner::const_ptr(records);
    a.record = KernelRunner::ptr(vram);
    a.chosen = KernelRunner::const_ptr(chosen);
    a.ended = KernelRunner::ptr(ended);
    a.layout = layout;
    a.slots = kSlots;
    a.tokens = kT;
    a.rows = 5;
    a.drafts = drafts ? 1 : 0;
    runner.run("begin", a, {1, 1, 1});
  }

  bool drafts = true;
  KernelRunner runner;
  StepLayout layout;
  std::span<uint8_t> records, vram;
  std::span<int32_t> chosen, ended;
  std::span<uint32_t> slot;
  TestRecord from, to;
};

TEST_F(Begin, CopiesTheStepAndFillsUpTheRest) {
  run();
  EXPECT_EQ(to.header().tokens, 3);
  EXPECT_EQ(to.header().rows, 2);
  EXPECT_EQ(to.header().runs, 2);
  EXPECT_EQ(to.header().slot, kSlot);
  EXPECT_EQ(to.header().choices, 3);
  for (size_t t = 0; t < kT; ++t) {
    EXPECT_EQ(to.positions()[t], t < 3 ? from.positions()[t] : -1);
    EXPECT_EQ(to.token_run()[t], t < 3 ? from.token_run()[t] : 0);
    EXPECT_EQ(to.kept()[t], t < 3 ? from.kept()[t] : 0);
    if (t < 3) {
      EXPECT_EQ(to.token_slot()[t], from.token_slot()[t]);
    }
    if (t >= 3) {
      EXPECT_EQ(to.ids()[t], 0);
    }
  }
  EXPECT_EQ(to.ids()[0], 42);
  EXPECT_EQ(to.ids()[1], 43);
  const int rows[] = {1, 2, 0, 0, 0};
  EXPECT_TRUE(std::ranges::equal(to.row_token(), rows));
  for (int run = 0; run < 2; ++run) EXPECT_TRUE(std::ranges::equal(to.pages(run), from.pages(run)));
  EXPECT_THAT(to.choice_row(), testing::ElementsAre(0, 1, 5, -1)) << "there are three choices";
  EXPECT_THAT(to.best(), testing::ElementsAre(0, 0, 0, 0));
  for (size_t run = 0; run < 2; ++run) {
    EXPECT_EQ(to.source_run()[run], from.source_run()[run]);
    EXPECT_EQ(to.source_tokens()[run], from.source_tokens()[run]);
    EXPECT_EQ(to.slot_runs()[run].slot, from.slot_runs()[run].slot);
    EXPECT_EQ(to.slot_runs()[run].first, from.slot_runs()[run].first);
    EXPECT_EQ(to.slot_runs()[run].tokens, from.slot_runs()[run].tokens);
    EXPECT_TRUE(std::ranges::equal(to.source_pages(static_cast<int>(run)),
                                   from.source_pages(static_cast<int>(run))));
  }
  EXPECT_EQ(to.sampling()[1].temperature, 0.5F);
  EXPECT_EQ(to.sampling()[1].stops[kMaxStops - 1], 77);
}

TEST_F(Begin, OutsideDraftStepsNoRowsAreKept) {
  drafts = false;
  run();
  EXPECT_THAT(to.kept().first(3), testing::Each(0));
}

TEST_F(Begin, PutsChosenTokensInTheirPlace) {
  run();
  // Two steps ago is slot 3 of the ring, one step ago slot 0.
  EXPECT_EQ(to.ids()[2], chosen[3 * kRuns + 1]);
  EXPECT_EQ(to.sampling()[1].recent[kMaxRecent - 1], chosen[0 * kRuns + 1]);
  EXPECT_EQ(to.sampling()[1].recent[5], 5);
}

TEST_F(Begin, WhatWasNotChosenIsTokenZero) {
  chosen[3 * kRuns + 1] = -1;
  run();
  EXPECT_EQ(to.ids()[2], 0);
}

TEST_F(Begin, ARunThatGetsATokenOfTheHostGoesOn) {
  run();
  EXPECT_EQ(ended[0], 0);
  EXPECT_EQ(ended[1], 1) << "its token is one it chose itself";
  EXPECT_EQ(ended[2], 1);
}

TEST(CopyPages, CopiesWholePages) {
  KernelRunner runner;
  // More than a workgroup's share, and not a multiple of it.
  constexpr size_t kPage = kCopyBytes + 16 * 37, kPages = 5;
  const std::span<uint8_t> kv = runner.allocate<uint8_t>(kPages * kPage);
  for (size_t i = 0; i < kv.size(); ++i) kv[i] = static_cast<uint8_t>(i * 7 + i / kPage);
  std::vector<uint8_t> want(kv.begin(), kv.end());
  const int pairs[] = {4, 0, 1, 3};
  for (size_t i = 0; i < 4; i += 2)
    std::copy_n(want.begin() + static_cast<ptrdiff_t>(index(pairs[i]) * kPage), kPage,
                want.begin() + static_cast<ptrdiff_t>(index(pairs[i + 1]) * kPage));
  CopyPagesArgs a{};
  a.copies = KernelRunner::const_ptr(runner.upload(std::span<const int>(pairs)));
  a.kv = KernelRunner::ptr(kv);
  a.page_bytes = kPage;
  runner.run("copy_pages", a, {(kPage + kCopyBytes - 1) / kCopyBytes, 2, 1});
  EXPECT_TRUE(std::ranges::equal(kv, want));
}

}  // namespace
}  // namespace outboard::devices::gpu::kernels
