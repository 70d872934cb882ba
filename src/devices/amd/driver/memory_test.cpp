#include "devices/amd/driver/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "simulator/card/simulated_link.h"
#include "support/error.h"

namespace outboard::devices::amd::driver {
namespace {

using ::testing::HasSubstr;

struct MemoryTest : ::testing::Test {
  static simulator::card::CardOptions options() {
    simulator::card::CardOptions o;
    o.vram_bytes = uint64_t{256} << 20;
    o.bar0_bytes = uint64_t{256} << 20;
    o.threads = 1;
    return o;
  }
  MemoryTest() { link->config_write(4, 2, 2); }

  simulator::card::Card card{options()};
  std::unique_ptr<link::Link> link = simulator::card::make_simulated_link(card);
  int flushes = 0;
  Memory memory{*link, uint64_t{256} << 20, [this] { ++flushes; }};
};

TEST_F(MemoryTest, BuffersDoNotTouch) {
  const Buffer a = memory.allocate(5000, "a");
  const Buffer b = memory.allocate(3 << 20, "b");
  EXPECT_EQ(a.bytes, 8192U);
  EXPECT_GE(b.address, a.address + a.bytes + 4096);  // pages between that are mapped nowhere
  EXPECT_EQ(value(b.address) % (2 << 20), 0U);
  EXPECT_EQ(value(memory.vram_offset(b)) % (2 << 20), 0U);
  EXPECT_GE(memory.vram_offset(a), layout::kBootEnd);
}

TEST_F(MemoryTest, ChangesAreFollowedByAFlush) {
  const int before = flushes;
  const Buffer a = memory.allocate(4096, "a");
  EXPECT_EQ(flushes, before + 1);
  memory.free(a);
  EXPECT_EQ(flushes, before + 2);
}

TEST_F(MemoryTest, FreedMemoryComesBackWhole) {
  const uint64_t all = memory.free_bytes();
  const Buffer a = memory.allocate(10 << 20, "a"), b = memory.allocate(4096, "b"),
               c = memory.allocate(6 << 20, "c");
  memory.free(b);
  memory.free(a);
  memory.free(c);
  EXPECT_EQ(memory.free_bytes(), all);
  EXPECT_NO_THROW(memory.free(memory.allocate(all - (4 << 20), "nearly all")));
  EXPECT_THROW(memory.free(a), Error);
}

TEST_F(MemoryTest, SaysHowMuchIsThere) {
  try {
    memory.allocate(uint64_t{1} << 30, "too large");
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("video memory: 1073741824 bytes are wanted"));
  }
}

TEST_F(MemoryTest, AddressesAreNamed) {
  const Buffer a = memory.allocate(4096, "kv cache");
  EXPECT_EQ(memory.describe(a.address + 12), "kv cache, byte 12 of 4096");
  EXPECT_EQ(memory.describe(a.address + 4096 + 8), "8 bytes past the end of kv cache");
  EXPECT_EQ(memory.describe(GpuAddress{}), "");
}

TEST_F(MemoryTest, SystemMemoryIsMappedByItsSegments) {
  const auto region = link->share(1 << 20, false);
  const Buffer a = memory.map(*region, "window");
  EXPECT_EQ(a.bytes, region->size());
  EXPECT_THROW(static_cast<void>(memory.vram_offset(a)), Error);
  memory.unmap(a);
  EXPECT_EQ(memory.describe(a.address), "");
}

}  // namespace
}  // namespace outboard::devices::amd::driver
