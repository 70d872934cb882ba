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

#include "simulator/firmware_images.h"
#include "simulator/simulated_link.h"
#include "support/error.h"

namespace outboard::devices::amd::driver {
namespace {

using simulator::CardEvent;
using ::testing::HasSubstr;

constexpr std::chrono::milliseconds kSoon{300};

simulator::CardOptions options_with(const char* faults = nullptr) {
  simulator::CardOptions options;
  options.vram_bytes = uint64_t{1} << 30;
  options.bar0_bytes = uint64_t{1} << 30;
  options.threads = 1;
  if (faults != nullptr) options.faults = simulator::FaultPlan::parse(faults, "test");
  return options;
}

BootOptions boot_options() {
  BootOptions options;
  options.images = simulator::firmware_images();
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
std::string complaints(const simulator::Card& card) {
  std::string out;
  for (const CardEvent& event : card.events()) {
    if (event.kind == CardEvent::Kind::kDriverError ||
        event.kind == CardEvent::Kind::kNotSimulated) {
      out += event.where + ": " + event.text + "\n";
    }
  }
  return out;
}

std::string boot_error(const char* faults) {
  simulator::Card simulated(options_with(faults));
  const auto link = simulator::make_simulated_link(simulated);
  try {
    const Card card(*link, boot_options());
  } catch (const Error& e) {
    return e.message() + " | " + e.hint();
  }
  return "booted";
}

uint64_t messages(const simulator::CardCounters& c) {
  uint64_t sum = c.config_reads + c.config_writes;
  for (int bar = 0; bar < 6; ++bar) sum += c.mmio_reads[bar] + c.mmio_writes[bar];
  return sum;
}

TEST(DriverCard, BootsColdAndMovesMemory) {
  simulator::Card simulated(options_with());
  const auto link = simulator::make_simulated_link(simulated);
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

TEST(DriverCard, BootsWithASmallWindow) {
  simulator::CardOptions options = options_with();
  options.bar0_bytes = uint64_t{256} << 20;
  simulator::Card simulated(options);
  const auto link = simulator::make_simulated_link(simulated);
  Card card(*link, boot_options());
  EXPECT_EQ(card.facts().vram_bytes, uint64_t{1008} << 20);
  card.finalize();
  EXPECT_EQ(complaints(simulated), "");
}

TEST(DriverCard, ComesBackWarm) {
  simulator::Card simulated(options_with());
  uint64_t cold = 0;
  {
    const auto link = simulator::make_simulated_link(simulated);
    Card card(*link, boot_options());
    cold = messages(simulated.counters());
    card.finalize();
  }
  const uint64_t before = messages(simulated.counters());
  const auto link = simulator::make_simulated_link(simulated);
  Card card(*link, boot_options());
  EXPECT_TRUE(card.was_warm());
  const uint64_t warm = messages(simulated.counters()) - before;
  RecordProperty("cold_messages", static_cast<int>(cold));
  RecordProperty("warm_messages", static_cast<int>(warm));
  EXPECT_LT(warm * 10, cold) << warm << " of " << cold;
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
  simulator::Card simulated(options_with(R"([{"what": "card.dirty"}])"));
  const auto link = simulator::make_simulated_link(simulated);
  Card card(*link, boot_options());
  EXPECT_FALSE(card.was_warm());
  const bool reset = std::any_of(card.stages().begin(), card.stages().end(),
                                 [](const Card::Stage& stage) { return stage.name == "reset"; });
  EXPECT_TRUE(reset);
  card.finalize();
  EXPECT_EQ(complaints(simulated), "");
}

TEST(DriverCard, NoDmaAfterFinalize) {
  simulator::Card simulated(options_with());
  const auto link = simulator::make_simulated_link(simulated);
  Card card(*link, boot_options());
  card.finalize();
  EXPECT_EQ(link->config_read(4, 2) & 4U, 0U);  // bus master
}

// One workgroup stores 7 to the address in s[0:1]: v_mov_b32 v0, 7; v_mov_b32 v1, 0;
// global_store_b32 v1, v0, s[0:1]; s_endpgm.
const std::vector<uint32_t> kStoreSeven = {0x7e000287, 0x7e020280, 0xdc6a0000, 0x00000001,
                                           0xbfb00000};

TEST(DriverCard, RunsAKernel) {
  simulator::Card simulated(options_with());
  const auto link = simulator::make_simulated_link(simulated);
  Card card(*link, boot_options());
  const Buffer code = card.memory().allocate(4096, "code");
  const Buffer data = card.memory().allocate(4096, "data");
  card.upload(code, 0, std::as_bytes(std::span(kStoreSeven)));
  ComputeQueue::Launch launch;
  launch.program = code.address;
  launch.rsrc2 = 2 << 1;  // two user SGPRs
  launch.user_data = {static_cast<uint32_t>(data.address),
                      static_cast<uint32_t>(data.address >> 32)};
  std::vector<uint32_t> stream = ComputeQueue::acquire({true, true, true, true});
  for (const auto& part : {ComputeQueue::dispatch(launch), ComputeQueue::barrier()}) {
    stream.insert(stream.end(), part.begin(), part.end());
  }
  const simulator::CardCounters before = simulated.counters();
  card.wait(card.compute(), card.compute().submit(stream));
  const simulator::CardCounters after = simulated.counters();
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

TEST(DriverCard, SaysWhichBufferAFaultBelongsTo) {
  simulator::Card simulated(options_with());
  const auto link = simulator::make_simulated_link(simulated);
  Card card(*link, boot_options());
  const Buffer weights = card.memory().allocate(4096, "weights");
  const Buffer other = card.memory().allocate(4096, "other");
  const Fence fence = card.copies().submit(
      CopyQueue::copy(weights.address + weights.bytes + 4096, other.address, 64));
  try {
    card.wait(card.copies(), fence, kSoon);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("copy queue: waited 300 ms"));
    EXPECT_THAT(e.message(), HasSubstr("4096 bytes past the end of weights"));
  }
}

TEST(DriverCard, SharedMemoryComesFromOnePool) {
  simulator::Card simulated(options_with());
  const auto link = simulator::make_simulated_link(simulated);
  Card card(*link, boot_options());
  const uint64_t mappings = simulated.counters().shared_regions;
  const SharedBuffer steps = card.share(1 << 20, "step ring");
  const SharedBuffer tokens = card.share(5, "tokens");
  EXPECT_EQ(tokens.bytes, 4096U);
  EXPECT_NE(steps.address, tokens.address);
  EXPECT_EQ(card.describe(steps.address + 8), "step ring (shared memory), byte 8 of 1048576");
  // Nothing is mapped anew, however often buffers come and go.
  for (int i = 0; i < 300; ++i) card.unshare(card.share(3 << 20, "passing"));
  EXPECT_EQ(simulated.counters().shared_regions, mappings);
  EXPECT_THROW(card.unshare(SharedBuffer{}), Error);
  // More than the pool has: one mapping more.
  const SharedBuffer large = card.share(40 << 20, "large");
  EXPECT_EQ(simulated.counters().shared_regions, mappings + 1);
  // The GPU reads what the host wrote, and the other way round.
  const std::vector<std::byte> data = random_bytes(1 << 20);
  std::memcpy(steps.host, data.data(), data.size());
  card.wait(card.copies(),
            card.copies().submit(CopyQueue::copy(large.address + 4096, steps.address, 1 << 20)));
  EXPECT_EQ(std::memcmp(large.host + 4096, data.data(), data.size()), 0);
  card.finalize();
  EXPECT_EQ(complaints(simulated), "");
}

TEST(DriverCard, RecoversAndKeepsItsAddresses) {
  simulator::Card simulated(options_with(R"([{"what": "sdma.hang", "skip": 30, "count": 1}])"));
  const auto link = simulator::make_simulated_link(simulated);
  Card card(*link, boot_options());
  const std::vector<std::byte> data = random_bytes(1 << 20);
  std::vector<std::byte> back(data.size());
  const Buffer buffer = card.memory().allocate(data.size(), "test");
  const SharedBuffer shared = card.share(4096, "kept");
  std::memcpy(shared.host, data.data(), 4096);
  const Fence hung = [&] {
    for (;;) {  // until the fault strikes
      const Fence fence = card.copies().submit(CopyQueue::fill(buffer.address, 1, 64));
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
  EXPECT_EQ(std::memcmp(shared.host, data.data(), 4096), 0);
  card.upload(buffer, 0, data);
  card.download(buffer, 0, back);
  EXPECT_EQ(back, data);
  card.finalize();
  EXPECT_EQ(complaints(simulated), "");
}

TEST(DriverCard, RecoversFromAPageFaultOfAKernel) {
  simulator::Card simulated(options_with());
  const auto link = simulator::make_simulated_link(simulated);
  Card card(*link, boot_options());
  const Buffer code = card.memory().allocate(4096, "code");
  card.upload(code, 0, std::as_bytes(std::span(kStoreSeven)));
  ComputeQueue::Launch launch;
  launch.program = code.address;
  launch.rsrc2 = 2 << 1;
  launch.user_data = {0x1000, 0x7fff};  // mapped nowhere
  card.set_running([] { return std::string("decode, kernel 3: store seven"); });
  std::vector<uint32_t> stream = ComputeQueue::acquire({true, true, true, true});
  for (const auto& part : {ComputeQueue::dispatch(launch), ComputeQueue::barrier()}) {
    stream.insert(stream.end(), part.begin(), part.end());
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
  launch.user_data = {static_cast<uint32_t>(data.address),
                      static_cast<uint32_t>(data.address >> 32)};
  stream = ComputeQueue::acquire({true, true, true, true});
  for (const auto& part : {ComputeQueue::dispatch(launch), ComputeQueue::barrier()}) {
    stream.insert(stream.end(), part.begin(), part.end());
  }
  card.wait(card.compute(), card.compute().submit(stream));
  std::array<std::byte, 4> result{};
  card.download(data, 0, result);
  EXPECT_EQ(static_cast<int>(result[0]), 7);
  card.finalize();
}

TEST(DriverCard, DoesNotTryAFailingCardOverAndOver) {
  simulator::Card simulated(options_with(R"([{"what": "sdma.hang"}])"));
  const auto link = simulator::make_simulated_link(simulated);
  Card card(*link, boot_options());
  const Buffer buffer = card.memory().allocate(4096, "test");
  const auto fails = [&] {
    EXPECT_THROW(card.wait(card.copies(),
                           card.copies().submit(CopyQueue::fill(buffer.address, 1, 64)), kSoon),
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
  const FirmwareFiles images = simulator::firmware_images();
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
  EXPECT_EQ(read_firmware(find_firmware({"/nowhere", folder})), images);
  std::ofstream(folder / (images.begin()->first + ".zst"), std::ios::binary) << "no archive";
  try {
    read_firmware(folder);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("ended with status"));
  }
  fs::remove_all(folder);
}

TEST(DriverFirmware, MissingFilesAreNamed) {
  try {
    find_firmware({"/nowhere"});
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("/nowhere has no"));
    EXPECT_THAT(e.hint(), HasSubstr("--firmware-dir"));
  }
}

}  // namespace
}  // namespace outboard::devices::amd::driver
