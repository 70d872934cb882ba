// Loads, stores and bounds of 32 lanes, by every set of instructions, against plain loops.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <random>
#include <vector>

#include "simulator/compute/valu/operands.h"
#include "simulator/compute/valu/tables.h"

namespace outboard::simulator::compute::valu {
namespace {

constexpr size_t kLanes = kLanesOfRegister;
using Registers = std::array<VectorRegister, 4>;

// How the lanes' bytes lie: side by side, all at one place, at a distance, anywhere.
std::vector<VectorRegister> layouts(uint32_t bytes, std::mt19937& random) {
  std::vector<VectorRegister> out(5);
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    out[0].lane[lane] = 4 + lane * bytes;
    out[1].lane[lane] = 100;
    out[2].lane[lane] = 3 + lane * 2 * bytes;
    out[3].lane[lane] = static_cast<uint32_t>(random()) % 2000;
    out[4].lane[lane] = 4 + lane * bytes;
  }
  out[4].lane[kLanes - 1] += 4;  // nearly side by side
  return out;
}

std::vector<std::byte> noise(std::mt19937& random) {
  std::vector<std::byte> out(4096);
  for (std::byte& b : out) b = static_cast<std::byte>(random());
  return out;
}

TEST(LaneMemory, LoadsDwords) {
  std::mt19937 random(1);
  const std::vector<std::byte> memory = noise(random);
  for (const Table* table : available_tables()) {
    for (uint32_t dwords = 1; dwords <= 4; ++dwords) {
      for (const VectorRegister& offsets : layouts(4 * dwords, random)) {
        // The offsets may lie in any of the registers that are loaded.
        for (uint32_t in = 0; in < dwords; ++in) {
          Registers to{};
          to[in] = offsets;
          table->memory->load[dwords - 1](to[0].lane.data(), memory.data(), to[in].lane.data());
          for (uint32_t lane = 0; lane < kLanes; ++lane) {
            for (uint32_t d = 0; d < dwords; ++d) {
              uint32_t expected;
              std::memcpy(&expected, &memory[offsets.lane[lane] + 4 * d], 4);
              ASSERT_EQ(to[d].lane[lane], expected)
                  << table->name << ", " << dwords << " dwords, lane " << lane;
            }
          }
        }
      }
    }
  }
}

TEST(LaneMemory, LoadsSmallWords) {
  std::mt19937 random(2);
  const std::vector<std::byte> memory = noise(random);
  for (const Table* table : available_tables()) {
    for (const VectorRegister& offsets : layouts(2, random)) {
      const LaneMemory& m = *table->memory;
      Registers to{};
      m.load_u8(to[0].lane.data(), memory.data(), offsets.lane.data());
      m.load_i8(to[1].lane.data(), memory.data(), offsets.lane.data());
      m.load_u16(to[2].lane.data(), memory.data(), offsets.lane.data());
      m.load_i16(to[3].lane.data(), memory.data(), offsets.lane.data());
      for (uint32_t lane = 0; lane < kLanes; ++lane) {
        uint16_t word;
        std::memcpy(&word, &memory[offsets.lane[lane]], 2);
        const auto byte = static_cast<uint8_t>(word);
        EXPECT_EQ(to[0].lane[lane], byte);
        EXPECT_EQ(to[1].lane[lane], static_cast<uint32_t>(static_cast<int8_t>(byte)));
        EXPECT_EQ(to[2].lane[lane], word);
        EXPECT_EQ(to[3].lane[lane], static_cast<uint32_t>(static_cast<int16_t>(word)));
      }
    }
  }
}

TEST(LaneMemory, StoresWhatTheMaskNames) {
  std::mt19937 random(3);
  Registers from;
  for (VectorRegister& r : from)
    for (uint32_t& word : r.lane) word = static_cast<uint32_t>(random());
  for (const Table* table : available_tables()) {
    for (uint32_t dwords = 1; dwords <= 4; ++dwords) {
      for (const VectorRegister& offsets : layouts(4 * dwords, random)) {
        for (const uint32_t mask : {~0U, 0x80000001U, 0x0f0f0000U}) {
          std::vector<std::byte> memory(4096), expected(4096);
          table->memory->store[dwords - 1](memory.data(), offsets.lane.data(), from[0].lane.data(),
                                           mask);
          for (uint32_t lane = 0; lane < kLanes; ++lane) {
            for (uint32_t d = 0; d < dwords && (mask >> lane & 1) != 0; ++d)
              std::memcpy(&expected[offsets.lane[lane] + 4 * d], &from[d].lane[lane], 4);
          }
          ASSERT_EQ(memory, expected) << table->name << ", " << dwords << " dwords";
        }
      }
    }
  }
}

TEST(LaneMemory, BoundsAndMasks) {
  std::mt19937 random(4);
  for (const Table* table : available_tables()) {
    const LaneMemory& m = *table->memory;
    for (int round = 0; round < 50; ++round) {
      VectorRegister a;
      for (uint32_t& word : a.lane) word = static_cast<uint32_t>(random());
      uint32_t low, high;
      m.offset_bounds(a.lane.data(), &low, &high);
      EXPECT_EQ(low, *std::min_element(a.lane.begin(), a.lane.end()));
      EXPECT_EQ(high, *std::max_element(a.lane.begin(), a.lane.end()));

      const auto mask = static_cast<uint32_t>(random()) | 1U << (round % 32);
      VectorRegister filled;
      m.stand_in(filled.lane.data(), a.lane.data(), mask);
      const uint32_t some = a.lane[static_cast<size_t>(std::countr_zero(mask))];
      uint32_t above = 0;
      for (uint32_t lane = 0; lane < kLanes; ++lane) {
        EXPECT_EQ(filled.lane[lane], (mask >> lane & 1) != 0 ? a.lane[lane] : some);
        if (a.lane[lane] > a.lane[3]) above |= 1U << lane;
      }
      EXPECT_EQ(m.above(a.lane.data(), a.lane[3]), above);

      EXPECT_FALSE(m.same(a.lane.data(), mask | 6));
      for (uint32_t lane = 0; lane < kLanes; ++lane)
        if ((mask >> lane & 1) != 0) a.lane[lane] = 7;
      EXPECT_TRUE(m.same(a.lane.data(), mask));
    }
  }
}

TEST(LaneMemory, LinesThatAreTouched) {
  std::mt19937 random(5);
  constexpr int kShift = 7;
  for (const Table* table : available_tables()) {
    for (const uint32_t bytes : {1U, 4U, 16U}) {
      for (int round = 0; round < 20; ++round) {
        const auto base = static_cast<uint32_t>(random()) % 1000;
        const uint32_t start = base & ~127U;  // of line 0
        VectorRegister a;
        uint64_t expected = 0;
        for (uint32_t& word : a.lane) {
          word = base + static_cast<uint32_t>(random()) % 7000;
          for (uint32_t byte = 0; byte < bytes; ++byte)
            expected |= uint64_t{1} << ((word + byte - start) >> kShift);
        }
        EXPECT_EQ(table->memory->lines(a.lane.data(), start, bytes, kShift), expected);
      }
    }
  }
}

}  // namespace
}  // namespace outboard::simulator::compute::valu
