// Links of any speed: what is learned of them, and that no wait gives up on a slow one.
#include "devices/amd/driver/link_rate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "devices/amd/driver/card.h"
#include "simulator/card/firmware_images.h"
#include "simulator/card/simulated_link.h"
#include "support/error.h"

namespace outboard::devices::amd::driver {
namespace {

constexpr uint64_t kKiB = 1 << 10, kMiB = 1 << 20;

TEST(LinkRate, LearnsHowMuchToCopyAtOnce) {
  LinkRate rate;
  EXPECT_EQ(rate.window(8 * kMiB), 2 * kMiB);
  EXPECT_EQ(rate.window(kMiB), kMiB);
  rate.learn(4096, 1);  // too little to judge by
  EXPECT_EQ(rate.window(8 * kMiB), 2 * kMiB);
  rate.learn(2 * kMiB, 0.001);
  EXPECT_EQ(rate.window(8 * kMiB), 8 * kMiB);
  for (int i = 0; i < 12; ++i) rate.learn(2 * kMiB, 0.1);  // 21 MB/s
  EXPECT_EQ(rate.window(8 * kMiB), kMiB);
  for (int i = 0; i < 12; ++i) rate.learn(256 * kKiB, 1);
  EXPECT_EQ(rate.window(8 * kMiB), 256 * kKiB);
}

simulator::card::CardOptions behind(const char* link) {
  simulator::card::CardOptions options;
  options.vram_bytes = uint64_t{1} << 30;
  options.bar0_bytes = uint64_t{1} << 30;
  options.threads = 1;
  options.link = simulator::cost::link_model(link);
  return options;
}

BootOptions boot_options() {
  BootOptions options;
  options.images = simulator::card::firmware_images();
  options.patience = 0.05;
  options.wait = std::chrono::milliseconds(200);
  return options;
}

// Nothing moves for longer than a wait's limit, as the card copies; the limit grows with the bytes.
TEST(LinkRate, ASlowLinkIsNoHang) {
  simulator::card::Card simulated(behind("4MB/s,200us"));
  const auto link = simulator::card::make_simulated_link(simulated);
  Card card(*link, boot_options());
  EXPECT_EQ(card.copy_bytes(8 * kMiB), 2 * kMiB);
  std::vector<std::byte> data(5 * kMiB / 2), back(data.size());
  std::mt19937 random(1);
  for (std::byte& byte : data) byte = static_cast<std::byte>(random());
  const Buffer buffer = card.memory().allocate(data.size(), "test");
  const auto start = std::chrono::steady_clock::now();
  card.upload(buffer, 0, data);
  const std::chrono::duration<double> up = std::chrono::steady_clock::now() - start;
  EXPECT_GE(up.count(), static_cast<double>(data.size()) / 4e6);
  EXPECT_EQ(card.copy_bytes(8 * kMiB), 256 * kKiB);  // 50 ms of this one would be 200 kB
  card.download(buffer, 0, back);
  EXPECT_EQ(back, data);
  // The simulated engines are not idle while a copy is under way.
  const Buffer other = card.memory().allocate(64 * kKiB, "test");
  const SystemBuffer from = card.share(64 * kKiB, "test");
  const Card::Copy copy = card.copy_to_card(other.address, from.address, 64 * kKiB);
  EXPECT_FALSE(card.copies().is_done(copy.fence));
  EXPECT_TRUE(simulated.settle());
  EXPECT_TRUE(card.copies().is_done(copy.fence));
  card.finalize();
  EXPECT_THAT(simulated.complaints(), ::testing::IsEmpty());
}

TEST(LinkRate, AFastLinkGetsLargeCopies) {
  simulator::card::Card simulated(behind("tb4"));
  const auto link = simulator::card::make_simulated_link(simulated);
  Card card(*link, boot_options());
  const Buffer buffer = card.memory().allocate(8 * kMiB, "test");
  card.upload(buffer, 0, std::vector<std::byte>(8 * kMiB));
  // All 8 MiB on an idle machine; how much on a busy one is the machine's to say.
  EXPECT_GE(card.copy_bytes(8 * kMiB), 512 * kKiB);
}

}  // namespace
}  // namespace outboard::devices::amd::driver
