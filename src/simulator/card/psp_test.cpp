#include "simulator/card/psp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hardware/amd/navi31/discovery.h"
#include "hardware/amd/navi31/mp.h"
#include "simulator/card/discovery_table.h"
#include "simulator/card/test_bench.h"

namespace outboard::simulator::card {
namespace {

using testing::Bench;
using ::testing::HasSubstr;
using testing::high;
using testing::low;
namespace mp = hardware::amd::navi31::mp;
namespace gc = hardware::amd::navi31::gc;
namespace ph = hardware::amd::navi31::psp;
namespace ds = hardware::amd::navi31::discovery;

constexpr uint64_t kImage = 1 << 20, kRing = 0x10000, kCommand = 0x20000, kFence = 0x21000;
constexpr uint64_t kTmr = 0x2000000;

struct PspTest : ::testing::Test {
  explicit PspTest(const char* faults = nullptr) : bench(options(faults)) {}
  static CardOptions options(const char* faults) {
    CardOptions result = testing::small_card();
    if (faults != nullptr) result.faults = FaultPlan::parse(faults, "test");
    return result;
  }
  bool ready() { return (bench.get<mp::MP0_SMN_C2PMSG_35>() & 0x80000000) != 0; }
  bool sos_alive() { return bench.get<mp::MP0_SMN_C2PMSG_81>() != 0; }

  // A component with the header that the boot loader looks at.
  bool load_component(uint32_t command, bool header = true) {
    std::memset(bench.board.vram.at(VramOffset{kImage}), 0x5a, 0x1000);
    if (header) {
      std::memcpy(bench.board.vram.at(VramOffset{kImage + 0x10}), "$PS1", 4);
      bench.set_vram<uint32_t>(kImage + 0x6c, 0x1000);
    }
    bench.set<mp::MP0_SMN_C2PMSG_36>(low(Bench::mc(kImage) >> 20));
    bench.set<mp::MP0_SMN_C2PMSG_35>(command);
    return ready();
  }
  static constexpr uint32_t kOrder[] = {
      ph::PSP_BL__LOAD_KEY_DATABASE, ph::PSP_BL__LOAD_TOS_SPL_TABLE, ph::PSP_BL__LOAD_SYSDRV,
      ph::PSP_BL__LOAD_SOCDRV,       ph::PSP_BL__LOAD_INTFDRV,       ph::PSP_BL__LOAD_DBGDRV,
      ph::PSP_BL__LOAD_RASDRV,       ph::PSP_BL__LOAD_SOSDRV};
  void boot_sos() {
    for (const uint32_t command : kOrder) ASSERT_TRUE(load_component(command)) << bench.errors();
    ASSERT_TRUE(sos_alive());
  }
  void create_ring() {
    bench.set<mp::MP0_SMN_C2PMSG_69>(low(Bench::mc(kRing)));
    bench.set<mp::MP0_SMN_C2PMSG_70>(high(Bench::mc(kRing)));
    bench.set<mp::MP0_SMN_C2PMSG_71>(0x1000);
    bench.set<mp::MP0_SMN_C2PMSG_64>(ph::PSP_RING_TYPE__KM << 16);
  }
  // Runs one command; returns its status, or all ones when the fence was not written.
  uint32_t run(ph::psp_gfx_cmd_resp command) {
    bench.set_vram(kCommand, command);
    ph::psp_gfx_rb_frame frame{};
    frame.cmd_buf_addr_lo = low(Bench::mc(kCommand));
    frame.cmd_buf_addr_hi = high(Bench::mc(kCommand));
    frame.fence_addr_lo = low(Bench::mc(kFence));
    frame.fence_addr_hi = high(Bench::mc(kFence));
    frame.fence_value = ++fence;
    const uint32_t wptr = bench.get<mp::MP0_SMN_C2PMSG_67>();
    bench.set_vram(kRing + wptr * 4, frame);
    bench.set<mp::MP0_SMN_C2PMSG_67>(wptr + sizeof frame / 4);
    if (bench.vram<uint32_t>(kFence) != fence) return ~0u;
    answer = bench.vram<ph::psp_gfx_cmd_resp>(kCommand);
    return answer.resp.status;
  }
  uint32_t load_toc() {
    ph::psp_gfx_cmd_resp command{};
    command.cmd_id = ph::GFX_CMD_ID_LOAD_TOC;
    command.cmd.cmd_load_toc.toc_phy_addr_lo = low(Bench::mc(kImage));
    command.cmd.cmd_load_toc.toc_phy_addr_hi = high(Bench::mc(kImage));
    command.cmd.cmd_load_toc.toc_size = 0x400;
    return run(command);
  }
  uint32_t setup_tmr(uint32_t bytes, uint64_t place = kTmr) {
    ph::psp_gfx_cmd_resp command{};
    command.cmd_id = ph::GFX_CMD_ID_SETUP_TMR;
    command.cmd.cmd_setup_tmr.buf_phy_addr_lo = low(Bench::mc(place));
    command.cmd.cmd_setup_tmr.buf_phy_addr_hi = high(Bench::mc(place));
    command.cmd.cmd_setup_tmr.buf_size = bytes;
    command.cmd.cmd_setup_tmr.u.bitfield.virt_phy_addr = 1;
    command.cmd.cmd_setup_tmr.system_phy_addr_lo = low(place);
    return run(command);
  }
  uint32_t load(uint32_t type, uint32_t size = 0x1000, uint64_t place = kImage) {
    ph::psp_gfx_cmd_resp command{};
    command.cmd_id = ph::GFX_CMD_ID_LOAD_IP_FW;
    command.cmd.cmd_load_ip_fw.fw_phy_addr_lo = low(Bench::mc(place));
    command.cmd.cmd_load_ip_fw.fw_phy_addr_hi = high(Bench::mc(place));
    command.cmd.cmd_load_ip_fw.fw_size = size;
    command.cmd.cmd_load_ip_fw.fw_type = type;
    return run(command);
  }
  uint32_t autoload() {
    ph::psp_gfx_cmd_resp command{};
    command.cmd_id = ph::GFX_CMD_ID_AUTOLOAD_RLC;
    return run(command);
  }
  bool autoload_complete() {
    using Status = gc::RLC_RLCS_BOOTLOAD_STATUS;
    return Status::BOOTLOAD_COMPLETE.get(bench.get<Status>()) != 0 && bench.get<gc::CP_STAT>() == 0;
  }
  static constexpr uint32_t kFirmware[] = {
      ph::GFX_FW_TYPE_SDMA_UCODE_TH0, ph::GFX_FW_TYPE_SDMA_UCODE_TH1,
      ph::GFX_FW_TYPE_RS64_MEC,       ph::GFX_FW_TYPE_RS64_MEC_P0_STACK,
      ph::GFX_FW_TYPE_IMU_I,          ph::GFX_FW_TYPE_IMU_D,
      ph::GFX_FW_TYPE_RLC_G,          ph::GFX_FW_TYPE_RLC_IRAM,
      ph::GFX_FW_TYPE_RLC_DRAM_BOOT};
  void up_to_tmr() {
    boot_sos();
    create_ring();
    ASSERT_EQ(load_toc(), 0u);
    ASSERT_EQ(load(ph::GFX_FW_TYPE_SMU), 0u);
    ASSERT_EQ(setup_tmr(answer_tmr()), 0u) << bench.errors();
  }
  uint32_t answer_tmr() { return 0x1300000; }

