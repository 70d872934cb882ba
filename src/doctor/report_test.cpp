// Reports of the simulated card: complete, silent about whose they are, and replayed without a
// difference.
#include "doctor/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <map>

#include "devices/amd/driver/memory.h"
#include "simulator/card/firmware_images.h"
#include "simulator/card/replay.h"
#include "simulator/card/simulated_link.h"
#include "support/error.h"

namespace outboard::doctor {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::ordered_json;

simulator::card::CardOptions card_options(const std::string& faults) {
  simulator::card::CardOptions options;
  options.vram_bytes = uint64_t{512} << 20;
  options.bar0_bytes = uint64_t{512} << 20;
  options.threads = 1;
  options.strict = false;
  if (!faults.empty()) options.faults = simulator::card::FaultPlan::parse(faults, "test");
  return options;
}

// A card that has a serial number, as real ones do.
class NumberedLink : public link::Link {
 public:
  static constexpr uint32_t kNumber = 0x5e71a100;
  explicit NumberedLink(std::unique_ptr<link::Link> link) : link_(std::move(link)) {}
  std::string name() const override { return "numbered:/home/someone/socket"; }
  bool is_open() override { return link_->is_open(); }
  uint32_t config_read(uint32_t offset, uint32_t size) override {
    constexpr uint32_t kLast = 0x320, kSerial = 0x400;
    const uint32_t value = link_->config_read(offset, size);
    if (offset == kLast) return value | kSerial << 20;
    if (offset == kSerial) return 0x00010003;
    if (offset == kSerial + 4 || offset == kSerial + 8) return kNumber;
    return value;
  }
  void config_write(uint32_t offset, uint32_t value, uint32_t size) override {
    link_->config_write(offset, value, size);
  }
  link::Bar bar(int index) override { return link_->bar(index); }
  void read(int bar, link::BarOffset offset, std::span<std::byte> bytes) override {
    link_->read(bar, offset, bytes);
  }
  void write(int bar, link::BarOffset offset, std::span<const std::byte> bytes) override {
    link_->write(bar, offset, bytes);
  }
  std::unique_ptr<link::SystemRegion> share(uint64_t size, bool contiguous) override {
    return link_->share(size, contiguous);
  }
  void reset() override { link_->reset(); }
  void resize_bar(int index) override { link_->resize_bar(index); }

