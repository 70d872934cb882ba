// Ops that go through the tokens of a run in order, and keep what they have come to in its slot.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "devices/cpu/executable.h"
#include "support/error.h"

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

float softplus(float x) { return x > 20 ? x : std::log1p(std::exp(x)); }

float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

float square_sum(const float* x, int64_t n) {
  constexpr int64_t kSums = 16;  // side by side: in vectors
  float sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= n; i += kSums)
    for (int64_t s = 0; s < kSums; ++s) sums[s] += x[i + s] * x[i + s];
  for (; i < n; ++i) sums[i % kSums] += x[i] * x[i];
  for (int64_t half = kSums / 2; half > 0; half /= 2)
    for (int64_t s = 0; s < half; ++s) sums[s] += sums[s + half];
  return sums[0];
}

// Columns of a head's state that a thread takes at a time.
constexpr int64_t kPieceColumns = 32;

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
        if (op.function != program::Function::kIdentity)
          kernels_.unary(unary_of(op.function), y + begin, end - begin, y + begin);
      }
      // What is to be kept behind the first `tokens`. Oldest first: in a short run it moves up.
      const auto keep = [&](int64_t tokens, int32_t slot) {
        float* to = slots_.state(op.state, slot);
        for (int64_t i = 0; i < before; ++i) {
          const float* x = input(tokens - before + i);
          std::copy(x + begin, x + end, to + i * channels + begin);
        }
      };
      if (run.row_slots == nullptr) {
        keep(run.tokens, run.slot);
        continue;
      }
      // The run's own slot last: the others are made of it.
      for (int t = 0; t < run.tokens; ++t)
        if (run.row_slots[t] != run.slot) keep(t + 1, run.row_slots[t]);
      for (int t = 0; t < run.tokens; ++t)
        if (run.row_slots[t] == run.slot) keep(t + 1, run.slot);
    }
  };
}

template <typename Body>
CpuExecutable::Phase CpuExecutable::state_phase(program::SlotStateId id, int heads,
                                                int64_t head_floats, int64_t columns, Body body) {
  const int64_t pieces = (columns + kPieceColumns - 1) / kPieceColumns;
  return [this, id, heads, head_floats, columns, pieces, body = std::move(body)](
             int, std::atomic<int>& next) {
    const int64_t per_run = heads * pieces;
    const auto items = static_cast<int>(static_cast<int64_t>(state_.runs.size()) * per_run);
    for (int item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;) {
      const SequenceRun& run = state_.runs[static_cast<size_t>(item / per_run)];
      const auto head = static_cast<int>(item % per_run / pieces);
      const int64_t column = item % pieces * kPieceColumns;
      const int64_t count = std::min(kPieceColumns, columns - column);
      const auto state_of = [&](int32_t slot) {
        return slots_.state(id, slot) + head * head_floats + column;
      };
      float* state = state_of(run.slot);
      const bool is_split = run.row_slots != nullptr;
      // With a slot a token, from one to the next.
      for (int t = 0; t < (is_split ? run.tokens : 1); ++t) {
        SequenceRun part = run;
        const float* before = state;
        if (is_split) {
          part.first_token += t;
          part.tokens = 1;
          state = state_of(run.row_slots[t]);
        }
        const bool begins = t == 0 && run.first_position == 0;
        for (int64_t r = 0; r < head_floats; r += columns) {
          if (begins) {
            std::fill_n(state + r, count, 0.0F);
          } else if (state != before) {
            std::copy_n(before + r, count, state + r);
          }
        }
        body(part, head, state, column, count);
      }
    }
  };
}

