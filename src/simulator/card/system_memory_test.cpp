#include "simulator/card/system_memory.h"

#include <gtest/gtest.h>

#include <set>

#include "hardware/amd/navi31/gc.h"
#include "link/protocol.h"
#include "simulator/card/register_file.h"
#include "simulator/card/vram.h"
#include "support/error.h"

namespace outboard::simulator::card {
namespace {

TEST(SystemMemory, PagesAreScatteredAndCoverTheRegion) {
  SystemMemory memory(1);
  const auto region = memory.share(64 << 10, false, 5);
  ASSERT_NE(region, nullptr);
  ASSERT_EQ(region->segments().size(), 5u);
  uint64_t total = 0;
  for (const link::Segment& s : region->segments()) {
    EXPECT_EQ(value(s.address) % link::protocol::kPage, 0u);
    EXPECT_LT(value(s.address + s.size), uint64_t{1} << link::protocol::kAddressBits);
    const auto view = memory.find(s.address);
    EXPECT_EQ(view.host, region->bytes().data() + total);
    EXPECT_EQ(view.bytes, s.size);
    EXPECT_EQ(memory.find(s.address + s.size).host, nullptr);  // a gap follows
    total += s.size;
  }
  EXPECT_EQ(total, region->bytes().size());
}

TEST(SystemMemory, NoLimitMeansEachPageAlone) {
  SystemMemory memory(1);
  EXPECT_EQ(memory.share(64 << 10, false, 0)->segments().size(), 16u);
  EXPECT_EQ(memory.share(64 << 10, true, 0)->segments().size(), 1u);
}

TEST(SystemMemory, SeedDecidesTheAddresses) {
  SystemMemory a(7), b(7), c(8);
  const auto first = [](SystemMemory& m) {
    return m.share(1 << 20, false, 9)->segments()[0].address;
  };
  const link::BusAddress address = first(a);
  EXPECT_EQ(address, first(b));
  EXPECT_NE(address, first(c));
}

TEST(SystemMemory, AddressesAreNeverGivenTwice) {
  SystemMemory memory(3);
  std::set<link::BusAddress> seen;
  for (int i = 0; i < 50; ++i) {
    const auto region = memory.share(16 << 10, false, 4);
    for (const link::Segment& s : region->segments()) EXPECT_TRUE(seen.insert(s.address).second);
    memory.unshare(region->id());
  }
}

TEST(SystemMemory, AddressesCanBeNamed) {
  SystemMemory memory(1);
  const uint64_t page = link::protocol::kPage;
  const auto region = memory.share_at(
      {{link::BusAddress{0x7000'0000}, page}, {link::BusAddress{0x5000'0000}, 2 * page}});
  ASSERT_NE(region, nullptr);
  EXPECT_EQ(region->bytes().size(), 3 * page);
  EXPECT_EQ(memory.find(link::BusAddress{0x5000'0000}).host, region->bytes().data() + page);
  EXPECT_EQ(memory.share_at({{link::BusAddress{0x5000'0000 + page}, page}}), nullptr);  // taken
  EXPECT_EQ(memory.share_at({{link::BusAddress{0x5000'0000 - page}, 2 * page}}),
            nullptr);  // partly
  EXPECT_EQ(memory.share_at({{link::BusAddress{0x9000'0000}, page + 1}}),
            nullptr);  // no whole pages
  EXPECT_EQ(memory.share_at(
                {{link::BusAddress{0x9000'0000}, page}, {link::BusAddress{0x9000'0000}, page}}),
            nullptr);
  EXPECT_EQ(memory.share_at({}), nullptr);
  EXPECT_NE(memory.share_at({{link::BusAddress{0x5000'0000 + 2 * page}, page}}),
            nullptr);  // right behind
}

TEST(SystemMemory, UnsharedMemoryIsOutOfReach) {
  SystemMemory memory(1);
  const auto region = memory.share(16 << 10, true, 1);
  const link::BusAddress address = region->segments()[0].address;
  EXPECT_NE(memory.find(address).host, nullptr);
  EXPECT_EQ(memory.unshare(region->id()), region);
  EXPECT_EQ(memory.find(address).host, nullptr);
  EXPECT_EQ(memory.unshare(region->id()), nullptr);
}

TEST(SystemMemory, OnePageCanBeTakenAway) {
  SystemMemory memory(1);
  const auto region = memory.share(16 << 10, true, 1);
  const link::BusAddress address = region->segments()[0].address;
  memory.unshare_page(address + 0x1234);
  EXPECT_EQ(memory.find(address).bytes, 0x1000u);
  EXPECT_EQ(memory.find(address + 0x1000).host, nullptr);
  EXPECT_EQ(memory.find(address + 0x2000).host, region->bytes().data() + 0x2000);
  EXPECT_EQ(memory.find(address + 0x2000).bytes, 0x2000u);
}

TEST(SystemMemory, NothingIsNotShared) { EXPECT_EQ(SystemMemory(1).share(0, false, 1), nullptr); }

TEST(Vram, RemembersWhatWasNotFlushed) {
  Vram vram(1 << 20);
  vram.mark_unflushed(VramOffset{0x1000}, 16);
  vram.mark_unflushed(VramOffset{0x1010}, 16);
  EXPECT_TRUE(vram.is_unflushed(VramOffset{0x101f}, 1));
  EXPECT_FALSE(vram.is_unflushed(VramOffset{0x1020}, 4));
  EXPECT_FALSE(vram.is_unflushed(VramOffset{0xff0}, 0x10));
  vram.flush_hdp();
  EXPECT_FALSE(vram.is_unflushed(VramOffset{0x1000}, 16));
}

TEST(Vram, ProtectedRegion) {
  Vram vram(1 << 20);
  vram.protect(VramOffset{0x1000}, 0x1000);
  EXPECT_TRUE(vram.is_protected(VramOffset{0xfff}, 2));
  EXPECT_FALSE(vram.is_protected(VramOffset{0x2000}, 4));
  vram.unprotect();
  EXPECT_FALSE(vram.is_protected(VramOffset{0x1000}, 4));
}

namespace gc = hardware::amd::navi31::gc;

TEST(RegisterFile, UnknownRegistersAreReported) {
  EventLog events;
  RegisterFile registers(events);
  EXPECT_EQ(registers.read(0x3ffff), 0u);
  registers.write(0x3ffff, 1);
  EXPECT_EQ(registers.read(0x3ffff), 0u);
  ASSERT_EQ(events.all().size(), 2u);
  EXPECT_EQ(events.all()[0].kind, CardEvent::Kind::kNotSimulated);
  EXPECT_EQ(events.all()[0].text.substr(events.all()[0].text.size() - 9), "(2 times)");
}

TEST(RegisterFile, EachQueueHasItsOwn) {
  EventLog events;
  RegisterFile registers(events);
  registers.select({1, 0, 0, 0});
  registers.set<gc::CP_HQD_VMID>(3);
  registers.select({1, 0, 1, 0});
  EXPECT_EQ(registers.get<gc::CP_HQD_VMID>(), 0u);
  {
    const SelectionGuard engine(registers, {1, 0, 0, 0});
    EXPECT_EQ(registers.get<gc::CP_HQD_VMID>(), 3u);
  }
  EXPECT_EQ(registers.selection().queue, 1u);
}

TEST(RegisterFile, EachVmidHasItsOwn) {
  EventLog events;
  RegisterFile registers(events);
  registers.select({0, 0, 0, 5});
  registers.set<gc::SH_MEM_BASES>(0x20001);
  registers.select({});
  EXPECT_NE(registers.get<gc::SH_MEM_BASES>(), 0x20001u);
}

TEST(RegisterFile, ResetGivesTheVendorsDefaults) {
  EventLog events;
  RegisterFile registers(events);
  const uint32_t value = registers.get<gc::GCVM_L2_CNTL>();
  EXPECT_NE(value, 0u);
  registers.set<gc::GCVM_L2_CNTL>(1);
  registers.reset();
  EXPECT_EQ(registers.get<gc::GCVM_L2_CNTL>(), value);
}

TEST(RegisterFile, NamesGoBothWays) {
  EventLog events;
  RegisterFile registers(events);
  EXPECT_EQ(registers.find("GRBM_GFX_CNTL"), gc::GRBM_GFX_CNTL::kAddress);
  EXPECT_EQ(registers.name(gc::GRBM_GFX_CNTL::kAddress), "GRBM_GFX_CNTL");
  EXPECT_THROW(registers.find("NO_SUCH"), Error);
}

}  // namespace
}  // namespace outboard::simulator::card
