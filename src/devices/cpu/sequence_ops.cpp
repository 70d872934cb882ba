// Ops that go through the tokens of a run in order, and keep what they have come to in its slot.
#include <algorithm>
#include <memory>

#include "devices/cpu/executable.h"

namespace outboard::devices::cpu {

using program::ValueId;

namespace {

// Channels [begin, end) of `threads` equal shares, whole cache lines each.
std::pair<int64_t, int64_t> share(int64_t channels, int thread, int threads) {
  constexpr int64_t kLine = 16;
  const int64_t lines = (channels + kLine - 1) / kLine;
  return {std::min(channels, lines * thread / threads * kLine),
          std::min(channels, lines * (thread + 1) / threads * kLine)};
}

}  // namespace

CpuExecutable::Phase CpuExecutable::conv_phase(const program::SsmConv& op, ValueId out) {
  const int64_t channels = width(out);
  const int64_t taps = program_.weights[static_cast<size_t>(op.weight)].shape[1];
  // [taps, channels]: neighbouring channels are computed together.
  const float* weight = floats(op.weight);
  auto by_tap = std::make_shared<std::vector<float>>(static_cast<size_t>(taps * channels));
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t tap = 0; tap < taps; ++tap)
      (*by_tap)[static_cast<size_t>(tap * channels + c)] = weight[c * taps + tap];
  return [this, op, out, channels, taps, by_tap = std::move(by_tap), bias = floats(op.bias)](
             int thread, std::atomic<int>&) {
    const auto [begin, end] = share(channels, thread, team_.size());
    if (begin == end) return;
    const int64_t before = taps - 1;
    for (const SequenceRun& run : state_.runs) {
      float* kept = slots_.state(op.state, run.slot);
      if (run.first_position == 0)
        for (int64_t i = 0; i < before; ++i)
          std::fill(kept + i * channels + begin, kept + i * channels + end, 0.0F);
      // The input at token t of the run, or before it.
      const auto input = [&](int64_t t) -> const float* {
        return t >= 0 ? value(op.x, run.first_token + t) : kept + (before + t) * channels;
      };
      for (int64_t t = 0; t < run.tokens; ++t) {
        float* y = value(out, run.first_token + t);
        if (bias != nullptr) {
          std::copy(bias + begin, bias + end, y + begin);
        } else {
          std::fill(y + begin, y + end, 0.0F);
        }
        for (int64_t tap = 0; tap < taps; ++tap) {
          const float* x = input(t - before + tap);
          const float* w = by_tap->data() + tap * channels;
          for (int64_t c = begin; c < end; ++c) y[c] += w[c] * x[c];
        }
      }
      // Oldest first: in a short run what is kept moves up.
      for (int64_t i = 0; i < before; ++i) {
        const float* x = input(run.tokens - before + i);
        std::copy(x + begin, x + end, kept + i * channels + begin);
      }
    }
  };
}

}  // namespace outboard::devices::cpu
