// The driver on the simulated card: boots, comes back, computes, and says what is wrong.
#include "devices/amd/driver/card.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include <fmt/ranges.h>
#include "hardware/amd/dwords.h"
#include "hardware/amd/navi31/pm4_writer.h"
#include "hardware/amd/navi31/psp.h"
#include "hardware/amd/navi31/sdma_writer.h"
#include "hardware/amd/navi31/ucode.h"
#include "simulator/card/firmware_images.h"
#include "simulator/card/simulated_link.h"
#include "support/error.h"

namespace outboard::devices::amd::driver {
namespace {

using hardware::amd::append;
using hardware::amd::high;
using hardware::amd::low;
using ::testing::HasSubstr;

constexpr std::chrono::milliseconds kSoon{300};

simulator::card::CardOptions options_with(const char* faults = nullptr) {
  simulator::card::CardOptions options;
  options.vram_bytes = uint64_t{1} << 30;
  options.bar0_bytes = uint64_t{1} << 30;
  options.threads = 1;
  if (faults != nullptr) options.faults = simulator::card::FaultPlan::parse(faults, "test");
  return options;
}

BootOptions boot_options() {
  BootOptions options;
  options.images = simulator::card::firmware_images();
  options.patience = 0.05;  // the simulated card needs no pauses
  return options;
}

std::vector<std::byte> random_bytes(size_t size) {
  std::mt19937 random(1);
  std::vector<std::byte> out(size);
  for (std::byte& byte : out) byte = static_cast<std::byte>(random());
  return out;
}

// What the simulated card holds against the driver, a line each.
std::string complaints(const simulator::card::Card& card) {
  return fmt::format("{}", fmt::join(card.complaints(), "\n"));
}

std::string boot_error(const char* faults) {
  simulator::card::Card simulated(options_with(faults));
  const auto link = simulator::card::make_simulated_link(simulated);
  try {
    const Card card(*link, boot_options());
  } catch (const Error& e) {
    return e.message() + " | " + e.hint();
  }
  return "booted";
}

uint64_t messages(const simulator::card::CardCounters& c) {
  uint64_t sum = c.config_reads + c.config_writes;
  for (int bar = 0; bar < 6; ++bar) sum += c.mmio_reads[bar] + c.mmio_writes[bar];
  return sum;
}

TEST(DriverCard, BootsColdAndMovesMemory) {
  simulator::card::Card simulated(options_with());
  const auto link = simulator::card::make_simulated_link(simulated);
  Card card(*link, boot_options());
  EXPECT_FALSE(card.was_warm());
  EXPECT_EQ(card.facts().compute_units, 96U);
  const std::vector<std::byte> data = random_bytes((40U << 20) + 123);
  std::vector<std::byte> back(data.size());
  const Buffer buffer = card.memory().allocate(data.size(), "test");
  card.upload(buffer, 0, data);
  card.download(buffer, 0, back);
  EXPECT_EQ(back, data);
  card.finalize();
  EXPECT_EQ(complaints(simulated), "");
}

// The cards of one chip: what is fused off, memory and name come from the card.
TEST(DriverCard, KnowsItsSisters) {
  struct Sister {
    const char* card;
    const char* name;
    uint32_t units;
    uint64_t vram_mib;
  };
  for (const Sister& sister :
       {Sister{"xtx", "RX 7900 XTX", 96, 24560}, Sister{"xt", "RX 7900 XT", 84, 20464},
        Sister{"gre", "RX 7900 GRE", 80, 16368}}) {
    simulator::card::CardOptions options(simulator::card::card_model(sister.card));
    options.threads = 2;
    simulator::card::Card simulated(options);
    const auto link = simulator::card::make_simulated_link(simulated);
    for (const bool warm : {false, true}) {
      Card card(*link, boot_options());
      EXPECT_EQ(card.was_warm(), warm) << sister.card;
      EXPECT_EQ(card.facts().name, sister.name);
      EXPECT_EQ(card.facts().compute_units, sister.units) << sister.card;
      EXPECT_EQ(card.facts().die_units, 96U);
      EXPECT_EQ(card.facts().vram_bytes, sister.vram_mib << 20) << sister.card;
      EXPECT_GE(link->bar(0).size, card.facts().vram_bytes);
      card.finalize();
    }
    EXPECT_EQ(complaints(simulated), "");
  }
}

TEST(DriverCard, BootsWithASmallWindow) {
  simulator::card::CardOptions options = options_with();
  options.bar0_bytes = uint64_t{256} << 20;
  simulator::card::Card simulated(options);
  const auto link = simulator::card::make_simulated_link(simulated);
  Card card(*link, boot_options());
  EXPECT_EQ(card.facts().vram_bytes, uint64_t{1008} << 20);
  card.finalize();
  EXPECT_EQ(complaints(simulated), "");
}

TEST(DriverCard, ComesBackWarm) {
  simulator::card::Card simulated(options_with());
  uint64_t cold = 0;
  {
    const auto link = simulator::card::make_simulated_link(simulated);
    Card card(*link, boot_options());
    cold = messages(simulated.counters());
    card.finalize();
  }
  const uint64_t before = messages(simulated.counters());
  const auto link = simulator::card::make_simulated_link(simulated);
  Card card(*link, boot_options());
  EXPECT_TRUE(card.was_warm());
  const uint64_t warm = messages(simulated.counters()) - before;
  RecordProperty("cold_messages", static_cast<int>(cold));
  RecordProperty("warm_messages", static_cast<int>(warm));
  EXPECT_LT(warm, 80U);
  EXPECT_LT(cold, 700U);
  const std::vector<std::byte> data = random_bytes(4096);
  std::vector<std::byte> back(data.size());
  const Buffer buffer = card.memory().allocate(data.size(), "test");
  card.upload(buffer, 0, data);
  card.download(buffer, 0, back);
  EXPECT_EQ(back, data);
  card.finalize();
  EXPECT_EQ(complaints(simulated), "");
}

// A run that ended without finalize(): the next one does not trust what it finds.
TEST(DriverCard, ResetsACardThatWasLeftInAMess) {
  simulator::card::Card simulated(options_with(R"([{"what": "card.dirty"}])"));
  const auto link = simulator::card::make_simulated_link(simulated);
  Card card(*link, boot_options());
  EXPECT_FALSE(card.was_warm());
  const bool reset = std::any_of(card.stages().begin(), card.stages().end(),
                                 [](const Card::Stage& stage) { return stage.name == "reset"; });
  EXPECT_TRUE(reset);
  card.finalize();
  EXPECT_EQ(complaints(simulated), "");
}

TEST(DriverCard, NoDmaAfterFinalize) {
  simulator::card::Card simulated(options_with());
  const auto link = simulator::card::make_simulated_link(simulated);
  Card card(*link, boot_options());
  card.finalize();
  EXPECT_EQ(link->config_read(4, 2) & 4U, 0U);  // bus master
}

// One workgroup stores 7 to the address in s[0:1]: v_mov_b32 v0, 7; v_mov_b32 v1, 0;
// global_store_b32 v1, v0, s[0:1]; s_endpgm.
const std::vector<uint32_t> kStoreSeven = {0x7e000287, 0x7e020280, 0xdc6a0000, 0x00000001,
                                           0xbfb00000};

TEST(DriverCard, RunsAKernel) {
  simulator::card::Card simulated(options_with());
  const auto link = simulator::card::make_simulated_link(simulated);
  Card card(*link, boot_options());
  const Buffer code = card.memory().allocate(4096, "code");
  const Buffer data = card.memory().allocate(4096, "data");
  card.upload(code, 0, std::as_bytes(std::span(kStoreSeven)));
  hw::pm4::Launch launch;
  launch.program = code.address;
  launch.rsrc2 = 16 << 1;  // user SGPRs: two are read, and gfx1100 wants 16 loaded
  launch.user_data = {low(data.address), high(data.address)};
  launch.user_data.resize(16);
  std::vector<uint32_t> stream = hw::pm4::acquire({true, true, true, true});
  for (const auto& part : {hw::pm4::dispatch(launch), hw::pm4::barrier()}) {
    append(stream, part);
  }
  const simulator::card::CardCounters before = simulated.counters();
  card.wait(card.compute(), card.compute().submit(stream));
  const simulator::card::CardCounters after = simulated.counters();
  // A submission is one message and no round trip.
  EXPECT_EQ(messages(after) - messages(before), 1U);
  EXPECT_EQ(after.mmio_writes[2] - before.mmio_writes[2], 1U);
  std::array<std::byte, 4> result{};
  card.download(data, 0, result);
  EXPECT_EQ(static_cast<int>(result[0]), 7);
  card.finalize();
  EXPECT_EQ(complaints(simulated), "");
  EXPECT_EQ(simulated.violation_count(), 0U);
}

// Two launches whose arguments alone differ: of the second no more is written than those, and it is
// written before the first has ended.
TEST(DriverCard, LaunchesOneAfterTheOtherWriteWhatChanges) {
  simulator::card::Card simulated(options_with());
  const auto link = simulator::card::make_simulated_link(simulated);
  Card card(*link, boot_options());
  const Buffer code = card.memory().allocate(4096, "code");
  const Buffer data = card.memory().allocate(4096, "data");
  card.upload(code, 0, std::as_bytes(std::span(kStoreSeven)));
  hw::pm4::Launch launch;
  launch.program = code.address;
  launch.rsrc2 = 16 << 1;
  launch.user_data = {low(data.address), high(data.address)};
  launch.user_data.resize(16);
  hw::pm4::LaunchWriter writer;
  std::vector<uint32_t> stream = hw::pm4::acquire({true, true, true, true});
  append(stream, writer.registers(launch));
  append(stream, writer.start(launch));
  launch.user_data[0] += 8;
  const std::vector<uint32_t> changed = writer.registers(launch);
  EXPECT_EQ(changed.size(), 3U);  // a packet's head, the register, its value
  append(stream, changed);
  append(stream, hw::pm4::barrier());
  append(stream, writer.start(launch));
  EXPECT_TRUE(writer.registers(launch).empty());
  writer.forget();
  EXPECT_GT(writer.registers(launch).size(), 30U);
  append(stream, hw::pm4::barrier());
  card.wait(card.compute(), card.compute().submit(stream));
  std::array<std::byte, 12> result{};
  card.download(data, 0, result);
  EXPECT_EQ(static_cast<int>(result[0]), 7);
  EXPECT_EQ(static_cast<int>(result[8]), 7);
  card.finalize();
  EXPECT_EQ(complaints(simulated), "");
  EXPECT_EQ(simulated.violation_count(), 0U);
}

// s_mov_b32 s20, 0x40000; loop: s_sub_u32 s20, s20, 1; s_cmp_lg_u32 s20, 0; s_cbranch_scc1 loop;
// s_endpgm: some milliseconds of the simulated card.
const std::vector<uint32_t> kCountDown = {0xbe9400ff, 0x00040000, 0x80948114,
                                          0xbf078014, 0xbfa2fffd, 0xbfb00000};

// Launches of it in an indirect buffer: the ring's read pointer and the fence stand still, and the
// engine gets on all the same.
TEST(DriverCard, ASlowCardIsNotTakenForAHungOne) {
  simulator::card::Card simulated(options_with());
  const auto link = simulator::card::make_simulated_link(simulated);
  Card card(*link, boot_options());
  const Buffer code = card.memory().allocate(4096, "code");
  card.upload(code, 0, std::as_bytes(std::span(kCountDown)));
  hw::pm4::Launch launch;
  launch.program = code.address;
  launch.rsrc2 = 16 << 1;
  launch.user_data.assign(16, 0);
  const std::vector<uint32_t> one = hw::pm4::dispatch(launch);
  const auto start = std::chrono::steady_clock::now();
  card.wait(card.compute(), card.compute().submit(one));
  const auto each = std::chrono::steady_clock::now() - start;
  std::vector<uint32_t> stream;
  constexpr int kLaunches = 100;
  for (int i = 0; i < kLaunches; ++i) append(stream, one);
  const Buffer buffer = card.memory().allocate(stream.size() * 4, "stream");
  card.upload(buffer, 0, std::as_bytes(std::span(stream)));
  constexpr uint32_t kIndirectBuffer = 0xc0023f00, kValid = 1U << 23;
  const std::vector<uint32_t> call = {kIndirectBuffer, low(buffer.address), high(buffer.address),
                                      static_cast<uint32_t>(stream.size()) | kValid};
  // All of them take several times as long as anything is waited for.
  const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(each) * kLaunches / 5 +
                     std::chrono::milliseconds(20);
  card.wait(card.compute(), card.compute().submit(call), limit);
  card.finalize();
  EXPECT_EQ(complaints(simulated), "");
}

// Two queues whose doorbells come late, are merged with the next or never arrive: no wrong byte.
TEST(DriverCard, NoDoorbellCanDoHarm) {
  for (const char* faults :
       {R"([{"what": "doorbell.late", "milliseconds": 20}])", R"([{"what": "doorbell.merged"}])",
        R"([{"what": "doorbell.lost", "skip": 3, "count": 4}])"}) {
    simulator::card::Card simulated(options_with(faults));
    const auto link = simulator::card::make_simulated_link(simulated);
    Card card(*link, boot_options());
    const std::vector<std::byte> data = random_bytes(24U << 20);
    std::vector<std::byte> back(data.size());
    const Buffer buffer = card.memory().allocate(data.size(), "test");
    card.upload(buffer, 0, data);
    card.download(buffer, 0, back);
    EXPECT_TRUE(back == data) << faults;
    card.finalize();
    EXPECT_EQ(complaints(simulated), "") << faults;
  }
}

// Link power management is off before the first register is read, and again after each reset.
TEST(DriverCard, TheLinkDoesNotSleep) {
  constexpr uint32_t kLinkControl = 0x64 + 0x10;
  simulator::card::CardOptions how = options_with(R"([{"what": "card.dirty"}])");
  how.moods.add(simulator::card::Mood::kLinkPower);
  simulator::card::Card simulated(how);
  const auto link = simulator::card::make_simulated_link(simulated);
  EXPECT_EQ(link->config_read(kLinkControl, 2) & 3U, 2U);
  Card card(*link, boot_options());
  EXPECT_FALSE(card.was_warm());  // it was reset on the way
  EXPECT_EQ(link->config_read(kLinkControl, 2) & 3U, 0U);
  card.finalize();
  EXPECT_EQ(complaints(simulated), "");
}

// After a hang the queues are stopped before the bus is: no engine runs into a bus that is off.
TEST(DriverCard, RecoveryStopsTheCopiesFirst) {
  simulator::card::Card simulated(
      options_with(R"([{"what": "mec.queue-hang", "skip": 20, "count": 1}])"));
  const auto link = simulator::card::make_simulated_link(simulated);
  Card card(*link, boot_options());
  const SystemBuffer from = card.share(16 << 20, "copied from");
  const Buffer buffer = card.memory().allocate(16 << 20, "copied to");
  std::vector<uint32_t> copies;
  for (int i = 0; i < 40; ++i) {
    const auto one = hw::sdma::copy(buffer.address, from.address, 16 << 20);
    append(copies, one);
  }
  card.copies().submit(copies);  // still under way when the card is recovered
  card.recover();
  card.finalize();
  EXPECT_EQ(complaints(simulated), "");
}

TEST(DriverCard, SaysWhichBufferAFaultBelongsTo) {
  simulator::card::Card simulated(options_with());
  const auto link = simulator::card::make_simulated_link(simulated);
  Card card(*link, boot_options());
  const Buffer weights = card.memory().allocate(4096, "weights");
  const Buffer other = card.memory().allocate(4096, "other");
  const Fence fence = card.copies().submit(
      hw::sdma::copy(weights.address + weights.bytes + 4096, other.address, 64));
  try {
    card.wait(card.copies(), fence, kSoon);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("copy queue: waited 300 ms"));
    EXPECT_THAT(e.message(), HasSubstr("4096 bytes past the end of weights"));
  }
}

TEST(DriverCard, SystemMemoryComesFromOnePool) {
  simulator::card::Card simulated(options_with());
  const auto link = simulator::card::make_simulated_link(simulated);
  Card card(*link, boot_options());
  const uint64_t mappings = simulated.counters().system_regions;
  const SystemBuffer steps = card.share(1 << 20, "step ring");
  const SystemBuffer tokens = card.share(5, "tokens");
  EXPECT_EQ(tokens.bytes, 4096U);
  EXPECT_NE(steps.address, tokens.address);
  EXPECT_EQ(card.describe(steps.address + 8), "step ring (system memory), byte 8 of 1048576");
  // Nothing is mapped anew, however often buffers come and go.
  for (int i = 0; i < 300; ++i) card.unshare(card.share(3 << 20, "passing"));
  EXPECT_EQ(simulated.counters().system_regions, mappings);
  EXPECT_THROW(card.unshare(SystemBuffer{}), Error);
  // More than the pool has: one mapping more.
  const SystemBuffer large = card.share(40 << 20, "large");
  EXPECT_EQ(simulated.counters().system_regions, mappings + 1);
  // The GPU reads what the host wrote, and the other way round.
  const std::vector<std::byte> data = random_bytes(1 << 20);
  std::memcpy(steps.host, data.data(), data.size());
  card.wait(card.copies(),
            card.copies().submit(hw::sdma::copy(large.address + 4096, steps.address, 1 << 20)));
  EXPECT_EQ(std::memcmp(large.host + 4096, data.data(), data.size()), 0);
  card.finalize();
  EXPECT_EQ(complaints(simulated), "");
}

TEST(DriverCard, RecoversAndKeepsItsAddresses) {
  simulator::card::Card simulated(
      options_with(R"([{"what": "sdma.hang", "skip": 30, "count": 1}])"));
  const auto link = simulator::card::make_simulated_link(simulated);
  Card card(*link, boot_options());
  const std::vector<std::byte> data = random_bytes(1 << 20);
  std::vector<std::byte> back(data.size());
  const Buffer buffer = card.memory().allocate(data.size(), "test");
  const SystemBuffer kept = card.share(4096, "kept");
  std::memcpy(kept.host, data.data(), 4096);
  const Fence hung = [&] {
    for (;;) {  // until the fault strikes
      const Fence fence = card.copies().submit(hw::sdma::fill(buffer.address, 1, 64));
      try {
        card.wait(card.copies(), fence, kSoon);
      } catch (const Error&) {
        return fence;
      }
    }
  }();
  card.recover();
  EXPECT_FALSE(card.was_warm());
  EXPECT_TRUE(card.copies().is_done(hung));
  EXPECT_EQ(std::memcmp(kept.host, data.data(), 4096), 0);
  card.upload(buffer, 0, data);
  card.download(buffer, 0, back);
  EXPECT_EQ(back, data);
  card.finalize();
  EXPECT_EQ(complaints(simulated), "");
}

TEST(DriverCard, RecoversFromAPageFaultOfAKernel) {
  simulator::card::Card simulated(options_with());
  const auto link = simulator::card::make_simulated_link(simulated);
  Card card(*link, boot_options());
  const Buffer code = card.memory().allocate(4096, "code");
  card.upload(code, 0, std::as_bytes(std::span(kStoreSeven)));
  hw::pm4::Launch launch;
  launch.program = code.address;
  launch.rsrc2 = 16 << 1;
  launch.user_data = {0x1000, 0x7fff};  // mapped nowhere
  launch.user_data.resize(16);
  card.set_running([] { return std::string("decode, kernel 3: store seven"); });
  std::vector<uint32_t> stream = hw::pm4::acquire({true, true, true, true});
  for (const auto& part : {hw::pm4::dispatch(launch), hw::pm4::barrier()}) {
    append(stream, part);
  }
  try {
    card.wait(card.compute(), card.compute().submit(stream), kSoon);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("write of page 0x7fff00001000, which belongs to nothing"));
    EXPECT_THAT(e.message(), HasSubstr("running: decode, kernel 3: store seven"));
  }
  card.recover();
  const Buffer data = card.memory().allocate(4096, "data");
  card.upload(code, 0, std::as_bytes(std::span(kStoreSeven)));
  launch.user_data = {low(data.address), high(data.address)};
  stream = hw::pm4::acquire({true, true, true, true});
  for (const auto& part : {hw::pm4::dispatch(launch), hw::pm4::barrier()}) {
    append(stream, part);
  }
  card.wait(card.compute(), card.compute().submit(stream));
  std::array<std::byte, 4> result{};
  card.download(data, 0, result);
  EXPECT_EQ(static_cast<int>(result[0]), 7);
  card.finalize();
}

