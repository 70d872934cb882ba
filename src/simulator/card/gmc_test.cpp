#include "simulator/card/gmc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hardware/amd/navi31/interrupts.h"
#include "simulator/card/test_bench.h"

namespace outboard::simulator::card {
namespace {

using compute::Access;
using testing::Bench;
using ::testing::HasSubstr;
using testing::high;
using testing::low;
namespace gc = hardware::amd::navi31::gc;
namespace pte = hardware::amd::navi31::pte;

constexpr uint32_t kVmid = 1;

struct HubTest : ::testing::Test {
  HubTest() { bench.enable_context(kVmid); }
  compute::Translation read(uint64_t address) {
    return bench.board.gc_hub->translate(kVmid, address, Access::kRead, Client::kTcp);
  }
  // VRAM offset behind an address; all ones when it faults.
  uint64_t offset(uint64_t address) {
    const auto t = read(address);
    return t.host == nullptr ? ~0ull : value(bench.board.vram.offset_of(t.host));
  }
  Bench bench;
};

TEST_F(HubTest, WalksFourLevels) {
  const uint64_t address =
      (uint64_t{3} << 39) | (uint64_t{5} << 30) | (uint64_t{7} << 21) | (9 << 12);
  bench.map(kVmid, address, 0x5000);
  EXPECT_EQ(offset(address + 0x123), 0x5123u);
  EXPECT_EQ(read(address + 0x123).bytes, 0xeddu);
  EXPECT_TRUE(read(address).writable);
  EXPECT_FALSE(read(address).system);
  EXPECT_FALSE(read(address).uncached);
  EXPECT_EQ(bench.errors(), "");
}

TEST_F(HubTest, HugePagesAreLeavesOfUpperLevels) {
  bench.map(kVmid, 0x400000, 0x1000000, Bench::kAllRights, 1);
  EXPECT_EQ(offset(0x400000 + 0x123456), 0x1123456u);
  EXPECT_EQ(read(0x400000).bytes, uint64_t{2} << 20);
  bench.map(kVmid, uint64_t{1} << 30, 0, Bench::kAllRights, 2);
  EXPECT_EQ(offset((uint64_t{1} << 30) + 0x6543210), 0x6543210u);
}

TEST_F(HubTest, TablesCountFromTheRangesStart) {
  const auto reg = [&](const char* name) { return bench.board.registers.find(name); };
  const uint64_t start = uint64_t{0x2000} << 32;
  bench.write(reg("GCVM_CONTEXT1_PAGE_TABLE_START_ADDR_LO32"), low(start >> 12));
  bench.write(reg("GCVM_CONTEXT1_PAGE_TABLE_START_ADDR_HI32"), high(start >> 12));
  bench.map(kVmid, 0x3000, 0x7000);
  EXPECT_EQ(offset(start + 0x3000), 0x7000u);
  EXPECT_EQ(offset(0x3000), ~0ull);
  EXPECT_THAT(bench.errors(), HasSubstr("outside the page table's range"));
}

TEST_F(HubTest, TlbStaysStaleUntilInvalidated) {
  const uint64_t entry = bench.map(kVmid, 0x1000, 0x5000);
  EXPECT_EQ(offset(0x1000), 0x5000u);
  bench.set_vram(entry, 0x6000 | Bench::kAllRights);
  EXPECT_EQ(offset(0x1000), 0x5000u);
  bench.invalidate(1 << 2);  // another VMID
  EXPECT_EQ(offset(0x1000), 0x5000u);
  bench.invalidate(1 << kVmid);
  EXPECT_EQ(offset(0x1000), 0x6000u);
  bench.set_vram<uint64_t>(entry, 0);
  EXPECT_EQ(offset(0x1000), 0x6000u);
  bench.invalidate(1 << kVmid);
  EXPECT_EQ(offset(0x1000), ~0ull);
}

TEST_F(HubTest, InvalidateWithoutTheL2LeavesOldEntries) {
  using Req = gc::GCVM_INVALIDATE_ENG0_REQ;
  const uint64_t entry = bench.map(kVmid, 0x1000, 0x5000);
  EXPECT_EQ(offset(0x1000), 0x5000u);
  bench.set_vram(entry, 0x6000 | Bench::kAllRights);
  bench.set<Req>(Req::PER_VMID_INVALIDATE_REQ(1 << kVmid) | Req::INVALIDATE_L1_PTES(1));
  EXPECT_EQ(offset(0x1000), 0x5000u);
}

TEST_F(HubTest, InvalidateIsAcknowledgedByVmid) {
  bench.invalidate(1 << kVmid);
  EXPECT_EQ(bench.get<gc::GCVM_INVALIDATE_ENG0_ACK>(), 1u << kVmid);
  EXPECT_EQ(bench.board.counters.tlb_invalidates, 1u);
}

TEST_F(HubTest, StuckInvalidateIsNotAcknowledged) {
  CardOptions options = testing::small_card();
  options.faults = FaultPlan::parse(R"([{"what": "gmc.tlb-stuck"}])", "test");
  Bench stuck(options);
  stuck.invalidate(1);
  EXPECT_EQ(stuck.get<gc::GCVM_INVALIDATE_ENG0_ACK>(), 0u);
}

TEST_F(HubTest, SemaphoreBelongsToTheFirstReader) {
  EXPECT_EQ(bench.get<gc::GCVM_INVALIDATE_ENG0_SEM>(), 1u);
  EXPECT_EQ(bench.get<gc::GCVM_INVALIDATE_ENG0_SEM>(), 0u);
  bench.set<gc::GCVM_INVALIDATE_ENG0_SEM>(0);
  EXPECT_EQ(bench.get<gc::GCVM_INVALIDATE_ENG0_SEM>(), 1u);
}

TEST_F(HubTest, InvalidPageFaults) {
  using Status = gc::GCVM_L2_PROTECTION_FAULT_STATUS;
  bench.start_interrupts();
  EXPECT_EQ(offset(0x12345678), ~0ull);
  const uint32_t status = bench.get<Status>();
  EXPECT_EQ(Status::VMID.get(status), kVmid);
  EXPECT_EQ(Status::CID.get(status), 8u);  // TCP
  EXPECT_EQ(Status::RW.get(status), 0u);
  EXPECT_EQ(bench.get<gc::GCVM_L2_PROTECTION_FAULT_ADDR_LO32>(), 0x12345u);
  ASSERT_EQ(bench.interrupt_count(), 1u);
  using Entry = hardware::amd::navi31::ih::Entry;
  const auto entry = bench.entry(0);
  EXPECT_EQ(Entry::CLIENT_ID.get(entry.data()), hardware::amd::navi31::ih::SOC21_IH_CLIENTID_GFX);
  EXPECT_EQ(Entry::SOURCE_ID.get(entry.data()),
            hardware::amd::navi31::ih::GFX_11_0_0__SRCID__UTCL2_FAULT);
  EXPECT_EQ(Entry::VMID.get(entry.data()), kVmid);
  EXPECT_EQ(Entry::CONTEXT_ID0.get(entry.data()), 0x12345u);
  EXPECT_EQ(bench.board.counters.page_faults, 1u);
}

TEST_F(HubTest, FirstFaultStaysUntilCleared) {
  using Status = gc::GCVM_L2_PROTECTION_FAULT_STATUS;
  read(0x1000);
  read(0x2000);
  EXPECT_EQ(Status::MORE_FAULTS.get(bench.get<Status>()), 1u);
  EXPECT_EQ(bench.get<gc::GCVM_L2_PROTECTION_FAULT_ADDR_LO32>(), 1u);
  bench.set<gc::GCVM_L2_PROTECTION_FAULT_CNTL>(
      gc::GCVM_L2_PROTECTION_FAULT_CNTL::CLEAR_PROTECTION_FAULT_STATUS_ADDR(1));
  EXPECT_EQ(bench.get<Status>(), 0u);
  read(0x2000);
  EXPECT_EQ(bench.get<gc::GCVM_L2_PROTECTION_FAULT_ADDR_LO32>(), 2u);
}

TEST_F(HubTest, RightsAreChecked) {
  using Status = gc::GCVM_L2_PROTECTION_FAULT_STATUS;
  bench.map(kVmid, 0x1000, 0x5000, pte::VALID(1) | pte::READABLE(1));
  EXPECT_EQ(offset(0x1000), 0x5000u);
  EXPECT_EQ(bench.board.gc_hub->translate(kVmid, 0x1000, Access::kWrite, Client::kTcp).host,
            nullptr);
  EXPECT_EQ(Status::RW.get(bench.get<Status>()), 1u);
  EXPECT_EQ(
      bench.board.gc_hub->translate(kVmid, 0x1000, Access::kExecute, Client::kSqcInstruction).host,
      nullptr);
  EXPECT_THAT(bench.errors(), HasSubstr("not writable"));
  EXPECT_THAT(bench.errors(), HasSubstr("not executable"));
}

TEST_F(HubTest, ContextThatIsOffFaults) {
  EXPECT_EQ(bench.board.gc_hub->translate(4, 0x1000, Access::kRead, Client::kCp).host, nullptr);
  EXPECT_THAT(bench.errors(), HasSubstr("context 4 is not enabled"));
}

TEST_F(HubTest, SystemPagesAreReachedWhileShared) {
  const auto region = bench.board.system.share(8192, true, 1);
  const uint64_t bus = value(region->segments()[0].address);
  bench.map(kVmid, 0x1000, bus, Bench::kAllRights | Bench::kSystem);
  const auto t = read(0x1010);
  EXPECT_EQ(t.host, region->bytes().data() + 0x10);
  EXPECT_TRUE(t.system);
  bench.board.system.unshare(region->id());
  EXPECT_EQ(read(0x1010).host, nullptr);  // though the TLB still has it
  EXPECT_THAT(bench.errors(), HasSubstr("kernel panic on a Mac"));
}

TEST_F(HubTest, SystemPagesNeedTheBusMaster) {
  const auto region = bench.board.system.share(4096, true, 1);
  bench.map(kVmid, 0x1000, value(region->segments()[0].address),
            Bench::kAllRights | Bench::kSystem);
  bench.board.config.write(4, 2, 2);
  EXPECT_EQ(read(0x1000).host, nullptr);
  EXPECT_THAT(bench.errors(), HasSubstr("bus mastering is off"));
}

TEST_F(HubTest, PageIsTakenAwayOnRequest) {
  CardOptions options = testing::small_card();
  options.faults = FaultPlan::parse(R"([{"what": "dma.unshared", "count": 1}])", "test");
  Bench other(options);
  other.enable_context(kVmid);
  const auto region = other.board.system.share(4096, true, 1);
  other.map(kVmid, 0x1000, value(region->segments()[0].address),
            Bench::kAllRights | Bench::kSystem);
  EXPECT_EQ(other.board.gc_hub->translate(kVmid, 0x1000, Access::kRead, Client::kTcp).host,
            nullptr);
  EXPECT_THAT(other.errors(), HasSubstr("kernel panic on a Mac"));
}

TEST_F(HubTest, InjectedFault) {
  CardOptions options = testing::small_card();
  options.faults =
      FaultPlan::parse(R"([{"what": "gmc.page-fault", "where": "shader", "count": 1}])", "test");
  Bench other(options);
  other.enable_context(kVmid);
  other.map(kVmid, 0x1000, 0x5000);
  EXPECT_EQ(other.board.gc_hub->translate(kVmid, 0x1000, Access::kRead, Client::kTcp).host,
            nullptr);
  EXPECT_NE(other.board.gc_hub->translate(kVmid, 0x1000, Access::kRead, Client::kTcp).host,
            nullptr);
  EXPECT_EQ(other.errors(), "");
}

TEST_F(HubTest, TableBeyondMemoryFaults) {
  bench.map(kVmid, 0x1000, uint64_t{1} << 40);
  EXPECT_EQ(read(0x1000).host, nullptr);
  EXPECT_THAT(bench.errors(), HasSubstr("beyond 256 MiB"));
}

TEST_F(HubTest, FragmentMustBeContiguous) {
  for (uint64_t i = 0; i < 4; ++i) {
    bench.map(kVmid, i << 12, 0x8000 + (i << 12), Bench::kAllRights | pte::FRAG(2));
  }
  EXPECT_EQ(offset(0x1000), 0x9000u);
  EXPECT_EQ(bench.errors(), "");
  bench.map(kVmid, 0x3000, 0xf000, Bench::kAllRights | pte::FRAG(2));
  bench.invalidate(1 << kVmid);
  offset(0x1000);
  EXPECT_THAT(bench.errors(), HasSubstr("fragment of 4 pages"));
}

TEST_F(HubTest, UncachedMemoryType) {
  bench.map(kVmid, 0x1000, 0x5000, Bench::kAllRights | pte::MTYPE(pte::MTYPE_UC));
  EXPECT_TRUE(read(0x1000).uncached);
}

TEST_F(HubTest, VmidZeroSeesTheFrameBuffer) {
  Hub& hub = *bench.board.gc_hub;
  const auto t = hub.translate(0, Bench::mc(0x1234), Access::kRead, Client::kCp);
  EXPECT_EQ(t.host, bench.board.vram.at(VramOffset{0x1234}));
  EXPECT_EQ(hub.resolve_physical(ControllerAddress{0x1234}).host, nullptr);
}

TEST_F(HubTest, AgpApertureLeadsToSystemMemory) {
  const auto region = bench.board.system.share(uint64_t{1} << 25, true, 1);
  const uint64_t bus = (value(region->segments()[0].address) + (1 << 24) - 1) >> 24 << 24;
  bench.set<gc::GCMC_VM_AGP_BOT>(0x10);
  bench.set<gc::GCMC_VM_AGP_TOP>(0x10);
  bench.set<gc::GCMC_VM_AGP_BASE>(static_cast<uint32_t>(bus >> 24));
  const auto t =
      bench.board.gc_hub->resolve_physical(ControllerAddress{(uint64_t{0x10} << 24) + 0x40});
  EXPECT_EQ(t.host, bench.board.system.find(link::BusAddress{bus + 0x40}).host);
  EXPECT_TRUE(t.system);
}

TEST_F(HubTest, BothHubsAreApart) {
  EXPECT_EQ(bench.board.mm_hub->translate(kVmid, 0x1000, Access::kRead, Client::kOther).host,
            nullptr);
  EXPECT_THAT(bench.errors(), HasSubstr("MMHUB context 1"));
}

TEST_F(HubTest, ReadsAndWritesCrossPages) {
  bench.map(kVmid, 0x1000, 0x9000);
  bench.map(kVmid, 0x2000, 0x5000);
  std::vector<std::byte> data(64, std::byte{0xab});
  EXPECT_TRUE(bench.board.gc_hub->write(kVmid, 0x1fe0, data, Client::kCp));
  EXPECT_EQ(bench.vram<uint8_t>(0x9fe0), 0xab);
  EXPECT_EQ(bench.vram<uint8_t>(0x501f), 0xab);
  EXPECT_FALSE(bench.board.gc_hub->write(kVmid, 0x2fe0, data, Client::kCp));
}

TEST_F(HubTest, TrustedMemoryIsNotForEngines) {
  bench.map(kVmid, 0x1000, 0x9000);
  bench.board.vram.protect(VramOffset{0x9000}, 0x1000);
  EXPECT_FALSE(bench.board.gc_hub->write_value(kVmid, 0x1000, uint32_t{1}, Client::kSdma0));
  EXPECT_THAT(bench.errors(), HasSubstr("trusted memory region"));
}

TEST_F(HubTest, EngineReadOfUnflushedHostWriteIsNoted) {
  bench.board.vram.mark_unflushed(VramOffset{0x5000}, 4);
  bench.map(kVmid, 0x1000, 0x5000);
  uint32_t value = 0;
  EXPECT_TRUE(bench.board.gc_hub->read_value(kVmid, 0x1000, value, Client::kCp));
  ASSERT_EQ(bench.events(CardEvent::Kind::kNote).size(), 1u);
  bench.board.nbio->flush_hdp();
  EXPECT_TRUE(bench.board.gc_hub->read_value(kVmid, 0x1000, value, Client::kCp));
  EXPECT_THAT(bench.events(CardEvent::Kind::kNote)[0], ::testing::Not(HasSubstr("times")));
}

}  // namespace
}  // namespace outboard::simulator::card
