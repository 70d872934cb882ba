#include "support/first_fit.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace outboard {
namespace {

TEST(FirstFit, FillsGapsWithTheNextSmaller) {
  std::vector<Piece> pieces = {{10, 0, 3}, {30, 0, 1}, {20, 2, 3}, {5, 2, 2}};
  EXPECT_EQ(place_first_fit(pieces), 40U);
  EXPECT_EQ(pieces[1].offset, 0U);   // the largest
  EXPECT_EQ(pieces[2].offset, 0U);   // after its time
  EXPECT_EQ(pieces[0].offset, 30U);  // beside both
  EXPECT_EQ(pieces[3].offset, 20U);  // in the gap
}

TEST(FirstFit, NoTwoThatAreAliveAtOnceOverlap) {
  std::mt19937 random(3);
  const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
  for (int round = 0; round < 50; ++round) {
    std::vector<Piece> pieces(40);
    uint64_t sum = 0, largest = 0;
    for (Piece& piece : pieces) {
      const int first = below(20);
      piece = {static_cast<uint64_t>(1 + below(100)), first, first + below(5)};
      sum += piece.bytes;
      largest = std::max(largest, piece.bytes);
    }
    const uint64_t total = place_first_fit(pieces);
    EXPECT_TRUE(total >= largest && total < sum);
    for (const Piece& a : pieces) {
      EXPECT_LE(a.offset + a.bytes, total);
      for (const Piece& b : pieces) {
        if (&a == &b || a.last < b.first || b.last < a.first) continue;
        EXPECT_TRUE(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset);
      }
    }
  }
}

TEST(FirstFit, Nothing) { EXPECT_EQ(place_first_fit({}), 0U); }

}  // namespace
}  // namespace outboard
