// Small recordings made by hand; whole boots are replayed in doctor/report_test.cpp.
#include "simulator/card/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <deque>

#include "hardware/amd/navi31/gc.h"
#include "hardware/amd/navi31/nbio.h"
#include "link/link.h"
#include "support/error.h"

namespace outboard::simulator::card {
namespace {

namespace gc = hardware::amd::navi31::gc;
namespace nb = hardware::amd::navi31::nbio;
using link::TrafficRecord;
using Kind = TrafficRecord::Kind;
using ::testing::HasSubstr;

CardOptions small_card() {
  CardOptions options;
  options.vram_bytes = options.bar0_bytes = uint64_t{256} << 20;
  options.threads = 1;
  options.strict = false;
  return options;
}

// Records, and the bytes that they point to.
class Traffic {
 public:
  Traffic() { add({Kind::kConfigWrite, 0, 4, 2, 6, {}}); }  // memory and bus master on

  void add(const TrafficRecord& record) { records_.push_back(record); }
  template <typename T>
  void add(Kind kind, uint32_t where, uint64_t offset, const T& value) {
    add(kind, where, offset, std::as_bytes(std::span(&value, 1)));
  }
  void add(Kind kind, uint32_t where, uint64_t offset, std::span<const std::byte> bytes) {
    const auto& kept = bytes_.emplace_back(bytes.begin(), bytes.end());
    add({kind, where, offset, kept.size(), 0, kept});
  }
  void add_hashed(Kind kind, uint32_t where, uint64_t offset, std::span<const std::byte> bytes) {
    const auto& kept = bytes_.emplace_back(link::hash_pieces(bytes));
    add({kind, where, offset, bytes.size(), 0, kept});
  }
  template <typename R>
  void write(uint32_t value) {
    add(Kind::kWrite, 5, uint64_t{R::kAddress} * 4, value);
  }
  template <typename R>
  void read(uint32_t value) {
    add(Kind::kRead, 5, uint64_t{R::kAddress} * 4, value);
  }
  void share(uint32_t id, link::Segment segment) {
    const auto bytes = std::as_bytes(std::span(&segment, 1));
    const auto& kept = bytes_.emplace_back(bytes.begin(), bytes.end());
    add({Kind::kShare, id, 0, segment.size, 1, kept});
  }

  ReplayOutcome play(const ReplayOptions& options = {}) const {
    Card card(small_card());
    return replay(card, records_, options);
  }
  std::span<const TrafficRecord> records() const { return records_; }