TEST(DriverCard, DoesNotTryAFailingCardOverAndOver) {
  simulator::card::Card simulated(options_with(R"([{"what": "sdma.hang"}])"));
  const auto link = simulator::card::make_simulated_link(simulated);
  Card card(*link, boot_options());
  const Buffer buffer = card.memory().allocate(4096, "test");
  const auto fails = [&] {
    EXPECT_THROW(card.wait(card.copies(),
                           card.copies().submit(hw::sdma::fill(buffer.address, 1, 64)), kSoon),
                 Error);
  };
  fails();
  card.recover();
  fails();
  try {
    card.recover();
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("failed again right after it was reset"));
  }
}

TEST(DriverCard, NamesTheStageThatFails) {
  EXPECT_THAT(boot_error(R"([{"what": "psp.firmware-rejected"}])"),
              HasSubstr("boot, firmware boot: psp:"));
  EXPECT_THAT(boot_error(R"([{"what": "link.drop", "request": 100}])"), HasSubstr("connection"));
  EXPECT_THAT(boot_error(R"([{"what": "pci.absent"}])"),
              HasSubstr("boot, bus: the card does not answer"));
}

// Distributions ship images compressed.
TEST(DriverFirmware, CompressedFilesAreUnpacked) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / fmt::format("outboard-fw-{}", ::getpid());
  fs::create_directories(folder);
  const FirmwareFiles images = simulator::card::firmware_images();
  size_t turn = 0;
  for (const auto& [name, bytes] : images) {
    const fs::path path = folder / name;
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    static constexpr std::array<const char*, 3> kPrograms = {"zstd -q --rm", "xz", "true"};
    const std::string command = fmt::format("{} '{}'", kPrograms[turn++ % 3], path.string());
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }
  EXPECT_EQ(read_firmware(find_firmware({"/nowhere", folder}, hw::kChip), hw::kChip), images);
  std::ofstream(folder / (images.begin()->first + ".zst"), std::ios::binary) << "no archive";
  try {
    read_firmware(folder, hw::kChip);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("ended with status"));
  }
  fs::remove_all(folder);
}

