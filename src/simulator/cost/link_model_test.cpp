#include "simulator/cost/link_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hardware/amd/navi31/sdma_packets.h"
#include "simulator/card/test_bench.h"
#include "support/error.h"

namespace outboard::simulator::cost {
namespace {

using namespace card;  // NOLINT: the card behind the link

using std::chrono::milliseconds;
using Clock = LinkClock::Clock;
using card::testing::Bench;
using card::testing::high;
using card::testing::low;
using ::testing::HasSubstr;
namespace sd = hardware::amd::navi31::sdma;

std::vector<uint32_t> copy(uint64_t from, uint64_t to, uint32_t bytes) {
  return {sd::OP_COPY, bytes - 1, 0, low(from), high(from), low(to), high(to)};
}
std::vector<uint32_t> fence(uint64_t address, uint32_t value) {
  return {sd::OP_FENCE, low(address), high(address), value};
}

CardOptions card_behind(const char* link) {
  CardOptions options = testing::small_card();
  if (*link != '\0') options.link = link_model(link);
  return options;
}

TEST(LinkModel, NamesAndNumbers) {
  EXPECT_EQ(link_model("tb5").title, "Thunderbolt 5");
  const LinkModel slow = link_model("2.5MB/s,3ms");
  EXPECT_DOUBLE_EQ(slow.to_card, 2.5e6);
  EXPECT_DOUBLE_EQ(slow.from_card, 2.5e6);
  EXPECT_DOUBLE_EQ(slow.round_trip, 3e-3);
  double before = 0;
  for (const LinkModel& link : link_models()) {
    EXPECT_GT(link.to_card, before) << link.name;
    before = link.to_card;
  }
}

TEST(LinkModel, RefusesOthersWithTheList) {
  for (const char* text : {"", "tb6", "5MB/s", "5MB/s,", "MB/s,1us", "-5MB/s,1us", "0MB/s,1us",
                           "5Mb/s,1us", "5MB/s,1s", "5MB/s,1us,2us", "nanMB/s,1us"}) {
    try {
      const LinkModel link = link_model(text);
      ADD_FAILURE() << text << " was taken for " << link.name;
    } catch (const Error& e) {
      EXPECT_THAT(e.message(), HasSubstr(text));
      for (const LinkModel& link : link_models()) EXPECT_THAT(e.hint(), HasSubstr(link.name));
    }
  }
}

// Requests in their order, DMA in both directions at once.
TEST(LinkClock, AddsUp) {
  LinkClock link(link_model("1MB/s,50ms"));
  const auto start = Clock::now();
  EXPECT_GE(link.dma(100'000, 0) - start, milliseconds(100));
  EXPECT_GE(link.dma(50'000, 0) - start, milliseconds(150));
  const auto back = link.dma(0, 100'000);
  EXPECT_GE(back - start, milliseconds(100));
  EXPECT_LT(back - start, milliseconds(150));
  EXPECT_LE(link.host_write(4), Clock::now());  // it is on its way
  EXPECT_GE(link.host_write(200'000) - start, milliseconds(195));
  EXPECT_GE(link.host_read(4) - start, milliseconds(250));  // behind what was written
}

TEST(LinkClock, RequestsTakeTheirTime) {
  Card slow(card_behind("1MB/s,5ms"));
  const auto start = Clock::now();
  for (int i = 0; i < 4; ++i) slow.config_read(0, 4);
  EXPECT_GE(Clock::now() - start, milliseconds(20));
  const std::vector<std::byte> data(50'000);
  const auto written = Clock::now();
  slow.bar_write(0, link::BarOffset{0x100000}, data);
  EXPECT_GE(Clock::now() - written, milliseconds(45));
}

// A copy of a MiB: how much of it has arrived, and when its fence is written.
class PacedCopy {
 public:
  static constexpr uint32_t kBytes = 1 << 20;
  explicit PacedCopy(const char* link) : bench(card_behind(link)) {
    bench.load_firmware();
    bench.start_sdma_queue();
    region_ = bench.board.system.share(kBytes, true, 1);
    std::memset(region_->bytes().data(), 0x5a, kBytes);
    bench.enable_context(0);
    for (uint64_t at = 0; at < kBytes; at += 4096) {
      bench.map(0, kHost + at, value(region_->segments()[0].address + at),
                Bench::kAllRights | Bench::kSystem);
    }
  }
  void submit(bool back = false) {
    bench.submit_sdma(
        {back ? copy(Bench::mc(kData), kHost, kBytes) : copy(kHost, Bench::mc(kData), kBytes),
         fence(Bench::mc(kFence), 9)});
  }
  bool done() { return bench.vram<uint32_t>(kFence) == 9; }
  bool all_there() { return bench.vram<uint32_t>(kData + kBytes - 4) == 0x5a5a5a5a; }
  Clock::duration finish() {
    const auto start = Clock::now();
    while (!done()) bench.run();
    return Clock::now() - start;
  }

  Bench bench;

 private:
  static constexpr uint64_t kHost = 0x1000000, kData = 0x400000, kFence = 0x600000;
  std::shared_ptr<SystemRegion> region_;
};

TEST(PacedSdma, CopiesTakeTheirTime) {
  for (const bool back : {false, true}) {
    PacedCopy paced("20MB/s,10us");
    const auto start = Clock::now();
    paced.submit(back);
    EXPECT_FALSE(paced.done());
    if (!back) {
      EXPECT_FALSE(paced.all_there());  // a window that is reused too early is seen
    }
    EXPECT_LT(paced.bench.board.sdma[0]->goes_on_at(), Clock::time_point::max());
    paced.finish();
    EXPECT_GE(Clock::now() - start, milliseconds(52));
    const CardCounters& counted = paced.bench.board.counters;
    EXPECT_EQ(counted.sdma_bytes, PacedCopy::kBytes);
    EXPECT_EQ(back ? counted.dma_write_bytes : counted.dma_read_bytes, PacedCopy::kBytes);
    EXPECT_EQ(counted.sdma_packets, 2u);
    EXPECT_EQ(paced.bench.board.sdma[0]->goes_on_at(), Clock::time_point::max());
    EXPECT_EQ(paced.bench.errors(), "");
  }
}

TEST(PacedSdma, TakesNoTimeWithoutALink) {
  PacedCopy paced("");
  paced.submit();  // runs until the engine waits for something
  EXPECT_TRUE(paced.done());
  EXPECT_TRUE(paced.all_there());
}

}  // namespace
}  // namespace outboard::simulator::cost
