// What goes through a run's tokens in order, against the same in double.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <ranges>

#include "tests/devices/kernels/test_step.h"

namespace outboard::devices::gpu::kernels {
namespace {

constexpr int kWidth = 301, kStride = 304, kT = 16, kRuns = 4, kSlots = 6;

struct SlotOfToken {
  int token = -1;
  int slot = -1;
};

class SsmConv : public testing::TestWithParam<int> {
 protected:
  SsmConv()
      : layout(make_layout({.tokens = kT, .rows = 1, .runs = kRuns, .slots = true})),
        record(runner.allocate<uint8_t>(index(layout.bytes))),
        x(values(kT * kStride)),
        weight(values(kWidth * taps)),
        bias(values(kWidth)),
        states(values(kSlots * kSlotFloats)),
        out(runner.allocate<float>(kT * kStride)) {
    std::ranges::fill(out, -77.0F);
  }
  std::span<float> values(int count) {
    const auto made = runner.allocate<float>(index(count));
    std::normal_distribution<float> normal(0, 2);
    for (float& v : made) v = normal(random);
    return made;
  }
  // Runs of so many tokens, whose first has that position, one behind the other. Behind a token,
  // what its run has come to goes to a further slot.
  void run(const std::vector<SlotRun>& runs, const std::vector<int>& first_positions,
           bool with_bias, SlotOfToken also = {}) {
    TestRecord r(record, layout);
    std::ranges::fill(r.positions(), -1);
    r.put_slot_runs(runs);
    if (also.token >= 0) r.token_slot()[index(also.token)] = also.slot;
    int tokens = 0;
    for (size_t i = 0; i < runs.size(); ++i) {
      for (int t = 0; t < runs[i].tokens; ++t)
        r.positions()[index(runs[i].first + t)] = first_positions[i] + t;
      tokens += runs[i].tokens;
    }
    r.header() = {tokens, 0, static_cast<int>(runs.size()), 0, 0, {}};
    SsmConvArgs a{};
    a.step = {KernelRunner::const_ptr(record), layout};
    a.x = KernelRunner::const_ptr(x);
    a.out = KernelRunner::ptr(out);
    a.weight = KernelRunner::const_ptr(weight);
    if (with_bias) a.bias = KernelRunner::const_ptr(bias);
    a.states = KernelRunner::ptr(states);
    a.slot_stride = kSlotFloats;
    a.x_stride = a.out_stride = kStride;
    a.width = kWidth;
    a.taps = taps;
    a.tokens = kT;
    a.function = with_bias ? Function::kSilu : Function::kIdentity;
    const std::vector<float> before(states.begin(), states.end());
    std::vector<float> after = before;
    runner.run("ssm_conv", a, {(kWidth + kThreads - 1) / kThreads, kRuns, 1});

    std::vector<bool> written(kT, false);
    for (size_t i = 0; i < runs.size(); ++i) {
      // What the channel has seen, the kept inputs first.
      for (int c = 0; c < kWidth; ++c) {
        std::vector<float> seen;
        for (int k = 0; k < taps - 1; ++k)
          seen.push_back(first_positions[i] == 0
                             ? 0
                             : before[index(runs[i].slot * kSlotFloats + k * kWidth + c)]);
        for (int t = 0; t < runs[i].tokens; ++t) {
          const int row = runs[i].first + t;
          written[index(row)] = true;
          seen.push_back(x[index(row * kStride + c)]);
          double sum = with_bias ? bias[index(c)] : 0, size = std::abs(sum);
          for (int tap = 0; tap < taps; ++tap) {
            const double product = static_cast<double>(weight[index(c * taps + tap)]) *
                                   seen[seen.size() - index(taps - tap)];
            sum += product;
            size += std::abs(product);
          }
          if (with_bias) sum /= 1 + std::exp(-sum);
          ASSERT_NEAR(out[index(row * kStride + c)], sum, 0x1p-20 * size) << row << " " << c;
          const int last = t + 1 == runs[i].tokens ? runs[i].slot : -1;
          for (const int slot : {last, row == also.token ? also.slot : -1})
            for (int k = 0; slot >= 0 && k < taps - 1; ++k)
              after[index(slot * kSlotFloats + k * kWidth + c)] =
                  seen[seen.size() - index(taps - 1 - k)];
        }
      }
    }
    // What is kept are inputs, bit for bit, and other slots are left alone.
    EXPECT_TRUE(std::ranges::equal(states, after));
    for (int t = 0; t < kT; ++t)
      for (int c = kWidth; c < kStride; ++c) EXPECT_EQ(out[index(t * kStride + c)], -77.0F);
    for (int t = tokens; t < kT; ++t)
      for (int c = 0; c < kWidth; ++c) ASSERT_EQ(out[index(t * kStride + c)], 0.0F) << t;
  }