CpuExecutable::Phase CpuExecutable::delta_phase(const program::GatedDelta& op, ValueId out) {
  const int64_t rows = width(op.q) / op.key_heads;
  const int64_t columns = width(out) / op.heads;
  if (rows % 4 != 0)
    throw Error(
        fmt::format("a gated delta rule over keys of {} elements, expected a multiple of 4", rows),
        "Outboard does not run models with such heads yet.");
  return state_phase(
      op.state, op.heads, rows * columns, columns,
      [this, op, out, rows, columns, a = floats(op.a), dt = floats(op.dt)](
          const SequenceRun& r, int head, float* state, int64_t column, int64_t count) {
        const int key_head = op.neighbours ? head / (op.heads / op.key_heads) : head % op.key_heads;
        thread_local std::vector<DeltaToken> each;  // grows once
        each.resize(static_cast<size_t>(r.tokens));
        const float root = 1 / std::sqrt(static_cast<float>(rows));
        for (int t = 0; t < r.tokens; ++t) {
          const int row = r.first_token + t;
          const auto length = [&](ValueId id) {
            return std::sqrt(square_sum(value(id, row) + key_head * rows, rows) + op.epsilon);
          };
          const float k = length(op.k);
          const float decay = std::exp(a[head] * softplus(value(op.alpha, row)[head] + dt[head]));
          each[static_cast<size_t>(t)] = {decay, decay / k, sigmoid(value(op.beta, row)[head]) / k,
                                          root / length(op.q)};
        }
        DeltaRun run{};
        run.state = state;
        run.state_stride = columns;
        run.rows = rows;
        run.columns = count;
        run.tokens = r.tokens;
        run.each = each.data();
        run.q = value(op.q, r.first_token) + key_head * rows;
        run.k = value(op.k, r.first_token) + key_head * rows;
        run.v = value(op.v, r.first_token) + head * columns + column;
        run.out = value(out, r.first_token) + head * columns + column;
        run.q_stride = stride(op.q);
        run.k_stride = stride(op.k);
        run.v_stride = stride(op.v);
        run.out_stride = stride(out);
        kernels_.gated_delta(run);
      });
}

CpuExecutable::Phase CpuExecutable::scan_phase(const program::SelectiveScan& op, ValueId out) {
  const int64_t rows = width(op.b) / op.groups;
  const int64_t columns = width(out) / op.heads;
  if (rows % 4 != 0)
    throw Error(
        fmt::format("a selective scan with a state of {} a channel, expected a multiple of 4",
                    rows),
        "Outboard does not run models with such states yet.");
  return state_phase(op.state, op.heads, rows * columns, columns,
                     [this, op, out, rows, columns, a = floats(op.a), dt_bias = floats(op.dt_bias),
                      skip = floats(op.skip)](const SequenceRun& r, int head, float* state,
                                              int64_t column, int64_t count) {
                       const int64_t group = head / (op.heads / op.groups);
                       thread_local std::vector<ScanToken> each;  // grows once
                       each.resize(static_cast<size_t>(r.tokens));
                       for (int t = 0; t < r.tokens; ++t) {
                         const float step =
                             softplus(value(op.dt, r.first_token + t)[head] + dt_bias[head]);
                         each[static_cast<size_t>(t)] = {std::exp(step * a[head]), step};
                       }
                       ScanRun run{};
                       run.state = state;
                       run.state_stride = columns;
                       run.rows = rows;
                       run.columns = count;
                       run.tokens = r.tokens;
                       run.each = each.data();
                       run.skip = skip[head];
                       run.x = value(op.x, r.first_token) + head * columns + column;
                       run.b = value(op.b, r.first_token) + group * rows;
                       run.c = value(op.c, r.first_token) + group * rows;
                       run.out = value(out, r.first_token) + head * columns + column;
                       run.x_stride = stride(op.x);
                       run.b_stride = stride(op.b);
                       run.c_stride = stride(op.c);
                       run.out_stride = stride(out);
                       kernels_.selective_scan(run);
                     });
}

CpuExecutable::Phase CpuExecutable::sequence_phase(const program::Op& op) {
  if (const auto* conv = std::get_if<program::SsmConv>(&op.kind)) return conv_phase(*conv, op.out);
  if (const auto* delta = std::get_if<program::GatedDelta>(&op.kind))
    return delta_phase(*delta, op.out);
  return scan_phase(std::get<program::SelectiveScan>(op.kind), op.out);
}

}  // namespace outboard::devices::cpu