 private:
  std::vector<TrafficRecord> records_;
  std::deque<std::vector<std::byte>> bytes_;
};

TEST(Replay, RegistersAreNamed) {
  Traffic traffic;
  traffic.add({Kind::kTime, 0, 0, 0, 1500, {}});
  constexpr std::string_view kNote = "boot: bus";
  traffic.add({Kind::kNote, 0, 0, 0, 0, std::as_bytes(std::span(kNote))});
  traffic.write<gc::SCRATCH_REG7>(5);
  traffic.read<gc::SCRATCH_REG7>(5);
  traffic.write<gc::SCRATCH_REG7>(6);
  traffic.read<gc::SCRATCH_REG7>(7);
  const ReplayOutcome outcome = traffic.play();
  EXPECT_EQ(outcome.compared, 2U);
  ASSERT_EQ(outcome.differences.size(), 1U);
  const Difference& d = outcome.differences[0];
  EXPECT_EQ(d.place, "SCRATCH_REG7");
  EXPECT_EQ(d.block, "gfx");
  EXPECT_EQ(d.recorded, "0x00000007");
  EXPECT_EQ(d.simulated, "0x00000006");
  EXPECT_EQ(d.during, "boot: bus");
  EXPECT_EQ(d.microseconds, 1500U);
  EXPECT_EQ(d.record, 6U);
}

TEST(Replay, WindowsAreSeenThrough) {
  Traffic traffic;
  traffic.write<nb::BIF_BX_PF0_RSMU_INDEX>(gc::SCRATCH_REG7::kAddress * 4);
  traffic.write<nb::BIF_BX_PF0_RSMU_DATA>(5);
  traffic.read<nb::BIF_BX_PF0_RSMU_DATA>(9);
  constexpr uint32_t kMemory = 0x80000000;
  traffic.write<nb::BIF_BX_PF0_MM_INDEX>(kMemory | 0x100000);
  traffic.read<nb::BIF_BX_PF0_MM_DATA>(1);
  traffic.write<nb::BIF_BX_PF0_MM_INDEX>(kMemory | 0x100004);
  traffic.read<nb::BIF_BX_PF0_MM_DATA>(2);  // right behind: the same difference
  const ReplayOutcome outcome =
      traffic.play({.name_vram = [](hardware::VramOffset) { return std::string("table"); }});
  ASSERT_EQ(outcome.differences.size(), 2U);
  EXPECT_EQ(outcome.differences[0].place, "SCRATCH_REG7 (through a window)");
  EXPECT_EQ(outcome.differences[1].place, "table (byte 0x100000)");
  EXPECT_EQ(outcome.differences[1].times, 2U);
  EXPECT_EQ(outcome.differing, 3U);
  EXPECT_EQ(outcome.by_block.at("vram"), 2U);
}

// Only how it ended counts.
TEST(Replay, PollsAreComparedByTheirEnd) {
  Traffic traffic;
  traffic.write<gc::SCRATCH_REG7>(1);
  traffic.read<gc::SCRATCH_REG7>(0);
  traffic.add({Kind::kRepeat, 0, 0, 0, 1000, {}});
  traffic.read<gc::SCRATCH_REG7>(0x80);
  traffic.read<gc::SCRATCH_REG7>(1);
  EXPECT_EQ(traffic.play().differing, 0U);
  traffic.read<gc::SCRATCH_REG7>(2);
  EXPECT_EQ(traffic.play().differing, 1U);
}

TEST(Replay, ConfigurationIsComparedButForAddresses) {
  Traffic traffic;
  traffic.add({Kind::kConfigRead, 0, 0, 4, 0x744c1002, {}});
  traffic.add({Kind::kConfigRead, 0, 0x10, 4, 0xabc0000c, {}});  // another address
  traffic.add({Kind::kBar, 0, 0xabc00000, uint64_t{256} << 20, 0, {}});
  traffic.add({Kind::kConfigHidden, 0, 0x404, 4, 0, {}});
  EXPECT_EQ(traffic.play().differing, 0U);
  traffic.add({Kind::kConfigRead, 0, 0x2c, 4, 0x12341da2, {}});  // another maker's board
  traffic.add({Kind::kBar, 0, 0xabc00000, uint64_t{512} << 20, 0, {}});
  const ReplayOutcome outcome = traffic.play();
  ASSERT_EQ(outcome.differences.size(), 2U);
  EXPECT_EQ(outcome.differences[0].place, "subsystem (byte 0x2c)");
  EXPECT_EQ(outcome.differences[1].place, "size of BAR 0");
}

TEST(Replay, SystemMemoryHasItsAddresses) {
  Traffic traffic;
  traffic.share(1, {link::BusAddress{0x1234000}, 0x4000});
  traffic.add(Kind::kSystemWrite, 1, 0x10, uint32_t{7});
  traffic.add(Kind::kSystemRead, 1, 0x10, uint32_t{7});
  EXPECT_EQ(traffic.play().differing, 0U);
  traffic.add(Kind::kSystemRead, 1, 0x14, uint32_t{8});
  const ReplayOutcome outcome = traffic.play();
  ASSERT_EQ(outcome.differences.size(), 1U);
  EXPECT_EQ(outcome.differences[0].place, "region 1, byte 0x14");
  // What the recorded host could not have shared twice.
  traffic.share(2, {link::BusAddress{0x1235000}, 0x1000});
  EXPECT_THROW(traffic.play(), Error);
}

TEST(Replay, AFenceThatNeverCameIsADifferenceASlowOneIsNot) {
  const auto polled = [](Traffic& traffic, uint64_t value) {
    traffic.add(Kind::kSystemRead, 1, 0, value);
    traffic.add({Kind::kRepeat, 0, 0, 0, 9, {}});
    traffic.add({Kind::kReset, 0, 0, 0, 0, {}});  // a poll ends here
  };
  Traffic hung;
  hung.share(1, {link::BusAddress{0x1234000}, 0x4000});
  hung.add(Kind::kSystemWrite, 1, 0, uint64_t{5});  // stands for what the simulated card writes
  polled(hung, 4);
  const ReplayOutcome outcome = hung.play();
  ASSERT_EQ(outcome.differences.size(), 1U);
  EXPECT_THAT(outcome.differences[0].place, HasSubstr("a fence"));
  EXPECT_EQ(outcome.differences[0].recorded, "4");
  EXPECT_EQ(outcome.differences[0].simulated, "5");

  Traffic slow;
  slow.share(1, {link::BusAddress{0x1234000}, 0x4000});
  slow.add(Kind::kSystemWrite, 1, 0, uint64_t{5});
  slow.add(Kind::kSystemRead, 1, 0, uint64_t{4});
  slow.add({Kind::kRepeat, 0, 0, 0, 9, {}});
  slow.add({Kind::kConfigWrite, 0, 4, 2, 6, {}});
  slow.add(Kind::kSystemRead, 1, 0, uint64_t{5});
  EXPECT_EQ(slow.play().differing, 0U);
}

// What was left out is followed where it is only copied.
TEST(Replay, HashedContentsHaveStandIns) {
  std::vector<std::byte> secret(3 * link::kHashPiece);
  for (size_t i = 0; i < secret.size(); ++i) secret[i] = static_cast<std::byte>(i >> 12);
  Traffic traffic;
  traffic.share(1, {link::BusAddress{0x1000000}, 1 << 20});
  traffic.add_hashed(Kind::kSystemWriteHash, 1, 0, secret);
  // In other portions than it was written in.
  traffic.add_hashed(Kind::kSystemReadHash, 1, 0, std::span(secret).first(2 * link::kHashPiece));
  traffic.add(Kind::kSystemRead, 1, 2 * link::kHashPiece,
              std::as_bytes(std::span(secret)).subspan(2 * link::kHashPiece));
  traffic.add_hashed(Kind::kWriteHash, 0, 0x100000, std::span(secret).first(64));  // firmware
  ReplayOutcome outcome = traffic.play();
  EXPECT_EQ(outcome.compared, 2U);
  EXPECT_EQ(outcome.differing + outcome.unknowable, 0U);
  // What follows from it is not known; what does not is compared.
  traffic.add(Kind::kSystemRead, 1, 0, uint32_t{77});
  traffic.write<gc::SCRATCH_REG7>(5);
  traffic.read<gc::SCRATCH_REG7>(6);
  outcome = traffic.play();
  EXPECT_EQ(outcome.unknowable, 1U);
  EXPECT_EQ(outcome.differing, 1U);
}

TEST(Replay, FailuresAreTold) {
  Traffic traffic;
  constexpr std::string_view kText = "the connection closed";
  traffic.add({Kind::kFailed, 0, 0, 0, 1, std::as_bytes(std::span(kText))});
  EXPECT_THAT(traffic.play().failures, ::testing::ElementsAre(std::string(kText)));
}

TEST(Replay, TheCardShowsAsMuchAsTheRecordedOne) {
  Traffic traffic;
  EXPECT_EQ(card_like(traffic.records()).bar0_bytes, CardOptions{}.bar0_bytes);
  traffic.add({Kind::kBar, 0, 0, uint64_t{256} << 20, 0, {}});
  EXPECT_EQ(card_like(traffic.records()).bar0_bytes, uint64_t{256} << 20);
  Traffic odd;
  odd.add({Kind::kBar, 0, 0, 12345, 0, {}});
  EXPECT_EQ(card_like(odd.records()).bar0_bytes, CardOptions{}.bar0_bytes);
}

}  // namespace
}  // namespace outboard::simulator::card
