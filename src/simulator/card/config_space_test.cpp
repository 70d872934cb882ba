#include "simulator/card/config_space.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace outboard::simulator::card {
namespace {

using ::testing::HasSubstr;

ConfigSpace::Options large() {
  ConfigSpace::Options options;
  options.bar0_bytes = uint64_t{32} << 30;
  return options;
}

TEST(ConfigSpace, SaysWhatTheCardIs) {
  EventLog events;
  const ConfigSpace config(events, large());
  EXPECT_EQ(config.read(0, 4), 0x744c1002u);
  EXPECT_EQ(config.read(8, 4), 0x030000c8u);
  EXPECT_EQ(config.read(0x0e, 1) & 0x7f, 0u);
}

TEST(ConfigSpace, CapabilitiesCanBeWalked) {
  EventLog events;
  const ConfigSpace config(events, large());
  std::set<uint32_t> ids;
  for (uint32_t at = config.read(0x34, 1); at != 0; at = config.read(at + 1, 1)) {
    ASSERT_TRUE(ids.insert(config.read(at, 1)).second);
  }
  EXPECT_EQ(ids, (std::set<uint32_t>{0x01, 0x05, 0x10}));
  std::set<uint32_t> extended;
  for (uint32_t at = 0x100; at != 0; at = config.read(at, 4) >> 20) {
    ASSERT_TRUE(extended.insert(config.read(at, 4) & 0xffff).second);
  }
  EXPECT_TRUE(extended.contains(0x15));  // resizable BAR
  EXPECT_TRUE(extended.contains(0x01));  // advanced error reporting
}

TEST(ConfigSpace, LinkIsGen4x4BehindThunderbolt) {
  EventLog events;
  ConfigSpace::Options options = large();
  EXPECT_EQ(ConfigSpace(events, options).read(0x64 + 18, 2) & 0x3ff, 0x044u);
  options.slow_link = true;
  EXPECT_EQ(ConfigSpace(events, options).read(0x64 + 18, 2) & 0x3ff, 0x041u);
}

// PCI specification, 6.2.5.1: write all ones, read back, the zeros are the size.
TEST(ConfigSpace, BarsTellTheirSize) {
  EventLog events;
  ConfigSpace config(events, large());
  const auto size = [&](uint32_t at, bool wide) {
    const uint32_t before_low = config.read(at, 4);
    const uint32_t before_high = wide ? config.read(at + 4, 4) : 0;
    config.write(at, ~0u, 4);
    if (wide) config.write(at + 4, ~0u, 4);
    const uint64_t mask = (config.read(at, 4) & ~0xfu) |
                          (wide ? uint64_t{config.read(at + 4, 4)} << 32 : 0xffffffff00000000ull);
    config.write(at, before_low, 4);
    if (wide) config.write(at + 4, before_high, 4);
    EXPECT_EQ(config.read(at, 4), before_low);
    return ~mask + 1;
  };
  EXPECT_EQ(size(0x10, true), uint64_t{32} << 30);
  EXPECT_EQ(size(0x18, true), uint64_t{2} << 20);
  EXPECT_EQ(size(0x24, false), uint64_t{1} << 20);
  EXPECT_EQ(config.read(0x10, 4) & 0xf, 0xcu);  // 64-bit, prefetchable
  EXPECT_EQ(config.read(0x20, 4) & 0x1, 0x1u);  // ports
  EXPECT_EQ(config.bar(0).size, uint64_t{32} << 30);
  EXPECT_EQ(config.bar(1).size, 0u);
}

TEST(ConfigSpace, BarsMoveWhereTheyArePut) {
  EventLog events;
  ConfigSpace config(events, large());
  config.write(0x24, 0x90123456, 4);
  EXPECT_EQ(config.bar(5).address, link::BusAddress{0x90100000u});
  config.write(0x18, 0, 4);
  config.write(0x1c, 0x12, 4);
  EXPECT_EQ(config.bar(2).address, link::BusAddress{uint64_t{0x12} << 32});
}

TEST(ConfigSpace, BarZeroIsResizedWithDecodingOff) {
  EventLog events;
  ConfigSpace config(events, large());
  config.write(4, 0, 2);
  config.write(0x208, 8 << 8, 4);  // 2^8 MiB
  EXPECT_EQ(config.bar(0).size, uint64_t{256} << 20);
  EXPECT_TRUE(config.resize_to_largest(0));
  EXPECT_EQ(config.bar(0).size, uint64_t{32} << 30);
  EXPECT_NE(config.bar(0).address, link::BusAddress{0u});
  EXPECT_TRUE(events.all().empty());
}

TEST(ConfigSpace, ResizingErrorsAreSeen) {
  EventLog events;
  ConfigSpace config(events, large());
  config.write(0x208, 8 << 8, 4);
  ASSERT_EQ(events.all().size(), 1u);
  EXPECT_THAT(events.all()[0].text, HasSubstr("while memory decoding is on"));
  config.write(4, 0, 2);
  config.write(0x208, 3 << 8, 4);  // 8 MiB is not on offer
  ASSERT_EQ(events.all().size(), 2u);
  EXPECT_THAT(events.all()[1].text, HasSubstr("does not offer"));
  EXPECT_EQ(config.bar(0).size, uint64_t{256} << 20);
}

TEST(ConfigSpace, SmallWindowCannotGrow) {
  EventLog events;
  ConfigSpace::Options options;
  options.resizable = false;
  ConfigSpace config(events, options);
  EXPECT_EQ(config.bar(0).size, uint64_t{256} << 20);
  EXPECT_FALSE(config.resize_to_largest(0));
}

TEST(ConfigSpace, ReadOnlyBitsStay) {
  EventLog events;
  ConfigSpace config(events, large());
  config.write(0, 0, 4);
  config.write(8, 0, 4);
  EXPECT_EQ(config.read(0, 4), 0x744c1002u);
  EXPECT_EQ(config.read(8, 4), 0x030000c8u);
}

TEST(ConfigSpace, OddAccessesGiveAllOnesAndAnEvent) {
  EventLog events;
  ConfigSpace config(events, large());
  EXPECT_EQ(config.read(1, 2), 0xffffu);
  EXPECT_EQ(config.read(4096, 4), ~0u);
  EXPECT_EQ(config.read(0, 3), 0xffffffu & ((1u << 24) - 1));
  EXPECT_EQ(events.all().size(), 3u);
}

TEST(ConfigSpace, OtherFunctionAndEmptySlot) {
  EventLog events;
  ConfigSpace::Options options = large();
  options.audio = true;
  EXPECT_EQ(ConfigSpace(events, options).read(0, 4), 0xab301002u);
  EXPECT_EQ(ConfigSpace(events, options).read(0x0b, 1), 0x04u);
  options.audio = false;
  options.absent = true;
  EXPECT_EQ(ConfigSpace(events, options).read(0, 4), ~0u);
  EXPECT_EQ(ConfigSpace(events, options).bar(0).size, 0u);
}

TEST(ConfigSpace, UnassignedBarsHaveNoAddress) {
  EventLog events;
  ConfigSpace::Options options = large();
  options.unassigned = true;
  const ConfigSpace config(events, options);
  EXPECT_EQ(config.bar(0).address, link::BusAddress{0u});
  EXPECT_EQ(config.bar(5).address, link::BusAddress{0u});
  EXPECT_FALSE(config.memory_enabled());
}

TEST(ConfigSpace, ClosingTurnsMemoryAndBusMasterOff) {
  EventLog events;
  ConfigSpace config(events, large());
  config.write(4, 6, 2);
  EXPECT_TRUE(config.memory_enabled() && config.bus_master());
  config.close();
  EXPECT_FALSE(config.memory_enabled() || config.bus_master());
}

}  // namespace
}  // namespace outboard::simulator::card
