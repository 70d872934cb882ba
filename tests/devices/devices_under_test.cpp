#include "tests/devices/devices_under_test.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include <fmt/ranges.h>

namespace outboard::devices {
namespace {

// Of the distribution that `got` means from the one that `want` means, a row of logits each.
double divergence(std::span<const float> got, std::span<const float> want) {
  const auto log_sum = [](std::span<const float> row) {
    double sum = 0;
    for (const float v : row) sum += std::exp(static_cast<double>(v));
    return std::log(sum);
  };
  const double got_sum = log_sum(got), want_sum = log_sum(want);
  double kl = 0;
  for (size_t i = 0; i < want.size(); ++i)
    if (want[i] != -INFINITY)
      kl += std::exp(want[i] - want_sum) * ((want[i] - want_sum) - (got[i] - got_sum));
  return kl;
}

}  // namespace

DeviceUnderTest::DeviceUnderTest(const std::string& name) {
  if (name == "sim") {
    simulator::card::CardOptions card;
    card.vram_bytes = uint64_t{1} << 30;
    card.bar0_bytes = uint64_t{1} << 30;
    card.strict = true;
    auto simulated = std::make_unique<machine::SimDevice>(card, amd::AmdOptions{});
    simulated_ = simulated.get();
    device_ = std::move(simulated);
  } else {
    device_ = open_cpu(name == "cpu3" ? 3 : 1);
  }
}

std::string DeviceUnderTest::complaints() const {
  if (simulated_ == nullptr) return {};
  return fmt::format("{}", fmt::join(simulated_->card().complaints(), "\n")).substr(0, 4000);
}

Ids random_ids(size_t count, int32_t below, unsigned seed) {
  std::mt19937 random(seed);
  Ids ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<uint32_t>(below));
  return ids;
}

void expect_close(std::span<const float> got, std::span<const float> want, bool is_simulated) {
  ASSERT_EQ(got.size(), want.size());
  double squares = 0, worst = 0;
  size_t finite = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i] == want[i] && std::isinf(want[i])) continue;
    ++finite;
    squares += static_cast<double>(want[i]) * want[i];
    const double error = std::abs(static_cast<double>(got[i]) - want[i]);
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  const double size = std::sqrt(squares / static_cast<double>(finite));
  EXPECT_LE(worst, is_simulated ? 0.01 * size : 1e-3);
  for (size_t row = 0; row < want.size() / kTinyVocabulary; ++row)
    EXPECT_LE(divergence(got.subspan(row * kTinyVocabulary, kTinyVocabulary),
                         want.subspan(row * kTinyVocabulary, kTinyVocabulary)),
              1e-3)
        << "position " << row;
}

}  // namespace outboard::devices