  Bench bench;
  uint32_t fence = 0;
  ph::psp_gfx_cmd_resp answer{};
};

TEST_F(PspTest, BootsInOrder) {
  EXPECT_TRUE(ready());
  EXPECT_FALSE(sos_alive());
  up_to_tmr();
  for (const uint32_t type : kFirmware) EXPECT_EQ(load(type), 0u);
  EXPECT_FALSE(autoload_complete());
  EXPECT_EQ(autoload(), 0u);
  EXPECT_TRUE(autoload_complete());
  EXPECT_TRUE(bench.board.power.gfx_loaded && bench.board.power.smu_loaded);
  EXPECT_EQ(bench.errors(), "");
}

TEST_F(PspTest, TocAnswersTheSizeOfTheTmr) {
  boot_sos();
  create_ring();
  ASSERT_EQ(load_toc(), 0u);
  EXPECT_EQ(answer.resp.tmr_size, answer_tmr());
}

TEST_F(PspTest, FirmwareIsCopiedToTheTmr) {
  up_to_tmr();
  bench.set_vram<uint32_t>(kImage, 0x12345678);
  ASSERT_EQ(load(ph::GFX_FW_TYPE_RLC_G), 0u);
  const uint64_t where = answer.resp.fw_addr_lo | uint64_t{answer.resp.fw_addr_hi} << 32;
  EXPECT_GE(where, Bench::mc(kTmr));
  EXPECT_EQ(bench.vram<uint32_t>(where - Bench::mc(0)), 0x12345678u);
}

TEST_F(PspTest, WrongOrderStopsTheBootLoader) {
  EXPECT_TRUE(load_component(ph::PSP_BL__LOAD_KEY_DATABASE));
  EXPECT_FALSE(load_component(ph::PSP_BL__LOAD_SYSDRV));
  EXPECT_THAT(bench.errors(), HasSubstr("system driver where the SPL table comes next"));
}

TEST_F(PspTest, UnknownComponentStopsTheBootLoader) {
  EXPECT_FALSE(load_component(0x12345));
  EXPECT_THAT(bench.errors(), HasSubstr("unknown"));
}

TEST_F(PspTest, CodeNeedsItsHeader) {
  EXPECT_TRUE(load_component(ph::PSP_BL__LOAD_KEY_DATABASE, false));
  EXPECT_TRUE(load_component(ph::PSP_BL__LOAD_TOS_SPL_TABLE, false));
  EXPECT_FALSE(load_component(ph::PSP_BL__LOAD_SYSDRV, false));
  EXPECT_THAT(bench.errors(), HasSubstr("no image's header"));
}

TEST_F(PspTest, ImageMustLieInTheCard) {
  bench.set<mp::MP0_SMN_C2PMSG_36>(0x1);
  bench.set<mp::MP0_SMN_C2PMSG_35>(ph::PSP_BL__LOAD_KEY_DATABASE);
  EXPECT_FALSE(ready());
  EXPECT_THAT(bench.errors(), HasSubstr("no memory of the card"));
}

TEST_F(PspTest, RingNeedsTheSecureOs) {
  create_ring();
  EXPECT_THAT(bench.errors(), HasSubstr("before the secure OS runs"));
}

TEST_F(PspTest, FrameNeedsARing) {
  boot_sos();
  bench.set<mp::MP0_SMN_C2PMSG_67>(16);
  EXPECT_THAT(bench.errors(), HasSubstr("without a ring"));
}

TEST_F(PspTest, RingWraps) {
  boot_sos();
  create_ring();
  for (int i = 0; i < 100; ++i) {  // 64 frames fit
    ASSERT_EQ(load_toc(), 0u) << i;
    if (bench.get<mp::MP0_SMN_C2PMSG_67>() == 0x400) bench.set<mp::MP0_SMN_C2PMSG_67>(0);
  }
  EXPECT_EQ(bench.errors(), "");
}

// The size register changed under a ring once divided by zero.
TEST_F(PspTest, RingKeepsTheSizeItWasMadeWith) {
  boot_sos();
  create_ring();
  bench.set<mp::MP0_SMN_C2PMSG_71>(0);
  EXPECT_EQ(load_toc(), 0u);
}

TEST_F(PspTest, RingIsNotOfAnySize) {
  boot_sos();
  for (const uint32_t bytes : {0u, 3u, 0x40000000u}) {
    bench.set<mp::MP0_SMN_C2PMSG_69>(low(Bench::mc(kRing)));
    bench.set<mp::MP0_SMN_C2PMSG_70>(high(Bench::mc(kRing)));
    bench.set<mp::MP0_SMN_C2PMSG_71>(bytes);
    bench.set<mp::MP0_SMN_C2PMSG_64>(ph::PSP_RING_TYPE__KM << 16);
    EXPECT_NE(bench.get<mp::MP0_SMN_C2PMSG_64>() & 0xffff, 0u);
  }
}

TEST_F(PspTest, RingCanBeDestroyedAndMadeAgain) {
  boot_sos();
  create_ring();
  bench.set<mp::MP0_SMN_C2PMSG_64>(ph::GFX_CTRL_CMD_ID_DESTROY_RINGS);
  EXPECT_EQ(bench.get<mp::MP0_SMN_C2PMSG_71>(), 0u);
  create_ring();
  EXPECT_EQ(load_toc(), 0u);
  EXPECT_EQ(bench.errors(), "");
}

TEST_F(PspTest, TmrComesAfterTheToc) {
  boot_sos();
  create_ring();
  EXPECT_NE(setup_tmr(0x1300000), 0u);
  EXPECT_THAT(bench.errors(), HasSubstr("before the TOC"));
}

TEST_F(PspTest, TmrMustBeLargeEnoughAndAligned) {
  boot_sos();
  create_ring();
  ASSERT_EQ(load_toc(), 0u);
  EXPECT_NE(setup_tmr(0x1000), 0u);
  EXPECT_NE(setup_tmr(0x1300000, kTmr + 0x1000), 0u);
}

TEST_F(PspTest, FirmwareComesAfterTheTmr) {
  boot_sos();
  create_ring();
  EXPECT_NE(load(ph::GFX_FW_TYPE_RLC_G), 0u);
  EXPECT_THAT(bench.errors(), HasSubstr("before SETUP_TMR"));
}

TEST_F(PspTest, BadFirmwareIsRefused) {
  up_to_tmr();
  EXPECT_NE(load(ph::GFX_FW_TYPE_RLC_G, 0), 0u);
  EXPECT_NE(load(0x12345), 0u);
  EXPECT_NE(load(ph::GFX_FW_TYPE_RLC_G, 0x1000, kImage + 4), 0u);
  EXPECT_NE(load(ph::GFX_FW_TYPE_RLC_G, 0x40000000), 0u);
  std::memset(bench.board.vram.at(VramOffset{kImage}), 0, 0x1000);
  EXPECT_NE(load(ph::GFX_FW_TYPE_RLC_G), 0u);
  EXPECT_THAT(bench.errors(), HasSubstr("all zeros"));
}

TEST_F(PspTest, AutoloadNeedsAllFirmware) {
  up_to_tmr();
  for (const uint32_t type : kFirmware) {
    if (type == ph::GFX_FW_TYPE_IMU_D) continue;
    ASSERT_EQ(load(type), 0u);
  }
  autoload();
  EXPECT_FALSE(autoload_complete());
  EXPECT_THAT(bench.errors(), HasSubstr("without firmware: IMU_D"));
}

TEST_F(PspTest, UnknownCommandIsRefused) {
  boot_sos();
  create_ring();
  ph::psp_gfx_cmd_resp command{};
  command.cmd_id = ph::GFX_CMD_ID_LOAD_TA;
  EXPECT_EQ(run(command), ph::PSP_ERR_UNKNOWN_COMMAND);
  EXPECT_EQ(bench.events(CardEvent::Kind::kNotSimulated).size(), 1u);
}

TEST_F(PspTest, ResetForgetsEverything) {
  up_to_tmr();
  bench.board.hard_reset("test");
  EXPECT_FALSE(sos_alive());
  EXPECT_TRUE(ready());
  EXPECT_FALSE(bench.board.vram.is_protected(VramOffset{kTmr}, 4));
  boot_sos();
}

struct StuckBootLoader : PspTest {
  StuckBootLoader() : PspTest(R"([{"what": "psp.bootloader-stuck"}])") {}
};
TEST_F(StuckBootLoader, NeverGetsReady) { EXPECT_FALSE(ready()); }

struct Rejecting : PspTest {
  Rejecting() : PspTest(R"([{"what": "psp.firmware-rejected", "where": "type 8"}])") {}
};
TEST_F(Rejecting, OneTypeIsRefused) {
  up_to_tmr();
  EXPECT_EQ(load(ph::GFX_FW_TYPE_RLC_IRAM), 0u);
  EXPECT_NE(load(ph::GFX_FW_TYPE_RLC_G), 0u);
  EXPECT_EQ(bench.errors(), "");
}

struct Silent : PspTest {
  Silent() : PspTest(R"([{"what": "psp.sos-silent", "skip": 1}])") {}
};
TEST_F(Silent, RingIsNotServed) {
  boot_sos();
  create_ring();
  EXPECT_EQ(load_toc(), ~0u);
}

struct NoAutoload : PspTest {
  NoAutoload() : PspTest(R"([{"what": "rlc.autoload-timeout"}])") {}
};
TEST_F(NoAutoload, NeverCompletes) {
  up_to_tmr();
  for (const uint32_t type : kFirmware) ASSERT_EQ(load(type), 0u);
  EXPECT_EQ(autoload(), 0u);
  EXPECT_FALSE(autoload_complete());
}

// Read as the kernel does it, checksums included (amdgpu_discovery.c).
TEST(DiscoveryTable, IsWhatADriverReads) {
  Bench bench;
  const uint64_t place = bench.board.visible_vram() - ds::DISCOVERY_TMR_OFFSET;
  const auto header = bench.vram<ds::binary_header>(place);
  ASSERT_EQ(header.binary_signature, ds::BINARY_SIGNATURE);
  const auto sum = [&](uint64_t from, uint64_t bytes) {
    uint16_t total = 0;
    for (uint64_t i = 0; i < bytes; ++i)
      total = static_cast<uint16_t>(total + bench.vram<uint8_t>(from + i));
    return total;
  };
  const uint64_t after = offsetof(ds::binary_header, binary_checksum) + 2;
  EXPECT_EQ(sum(place + after, header.binary_size - after), header.binary_checksum);
  EXPECT_LE(header.binary_size, ds::DISCOVERY_TMR_SIZE);
  for (const uint32_t table : {ds::IP_DISCOVERY, ds::GC, ds::HARVEST_INFO}) {
    EXPECT_EQ(sum(place + header.table_list[table].offset, header.table_list[table].size),
              header.table_list[table].checksum);
  }
  const auto shaders = bench.vram<ds::gc_info_v1_1>(place + header.table_list[ds::GC].offset);
  EXPECT_EQ(shaders.gc_num_se * shaders.gc_num_sa_per_se *
                (shaders.gc_num_wgp0_per_sa + shaders.gc_num_wgp1_per_sa) * 2,
            96u);
  const auto ip =
      bench.vram<ds::ip_discovery_header>(place + header.table_list[ds::IP_DISCOVERY].offset);
  EXPECT_EQ(ip.signature, ds::DISCOVERY_TABLE_SIGNATURE);
  const auto die = bench.vram<ds::die_header>(place + ip.die_info_[0].die_offset);
  EXPECT_EQ(die.num_ips, 9u);
}

}  // namespace
}  // namespace outboard::simulator::card