 private:
  std::unique_ptr<link::Link> link_;
};

struct Examined {
  std::map<std::string, std::vector<std::byte>> files;
  Json json;
  std::vector<std::byte> stream;
  simulator::card::CardCounters counters;
  bool healthy = false;
};

DoctorOptions doctor_options(simulator::card::Card& card) {
  DoctorOptions options;
  options.open = [&] {
    return std::make_unique<NumberedLink>(simulator::card::make_simulated_link(card));
  };
  options.boot.images = simulator::card::firmware_images();
  options.boot.patience = 0.01;
  options.boot.wait = std::chrono::milliseconds(400);
  return options;
}

Examined examine_with_report(const std::string& faults) {
  Examined out;
  simulator::card::Card card(card_options(faults));
  DoctorOptions options = doctor_options(card);
  Scrubber scrub;
  scrub.add("/home/someone", "(home)");
  Report report("1.2.3", scrub);
  report.watch(options);
  const Examination examination = examine(options);
  out.healthy = examination.is_healthy();
  out.counters = card.counters();
  report.finish(examination);
  for (auto& [name, bytes] : report.files()) out.files[name] = bytes;
  const auto& text = out.files.at("report.json");
  out.json = Json::parse(std::string(reinterpret_cast<const char*>(text.data()), text.size()));
  const auto file = report.recording().finish();
  std::array<std::byte, 1 << 16> piece{};
  while (const size_t got = std::fread(piece.data(), 1, piece.size(), file.get()))
    out.stream.insert(out.stream.end(), piece.begin(), piece.begin() + static_cast<ptrdiff_t>(got));
  return out;
}

simulator::card::ReplayOutcome replay(const Examined& examined,
                                      uint64_t vram = uint64_t{512} << 20) {
  const auto traffic = link::read_traffic(examined.stream);
  simulator::card::CardOptions options = card_options("");
  options.vram_bytes = vram;
  simulator::card::Card card(options);
  // Interrupts carry the time.
  constexpr hardware::VramOffset kRing = driver::layout::kInterruptRing;
  constexpr uint64_t kEntry = 32, kTime = 4, kTimeEnd = 12;
  return simulator::card::replay(
      card, traffic, {.blank_vram = [](hardware::VramOffset offset, std::span<std::byte> bytes) {
        if (offset < kRing || bytes.size() != kEntry) return;
        std::fill(bytes.begin() + kTime, bytes.begin() + kTimeEnd, std::byte{0});
      }});
}

uint32_t word_at(std::span<const std::byte> bytes, size_t at) {
  uint32_t value = 0;
  std::memcpy(&value, &bytes[at], sizeof value);
  return value;
}

bool holds(std::span<const std::byte> bytes, std::span<const std::byte> part) {
  return !std::ranges::search(bytes, part).empty();
}

TEST(Report, IsCompleteAndReplaysWithoutADifference) {
  const Examined examined = examine_with_report("");
  ASSERT_TRUE(examined.healthy);
  const Json& json = examined.json;
  EXPECT_EQ(json["outboard"], "1.2.3");
  EXPECT_EQ(json["link"], "numbered:(home)/socket");
  EXPECT_EQ(json["configuration"]["device"], "744c");
  EXPECT_EQ(json["firmware"].size(), simulator::card::firmware_images().size());
  EXPECT_EQ(json["firmware"][0]["sha256"].get<std::string>().size(), 64U);
  EXPECT_EQ(json["not_seen"].size(), 0U) << json["not_seen"];
  std::vector<std::string> stages;
  size_t waits = 0;
  for (const Json& stage : json["stages"]) {
    stages.push_back(stage["name"]);
    waits += stage["waits"].size();
  }
  for (const char* name : {"bus", "discovery", "firmware boot", "power management", "clocks"})
    EXPECT_THAT(stages, Contains(name));
  EXPECT_GT(waits, 40U);
  EXPECT_EQ(json["registers"]["GCVM_L2_PROTECTION_FAULT_STATUS"], "0x00000000");
  EXPECT_GE(json["interrupts"].size(), 1U);  // the one that was asked for
  EXPECT_EQ(examined.files.at("config.bin").size(), 4096U);
  EXPECT_EQ(word_at(examined.files.at("discovery.bin"), 0), 0x28211407U);

  const simulator::card::ReplayOutcome outcome = replay(examined);
  EXPECT_GT(outcome.compared, 200U);
  EXPECT_EQ(outcome.differing, 0U)
      << (outcome.differences.empty() ? "" : outcome.differences.front().place);
}

TEST(Report, ChangesNothingOfWhatIsAsked) {
  simulator::card::Card card(card_options(""));
  EXPECT_TRUE(examine(doctor_options(card)).is_healthy());
  const simulator::card::CardCounters plain = card.counters();
  const simulator::card::CardCounters watched = examine_with_report("").counters;
  EXPECT_TRUE(std::ranges::equal(plain.mmio_reads, watched.mmio_reads));
  // How many copies, and so doorbells, a memory test takes depends on the rate that is measured;
  // and a doorbell that a busy machine is slow to hear is rung again.
  constexpr int kDoorbellBar = 2;
  for (int bar = 0; bar < 6; ++bar) {
    if (bar == kDoorbellBar) continue;
    EXPECT_EQ(plain.mmio_writes[bar], watched.mmio_writes[bar]) << bar;
  }
  EXPECT_LE(watched.doorbells, 2 * plain.doorbells);
  EXPECT_EQ(plain.config_writes, watched.config_writes);
  EXPECT_EQ(plain.system_regions, watched.system_regions);
  // Its own look at configuration space, at the start.
  EXPECT_EQ(plain.config_reads + 1024, watched.config_reads);
}

TEST(Report, HoldsNoSerialNumberAndNoFirmware) {
  const Examined examined = examine_with_report("");
  const uint32_t number = NumberedLink::kNumber;
  const auto bytes = std::as_bytes(std::span(&number, 1));
  const auto image = simulator::card::firmware_images().at("psp_13_0_0_sos.bin");
  const auto code = std::span(image).subspan(0x1000, 16);
  EXPECT_FALSE(holds(examined.stream, bytes));
  EXPECT_FALSE(holds(examined.stream, code));
  for (const auto& [name, contents] : examined.files) {
    EXPECT_FALSE(holds(contents, bytes)) << name;
    EXPECT_FALSE(holds(contents, code)) << name;
  }
  EXPECT_THAT(examined.json.dump(), Not(HasSubstr("someone")));
  EXPECT_THAT(examined.json.dump(), Not(HasSubstr("5e71a100")));
}

TEST(Report, AFailedBootNamesItsRegisterWhenReplayed) {
  const Examined examined = examine_with_report(R"([{"what": "smu.no-answer"}])");
  EXPECT_FALSE(examined.healthy);
  const Json& stage = examined.json["stages"].back();
  EXPECT_EQ(stage["name"], "power management");
  const Json& wait = stage["waits"].back();
  EXPECT_EQ(wait["block"], "smu");
  EXPECT_EQ(wait["last_read"], "MP1_SMN_C2PMSG_90");
  EXPECT_EQ(wait["came"], false);
  EXPECT_EQ(wait["last"], "0x00000000");
  EXPECT_GT(wait["looks"].get<uint64_t>(), 1U);
  const simulator::card::ReplayOutcome outcome = replay(examined);
  ASSERT_EQ(outcome.differences.size(), 1U);
  EXPECT_EQ(outcome.differences[0].block, "smu");
  EXPECT_EQ(outcome.differences[0].place, "MP1_SMN_C2PMSG_90");
  EXPECT_EQ(outcome.differences[0].during, "boot: power management");
}

TEST(Report, AHungQueueIsSeen) {
  const simulator::card::ReplayOutcome outcome =
      replay(examine_with_report(R"([{"what": "sdma.hang"}])"));
  ASSERT_GE(outcome.differences.size(), 1U);
  EXPECT_THAT(outcome.differences[0].place, HasSubstr("a fence"));
  // Beside it stands what the driver asked the engine while it waited.
  for (const auto& difference : outcome.differences)
    EXPECT_TRUE(difference.block == "sdma" || difference.block == "system memory")
        << difference.place;
}

TEST(Report, AnotherCardDiffersWhereItIsAnother) {
  const simulator::card::ReplayOutcome outcome =
      replay(examine_with_report(R"([{"what": "psp.bootloader-stuck"}])"), uint64_t{256} << 20);
  ASSERT_GE(outcome.differences.size(), 3U);
  EXPECT_EQ(outcome.differences[0].place, "RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE");
  EXPECT_EQ(outcome.differences[0].block, "nbio");
  EXPECT_EQ(outcome.differences.back().place, "MP0_SMN_C2PMSG_35");
}

TEST(Report, ALostLinkLeavesAReport) {
  const Examined examined = examine_with_report(R"([{"what": "link.drop", "request": 1300}])");
  EXPECT_FALSE(examined.healthy);
  EXPECT_GE(examined.json["stages"].size(), 1U);
  EXPECT_THAT(examined.json["not_seen"].dump(), HasSubstr("registers: "));
  const simulator::card::ReplayOutcome outcome = replay(examined);
  EXPECT_EQ(outcome.differing, 0U);
  EXPECT_GE(outcome.failures.size(), 1U);
}

}  // namespace
}  // namespace outboard::doctor