// Headers of other versions that exist are read; those of other engines are refused by name.
TEST(DriverFirmware, HeaderVersions) {
  simulator::card::Moods moods;
  moods.add(simulator::card::Mood::kFirmwareHeader);
  const Firmware older =
      Firmware::load(simulator::card::firmware_images(moods), hw::kChip, "older");
  const Firmware usual = Firmware::load(simulator::card::firmware_images(), hw::kChip, "usual");
  // The variant at the end of a 2.1 list is not taken.
  EXPECT_EQ(older.boot.size(), usual.boot.size());
  EXPECT_EQ(older.boot.at(hw::psp::PSP_FW_TYPE_PSP_SOS).size(),
            usual.boot.at(hw::psp::PSP_FW_TYPE_PSP_SOS).size());
  EXPECT_EQ(older.images.size() + 2, usual.images.size());  // an RLC of 2.2 has no P and V
  constexpr size_t kMajor = offsetof(hw::ucode::common_firmware_header, header_version_major);
  for (const char* name : {"sdma_6_0_0.bin", "gc_11_0_0_mec.bin", "psp_13_0_0_sos.bin",
                           "gc_11_0_0_rlc.bin", "gc_11_0_0_imu.bin", "smu_13_0_0.bin"}) {
    FirmwareFiles files = simulator::card::firmware_images();
    files[name][kMajor] = std::byte{7};
    try {
      Firmware::load(files, hw::kChip, "folder");
      ADD_FAILURE() << name;
    } catch (const Error& e) {
      EXPECT_THAT(e.message(), HasSubstr(std::string("folder/") + name + ": header version 7."));
    }
  }
}

TEST(DriverFirmware, MissingFilesAreNamed) {
  try {
    find_firmware({"/nowhere"}, hw::kChip);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("/nowhere has no"));
    EXPECT_THAT(e.hint(), HasSubstr("--firmware-dir"));
  }
}

}  // namespace
}  // namespace outboard::devices::amd::driver
