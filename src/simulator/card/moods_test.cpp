#include "simulator/card/moods.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "simulator/card/sdma.h"
#include "simulator/card/vram.h"
#include "support/error.h"

namespace outboard::simulator::card {
namespace {

using ::testing::HasSubstr;

TEST(Moods, NamesAreUniqueAndEachSaysWhy) {
  std::vector<std::string> names;
  for (const MoodInfo& info : mood_list()) {
    EXPECT_TRUE(Moods::parse(std::vector{std::string(info.name)}).has(info.mood));
    EXPECT_NE(info.behaviour, "");
    EXPECT_NE(info.source, "");
    names.emplace_back(info.name);
  }
  std::ranges::sort(names);
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end());
}

TEST(Moods, AllIsEveryOneThatFitsTheOthers) {
  const Moods all = Moods::parse(std::vector<std::string>{"all"});
  EXPECT_TRUE(all.has(Mood::kDoorbellLate));
  EXPECT_TRUE(all.has(Mood::kNotPosted));
  EXPECT_FALSE(all.has(Mood::kPosted));
}

TEST(Moods, AnUnknownOneIsToldWithTheList) {
  try {
    Moods::parse(std::vector<std::string>{"gloomy"});
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("no mood \"gloomy\""));
    EXPECT_THAT(e.hint(), HasSubstr("doorbell.late"));
  }
}

TEST(Moods, PointersThatGoBackAreToldFromThoseThatWrap) {
  constexpr uint64_t kRing = 1024;
  EXPECT_FALSE(goes_back(10, 20, kRing));
  EXPECT_FALSE(goes_back(20, 20, kRing));
  EXPECT_TRUE(goes_back(20, 10, kRing));
  EXPECT_TRUE(goes_back(5000, 4990, kRing));
  EXPECT_TRUE(goes_back(1030, 1020, kRing));
  EXPECT_FALSE(goes_back(1000, 8, kRing));  // a driver that wraps its pointer itself
}

TEST(Moods, HeldBytesShowWhenTheCacheIsInvalidated) {
  Vram vram(1 << 20);
  const auto fill = [](std::byte value) { return std::vector<std::byte>(300, value); };
  std::ranges::fill(std::span(vram.at(VramOffset{4000}), 300), std::byte{1});
  vram.hold(VramOffset{4000}, fill(std::byte{2}));
  *vram.at(VramOffset{3999}) = std::byte{9};  // another's byte in a held page
  EXPECT_EQ(*vram.at(VramOffset{4000}), std::byte{1});
  std::vector<std::byte> seen = fill(std::byte{1});
  vram.see_through(VramOffset{4000}, seen);
  EXPECT_EQ(seen, fill(std::byte{2}));
  vram.settle();
  EXPECT_EQ(*vram.at(VramOffset{3999}), std::byte{9});
  EXPECT_EQ(*vram.at(VramOffset{4000}), std::byte{2});
  EXPECT_EQ(*vram.at(VramOffset{4299}), std::byte{2});
  EXPECT_EQ(*vram.at(VramOffset{4300}), std::byte{0});
}

}  // namespace
}  // namespace outboard::simulator::card