  static constexpr int kSlotFloats = (kMaxTaps - 1) * kWidth + 5;
  const int taps = GetParam();
  std::mt19937 random{5};
  KernelRunner runner;
  StepLayout layout;
  std::span<uint8_t> record;
  std::span<float> x, weight, bias, states, out;
};
INSTANTIATE_TEST_SUITE_P(Taps, SsmConv, testing::Values(2, 3, 4, kMaxTaps),
                         testing::PrintToStringParamName());

// A prompt, one that goes on, and answers; runs shorter and longer than what is kept.
TEST_P(SsmConv, RunsFromTheirSlots) {
  run({{5, 0, 9, 0}, {0, 9, 2, 0}, {3, 11, 1, 0}, {1, 12, 1, 0}}, {0, 40, 7, 0}, true);
}

TEST_P(SsmConv, KeepsWhatItCameToOnTheWay) {
  run({{5, 0, 9, 0}, {0, 9, 5, 0}}, {0, 40}, true, {.token = 10, .slot = 2});
}

TEST_P(SsmConv, WithoutBias) { run({{2, 0, 16, 0}}, {3}, false); }

// What the second of kMixedRuns has come to behind this token goes to a slot that no run has.
constexpr SlotOfToken kOnTheWay = {.token = 7, .slot = 1};

// Heads, rows and columns of a state.
struct StateShape {
  int heads, groups, rows, columns;
};

class Recurrence : public testing::TestWithParam<StateShape> {
 protected:
  static constexpr int kTokens = 12, kMaxRuns = 3, kStateSlots = 4;

  Recurrence()
      : layout(make_layout({.tokens = kTokens, .rows = 1, .runs = kMaxRuns, .slots = true})),
        record(runner.allocate<uint8_t>(index(layout.bytes))),
        states(values(kStateSlots * slot_floats, 1)),
        out(runner.allocate<float>(index(kTokens * out_stride))) {
    std::ranges::fill(out, -77.0F);
  }
  std::span<float> values(int count, float spread, float around = 0) {
    const auto made = runner.allocate<float>(index(count));
    std::normal_distribution<float> normal(around, spread);
    for (float& v : made) v = normal(random);
    return made;
  }
  RecurrenceArgs prepare(const std::vector<SlotRun>& runs,
                         const std::vector<int>& first_positions) {
    TestRecord r(record, layout);
    std::ranges::fill(r.positions(), -1);
    r.put_slot_runs(runs);
    r.token_slot()[index(kOnTheWay.token)] = kOnTheWay.slot;
    int tokens = 0;
    for (size_t i = 0; i < runs.size(); ++i) {
      for (int t = 0; t < runs[i].tokens; ++t)
        r.positions()[index(runs[i].first + t)] = first_positions[i] + t;
      tokens += runs[i].tokens;
    }
    r.header() = {tokens, 0, static_cast<int>(runs.size()), 0, 0, {}};
    RecurrenceArgs a{};
    a.step = {KernelRunner::const_ptr(record), layout};
    a.out = KernelRunner::ptr(out);
    a.out_stride = out_stride;
    a.states = KernelRunner::ptr(states);
    a.slot_stride = static_cast<uint64_t>(slot_floats);
    a.heads = shape.heads;
    a.rows = shape.rows;
    a.columns = shape.columns;
    a.lanes = 32;
    while (a.lanes < a.columns) a.lanes *= 2;
    a.tokens = kTokens;
    return a;
  }
  // step(run, token of all, head, state) changes a head's state, [rows, columns], and gives a row.
  template <typename Step>
  void expect(const std::vector<SlotRun>& runs, const std::vector<int>& first_positions,
              const std::vector<float>& before, Step step) {
    std::vector<float> after = before;
    int tokens = 0;
    for (size_t i = 0; i < runs.size(); ++i)
      for (int head = 0; head < shape.heads; ++head) {
        const auto at_slot = [&](int slot) {
          return index(slot * slot_floats + head * shape.rows * shape.columns);
        };
        const size_t at = at_slot(runs[i].slot);
        std::vector<double> state(index(shape.rows * shape.columns), 0.0);
        if (first_positions[i] > 0)
          for (size_t e = 0; e < state.size(); ++e) state[e] = before[at + e];
        for (int t = 0; t < runs[i].tokens; ++t) {
          const std::vector<double> row = step(runs[i].first + t, head, state);
          for (int c = 0; c < shape.columns; ++c)
            ASSERT_NEAR(out[index((runs[i].first + t) * out_stride + head * shape.columns + c)],
                        row[index(c)], 3e-5 * (1 + std::abs(row[index(c)])))
                << "run " << i << " token " << t << " head " << head << " column " << c;
          if (runs[i].first + t == kOnTheWay.token)
            std::ranges::copy(
                state | std::views::transform([](double v) { return static_cast<float>(v); }),
                after.begin() + static_cast<ptrdiff_t>(at_slot(kOnTheWay.slot)));
        }
        for (size_t e = 0; e < state.size(); ++e) after[at + e] = static_cast<float>(state[e]);
        if (head == 0) tokens += runs[i].tokens;
      }
    for (size_t e = 0; e < after.size(); ++e)
      ASSERT_NEAR(states[e], after[e], 3e-5 * (1 + std::abs(after[e]))) << e;
    for (int t = tokens; t < kTokens; ++t)
      for (int c = 0; c < shape.heads * shape.columns; ++c)
        ASSERT_EQ(out[index(t * out_stride + c)], 0.0F) << t;
    for (int t = 0; t < kTokens; ++t)
      for (int c = shape.heads * shape.columns; c < out_stride; ++c)
        ASSERT_EQ(out[index(t * out_stride + c)], -77.0F);
  }
  static double softplus(double x) { return std::log1p(std::exp(x)); }
  static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
  static double silu(double x) { return x * sigmoid(x); }

