// Another chip than those that are sold: its facts are all that driver and simulated card are told
// of it. The whole way, from the PCI id to tokens that are the CPU's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "hardware/amd/chips.h"
#include "machine/self_test.h"
#include "machine/sim_device.h"
#include "simulator/card/firmware_images.h"
#include "simulator/card/simulated_link.h"
#include "support/error.h"

namespace outboard::machine {
namespace {

using hardware::amd::Chip;

// Of the shape of Navi 32: three engines, more units in an array. Versions are those that the
// tables serve, with revisions that no chip has.
constexpr std::array<Chip::Card, 2> kCards = {{{0xc1, "Paper 60"}, {~0U, "Paper"}}};
constexpr Chip kPaper = {
    .name = "Paper",
    .sold_as = "Paper 60",
    .device = 0x7fff,
    .audio = 0x7ffe,
    .cards = kCards,
    .die = {.engines = 3,
            .arrays_per_engine = 2,
            .wgps_per_array = 5,
            .units_per_wgp = 2,
            .memory_dies = 4,
            .memory_die_cache_bytes = 16 << 20,
            .second_level_bytes = 4 << 20},
    .blocks = {.gc = {11, 0, 93},
               .mmhub = {3, 0, 92},
               .mp0 = {13, 0, 91},
               .mp1 = {13, 0, 90},
               .nbio = {4, 3, 89},
               .osssys = {6, 0, 88},
               .hdp = {6, 0, 87},
               .sdma = {6, 0, 86}},
};
constexpr std::array<const Chip*, 2> kChips = {hardware::amd::kChips.front(), &kPaper};

constexpr uint64_t kGiB = uint64_t{1} << 30;
// One array lacks two WGPs, another is off as a whole: 60 - 4 - 10 units.
constexpr simulator::card::CardModel kCard = {&kPaper,
                                              "paper",
                                              "Paper 60",
                                              0xc1,
                                              16 * kGiB,
                                              16 * kGiB,
                                              64ULL << 20,
                                              624e9,
                                              2.1e9,
                                              1U << 5,
                                              {0, 0b10001, 0, 0, 0, 0}};

simulator::card::CardOptions card_options() {
  simulator::card::CardOptions options(kCard);
  options.threads = 2;
  return options;
}

TEST(AnotherChip, BootsColdAndWarm) {
  using devices::amd::driver::Card;
  simulator::card::Card simulated(card_options());
  const auto link = simulator::card::make_simulated_link(simulated);
  devices::amd::driver::BootOptions boot;
  boot.chips = kChips;
  boot.images = simulator::card::firmware_images({}, kPaper);
  EXPECT_TRUE(boot.images.contains("gc_11_0_93_mec.bin"));
  boot.patience = 0.05;
  for (const bool warm : {false, true}) {
    Card card(*link, boot);
    EXPECT_EQ(card.was_warm(), warm);
    EXPECT_EQ(card.facts().name, "Paper 60");
    EXPECT_EQ(card.facts().shader_engines, 3U);
    EXPECT_EQ(card.facts().die_units, 60U);
    EXPECT_EQ(card.facts().compute_units, 46U);
    EXPECT_EQ(card.facts().vram_bytes, 16 * kGiB - (uint64_t{16} << 20));
    card.finalize();
  }
  EXPECT_THAT(simulated.complaints(), ::testing::IsEmpty());
}

TEST(AnotherChip, ComputesWhatTheCpuComputes) {
  devices::amd::AmdOptions options;
  options.boot.chips = kChips;
  bool tested = false;
  options.self_test = [&](devices::amd::AmdDevice& device) {
    self_test(device);
    tested = true;
  };
  SimDevice device(card_options(), std::move(options));
  EXPECT_TRUE(tested);
  EXPECT_EQ(device.description(), "simulated Paper 60, 46 CUs, 16 GiB, simulated");
  EXPECT_THAT(device.shut_down(), ::testing::IsEmpty());
}

// Who is not told of the chip does not drive it; nor one whose id and blocks do not belong
// together.
TEST(AnotherChip, IsRefusedWhereItIsNotKnown) {
  try {
    const SimDevice device(card_options(), {});
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(),
                ::testing::HasSubstr("found PCI device 1002:7fff, expected 1002:744c"));
    EXPECT_THAT(e.hint(), ::testing::HasSubstr("Navi 31 (RX 7900 XTX, XT, GRE)"));
  }
  static constexpr Chip kMistaken = [] {
    Chip chip = hardware::amd::navi31::kChip;
    chip.device = kPaper.device;
    return chip;
  }();
  static constexpr std::array<const Chip*, 1> kOne = {&kMistaken};
  devices::amd::AmdOptions options;
  options.boot.chips = kOne;
  try {
    const SimDevice device(card_options(), std::move(options));
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), ::testing::HasSubstr("GC is version 11.0.93, expected 11.0.0"));
  }
}

}  // namespace
}  // namespace outboard::machine