  const StateShape shape = GetParam();
  const int out_stride = shape.heads * shape.columns + 4;
  const int slot_floats = shape.heads * shape.rows * shape.columns + 8;
  std::mt19937 random{7};
  KernelRunner runner;
  StepLayout layout;
  std::span<uint8_t> record;
  std::span<float> states, out;
};
INSTANTIATE_TEST_SUITE_P(States, Recurrence,
                         testing::Values(StateShape{3, 1, 128, 128}, StateShape{4, 2, 16, 24},
                                         StateShape{2, 1, 128, 64}, StateShape{2, 2, 20, 200}),
                         [](const auto& test) {
                           return fmt::format("{}x{}", test.param.rows, test.param.columns);
                         });

// A prompt, one that goes on, and an answer.
const std::vector<SlotRun> kMixedRuns = {{2, 0, 6, 0}, {0, 6, 3, 0}, {3, 9, 1, 0}};
const std::vector<int> kMixedPositions = {0, 40, 7};

TEST_P(Recurrence, GatedDelta) {
  const int keys = shape.groups * shape.rows, width = shape.heads * shape.columns;
  const auto q = values(kTokens * keys, 1), k = values(kTokens * keys, 1);
  const auto v = values(kTokens * width, 1), gate = values(kTokens * width, 1);
  const auto alpha = values(kTokens * shape.heads, 1), beta = values(kTokens * shape.heads, 1);
  const auto a = values(shape.heads, 0.1F, -0.5F), dt = values(shape.heads, 1, -1);
  const auto norm = values(shape.columns, 0.2F, 1);
  for (const bool whole : {false, true}) {
    const std::vector<float> before(states.begin(), states.end());
    std::ranges::fill(out, -77.0F);
    GatedDeltaArgs args{};
    args.state = prepare(kMixedRuns, kMixedPositions);
    if (whole) {
      args.state.norm = {NormKind::kRms, 1e-6F, KernelRunner::const_ptr(norm), {}};
      args.state.gate = KernelRunner::const_ptr(gate);
      args.state.gate_stride = width;
      args.state.function = Function::kSilu;
    }
    args.q = KernelRunner::const_ptr(q);
    args.k = KernelRunner::const_ptr(k);
    args.v = KernelRunner::const_ptr(v);
    args.alpha = KernelRunner::const_ptr(alpha);
    args.beta = KernelRunner::const_ptr(beta);
    args.a = KernelRunner::const_ptr(a);
    args.dt = KernelRunner::const_ptr(dt);
    args.q_stride = args.k_stride = keys;
    args.v_stride = width;
    args.alpha_stride = args.beta_stride = shape.heads;
    args.key_heads = shape.groups;
    args.neighbours = whole ? 1 : 0;
    args.epsilon = 1e-6F;
    const int shares = kThreads / args.state.lanes;
    runner.run(shape.rows <= shares * 16 ? "gated_delta_16" : "gated_delta_64", args,
               {static_cast<uint32_t>(shape.heads), kMaxRuns, 1});
    expect(kMixedRuns, kMixedPositions, before, [&](int t, int head, std::vector<double>& s) {
      const int key_head = whole ? head / (shape.heads / shape.groups) : head % shape.groups;
      const auto unit = [&](std::span<const float> x) {
        std::vector<double> e;
        double squares = 1e-6;
        for (int r = 0; r < shape.rows; ++r) {
          e.push_back(x[index(t * keys + key_head * shape.rows + r)]);
          squares += e.back() * e.back();
        }
        for (double& value : e) value /= std::sqrt(squares);
        return e;
      };
      const std::vector<double> key = unit(k), query = unit(q);
      const double decay =
          std::exp(a[index(head)] * softplus(alpha[index(t * shape.heads + head)] +
                                             static_cast<double>(dt[index(head)])));
      const double rate = sigmoid(beta[index(t * shape.heads + head)]);
      std::vector<double> row;
      double squares = 0;
      for (int c = 0; c < shape.columns; ++c) {
        double seen = 0, sum = 0;
        for (int r = 0; r < shape.rows; ++r)
          seen += decay * s[index(r * shape.columns + c)] * key[index(r)];
        const double change = rate * (v[index(t * width + head * shape.columns + c)] - seen);
        for (int r = 0; r < shape.rows; ++r) {
          double& e = s[index(r * shape.columns + c)];
          e = decay * e + key[index(r)] * change;
          sum += e * query[index(r)];
        }
        row.push_back(sum / std::sqrt(shape.rows));
        squares += row.back() * row.back();
      }
      if (whole)
        for (int c = 0; c < shape.columns; ++c)
          row[index(c)] *= norm[index(c)] / std::sqrt(squares / shape.columns + 1e-6) *
                           silu(gate[index(t * width + head * shape.columns + c)]);
      return row;
    });
  }
}

TEST_P(Recurrence, SelectiveScan) {
  const int shared = shape.groups * shape.rows, width = shape.heads * shape.columns;
  const auto x = values(kTokens * width, 1), gate = values(kTokens * width, 1);
  const auto b = values(kTokens * shared, 0.5F), c = values(kTokens * shared, 0.5F);
  const auto dt = values(kTokens * shape.heads, 1);
  const auto a = values(shape.heads, 0.1F, -0.5F), bias = values(shape.heads, 1, -1),
             skip = values(shape.heads, 0.3F, 1);
  for (const bool gates : {false, true}) {
    const std::vector<float> before(states.begin(), states.end());
    std::ranges::fill(out, -77.0F);
    SelectiveScanArgs args{};
    args.state = prepare(kMixedRuns, kMixedPositions);
    if (gates) {
      args.state.gate = KernelRunner::const_ptr(gate);
      args.state.gate_stride = width;
      args.state.function = Function::kSilu;
    }
    args.x = KernelRunner::const_ptr(x);
    args.b = KernelRunner::const_ptr(b);
    args.c = KernelRunner::const_ptr(c);
    args.dt = KernelRunner::const_ptr(dt);
    args.a = KernelRunner::const_ptr(a);
    args.dt_bias = KernelRunner::const_ptr(bias);
    args.skip = KernelRunner::const_ptr(skip);
    args.x_stride = width;
    args.b_stride = args.c_stride = shared;
    args.dt_stride = shape.heads;
    args.groups = shape.groups;
    const int shares = kThreads / args.state.lanes;
    runner.run(shape.rows <= shares * 32 ? "selective_scan_32" : "selective_scan_64", args,
               {static_cast<uint32_t>(shape.heads), kMaxRuns, 1});
    expect(kMixedRuns, kMixedPositions, before, [&](int t, int head, std::vector<double>& s) {
      const int group = head / (shape.heads / shape.groups);
      const double step =
          softplus(static_cast<double>(dt[index(t * shape.heads + head)]) + bias[index(head)]);
      const double decay = std::exp(step * a[index(head)]);
      std::vector<double> row;
      for (int i = 0; i < shape.columns; ++i) {
        const double in = x[index(t * width + head * shape.columns + i)];
        double sum = skip[index(head)] * in;
        for (int r = 0; r < shape.rows; ++r) {
          double& e = s[index(r * shape.columns + i)];
          e = decay * e + b[index(t * shared + group * shape.rows + r)] * step * in;
          sum += e * c[index(t * shared + group * shape.rows + r)];
        }
        row.push_back(gates ? sum * silu(gate[index(t * width + head * shape.columns + i)]) : sum);
      }
      return row;
    });
  }
}

}  // namespace
}  // namespace outboard::devices::gpu::kernels
