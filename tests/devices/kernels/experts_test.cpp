#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "devices/gpu/kernels/plane_layout.h"
#include "tests/devices/kernels/test_input.h"
#include "tests/devices/kernels/test_weights.h"

namespace outboard::devices::gpu::kernels {
namespace {

using formats::TensorType;

struct Shape {
  int tokens, experts, used;
  int columns, rows;  // of an expert's matrix
};

// A token's experts, the best first, and their weights.
struct Choice {
  std::vector<int> experts;
  std::vector<double> weights;
};
Choice choose(std::span<const float> logits, int used, bool normalise) {
  Choice c;
  std::vector<int> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](int e) { return std::pair(-logits[index(e)], e); });
  double sum = 0;
  double kept = 0;
  const double top = *std::ranges::max_element(logits);
  for (const float logit : logits) sum += std::exp(logit - top);
  for (int i = 0; i < used; ++i) {
    c.experts.push_back(order[index(i)]);
    c.weights.push_back(std::exp(logits[index(order[index(i)])] - top) / sum);
    kept += c.weights.back();
  }
  if (normalise)
    for (double& w : c.weights) w /= kept;
  return c;
}

// Logits of a router, with equals among them.
struct TestRouting {
  Routing args;
  std::span<float> logits;
  std::span<int32_t> chosen;
  std::span<float> weights;
  std::vector<Choice> expected;
};
TestRouting make_routing(KernelRunner& runner, const Shape& s, bool normalise,
                         std::mt19937& random) {
  TestRouting r;
  const int stride = s.experts + 3;
  r.logits = runner.allocate<float>(index(s.tokens * stride));
  std::normal_distribution<float> normal(0, 2);
  for (int t = 0; t < s.tokens; ++t) {
    const std::span<float> row = r.logits.subspan(index(t * stride), index(s.experts));
    for (float& v : row) v = std::round(normal(random) * 8) / 8;
    r.expected.push_back(choose(row, s.used, normalise));
  }
  r.chosen = runner.allocate<int32_t>(index(s.tokens * s.used));
  r.weights = runner.allocate<float>(index(s.tokens * s.used));
  r.args.logits = KernelRunner::const_ptr(r.logits);
  r.args.chosen = KernelRunner::ptr(r.chosen);
  r.args.weights = KernelRunner::ptr(r.weights);
  r.args.logit_stride = stride;
  r.args.experts = s.experts;
  r.args.used = s.used;
  r.args.normalise = normalise ? 1 : 0;
  return r;
}
void expect_choice(const TestRouting& r, double relative = 1e-5) {
  for (size_t t = 0; t < r.expected.size(); ++t) {
    const Choice& want = r.expected[t];
    for (size_t i = 0; i < want.experts.size(); ++i) {
      const size_t at = t * want.experts.size() + i;
      ASSERT_EQ(r.chosen[at], want.experts[i]) << "token " << t << ", place " << i;
      ASSERT_NEAR(r.weights[at], want.weights[i], want.weights[i] * relative + 1e-35)
          << "token " << t;
    }
  }
}
// As if `route` had run.
void put_choice(const TestRouting& r) {
  for (size_t t = 0; t < r.expected.size(); ++t) {
    const Choice& want = r.expected[t];
    for (size_t i = 0; i < want.experts.size(); ++i) {
      r.chosen[t * want.experts.size() + i] = want.experts[i];
      r.weights[t * want.experts.size() + i] = static_cast<float>(want.weights[i]);
    }
  }
}

// All experts' matrices in one, and the rows of one of them.
struct Stack {
  TestMatrix all;
  int rows = 0;  // of one
  Matrix one() const {
    Matrix m = all.matrix;
    m.rows = rows;
    return m;
  }
};
Stack make_stack(KernelRunner& runner, TensorType type, int experts, int rows, int columns,
                 std::mt19937& random) {
  return {make_matrix(runner, type, experts * rows, columns, random), rows};
}

struct Expected {
  double value = 0;
  double bound = 0;
};
// As in matvec_test.cpp: float16 inputs, float32 sums of codes with offsets.
Expected product(const TestMatrix& m, int row, std::span<const double> x, double x_error,
                 double largest) {
  Expected e;
  double largest_weight = 0;
  double sum = 0;
  for (int c = 0; c < m.columns; ++c) {
    const double w = m.at(row, c);
    e.value += w * x[index(c)];
    e.bound += std::abs(w) * (std::abs(x[index(c)]) * x_error + largest * 0x1p-27);
    largest_weight = std::max(largest_weight, std::abs(w));
    sum += std::abs(x[index(c)]);
  }
  e.bound += largest_weight * sum * 0x1p-14 + 1e-30;
  return e;
}

double largest_of(std::span<const double> x) {
  double largest = 0;
  for (const double v : x) largest = std::max(largest, std::abs(v));
  return largest;
}

TEST(Route, TheBestOfAllWithTheirWeights) {
  std::mt19937 random(21);
  for (const Shape& s : {Shape{1, 4, 2, 0, 0},
                         {9, 128, 8, 0, 0},
                         {16, 33, 5, 0, 0},
                         {3, 1000, 32, 0, 0},
                         {2, 7, 7, 0, 0}}) {
    for (const bool normalise : {true, false}) {
      KernelRunner runner;
      const TestRouting r = make_routing(runner, s, normalise, random);
      runner.run("route", RouteArgs{r.args, s.tokens, 0},
                 {static_cast<uint32_t>(s.tokens + 7) / 8, 1, 1});
      expect_choice(r);
    }
  }
}

class Experts : public testing::TestWithParam<TensorType> {};
INSTANTIATE_TEST_SUITE_P(Types, Experts, testing::ValuesIn(kAllTypes),
                         [](const auto& type) { return type_name(type.param); });

std::vector<Shape> shapes(TensorType type) {
  const int64_t block = formats::type_info(type).block_elements;
  if (block == 256) return {{1, 5, 2, 256, 45}, {3, 6, 3, 768, 17}};
  if (block == 32) return {{1, 5, 2, 96, 45}, {3, 6, 3, 320, 17}};
  return {{1, 5, 2, 77, 45}, {3, 6, 3, 130, 17}};
}

// The general kernel takes what the other one does, too.
const char* const kMatvecs[] = {"expert_matvec", "expert_matvec_narrow"};
bool takes(std::string_view kernel, const ExpertMatvecArgs& args) {
  return kernel == kMatvecs[0] || kernel == expert_matvec_kernel(args);
}

TEST_P(Experts, GateAndUpOfTheChosen) {
  std::mt19937 random(22);
  for (const Shape& s : shapes(GetParam())) {
    for (const auto& [gated, kernel] : {std::pair(true, kMatvecs[0]),
                                        {false, kMatvecs[0]},
                                        {true, kMatvecs[1]},
                                        {false, kMatvecs[1]}}) {
      KernelRunner runner;
      const Stack gate = make_stack(runner, GetParam(), s.experts, s.rows, s.columns, random);
      const Stack up = make_stack(runner, GetParam(), s.experts, s.rows, s.columns, random);
      const TestRouting routing = make_routing(runner, s, true, random);
      TestInput input(runner, s.tokens, s.columns, random);
      const int stride = s.rows + 2;
      const size_t size = index(s.tokens * s.used * stride);
      const std::span<float> out[2] = {runner.allocate<float>(size), runner.allocate<float>(size)};
      ExpertMatvecArgs args{};
      args.matvec.step = input.step;
      args.matvec.input = input.input;
      args.matvec.gated = gated ? 1 : 0;
      args.matvec.part_count = 2;
      for (int i = 0; i < 2; ++i) {
        args.matvec.parts[i].matrix = (i == 0 ? gate : up).one();
        args.matvec.parts[i].expert_rows = args.matvec.parts[i].matrix.rows;
        args.matvec.parts[i].out = KernelRunner::ptr(out[i]);
        args.matvec.parts[i].stride = stride;
      }
      put_choice(routing);
      args.chosen = KernelRunner::const_ptr(routing.chosen);
      args.used = s.used;
      if (!takes(kernel, args)) continue;
      const int copies = s.tokens * s.used;
      runner.run(kernel, args,
                 {plan_matvec(args.matvec, 1, copies), static_cast<uint32_t>(copies), 1});
      const std::vector<ExpectedRow> x = input.expected();
      for (int t = 0; t < s.tokens; ++t) {
        const std::vector<double>& v = x[index(t)].value;
        for (int i = 0; i < s.used; ++i) {
          const int expert = routing.expected[index(t)].experts[index(i)];
          for (int r = 0; r < s.rows; ++r) {
            const Expected g = product(gate.all, expert * s.rows + r, v, 0x1p-11, largest_of(v));
            const Expected u = product(up.all, expert * s.rows + r, v, 0x1p-11, largest_of(v));
            const size_t at = index((t * s.used + i) * stride + r);
            if (!gated) {
              ASSERT_NEAR(out[0][at], g.value, g.bound);
              ASSERT_NEAR(out[1][at], u.value, u.bound);
              continue;
            }
            const double bound =
                1.13 * g.bound * std::abs(u.value) +
                (std::abs(g.value) + g.bound) * (u.bound + std::abs(u.value) * 0x1p-21);
            ASSERT_NEAR(out[0][at], apply_function(Function::kSilu, g.value) * u.value,
                        bound + 1e-6)
                << "token " << t << ", place " << i << ", row " << r;
          }
          for (int r = s.rows; r < stride; ++r)
            ASSERT_EQ(std::bit_cast<uint32_t>(out[0][index((t * s.used + i) * stride + r)]),
                      0xeeeeeeee);
        }
      }
    }
  }
}

// With as many experts as several workgroups have rows, of which the last one makes the choice.
TEST_P(Experts, RouterWithItsChoice) {
  std::mt19937 random(23);
  Shape s = shapes(GetParam())[1];
  s.experts = 70;
  for (const char* kernel : kMatvecs) {
    KernelRunner runner;
    const TestMatrix m = make_matrix(runner, GetParam(), s.experts, s.columns, random);
    TestInput input(runner, s.tokens, s.columns, random);
    TestRouting routing = make_routing(runner, s, true, random);
    const int stride = routing.args.logit_stride;
    const auto ended = runner.allocate<uint32_t>(index(s.tokens));
    std::ranges::fill(ended, 0U);
    ExpertMatvecArgs args{};
    args.matvec.step = input.step;
    args.matvec.input = input.input;
    args.matvec.part_count = 1;
    args.matvec.parts[0].matrix = m.matrix;
    args.matvec.parts[0].out = KernelRunner::ptr(routing.logits);
    args.matvec.parts[0].stride = stride;
    args.routing = routing.args;
    args.ended = KernelRunner::ptr(ended);
    if (!takes(kernel, args)) continue;
    const uint32_t workgroups = plan_matvec(args.matvec, 1, s.tokens);
    ASSERT_GT(workgroups, 1U);
    args.workgroups = static_cast<int>(workgroups);
    runner.run(kernel, args, {workgroups, static_cast<uint32_t>(s.tokens), 1});
    ASSERT_THAT(ended, testing::Each(0U));
    const std::vector<ExpectedRow> x = input.expected();
    for (int t = 0; t < s.tokens; ++t) {
      const std::vector<double>& v = x[index(t)].value;
      const auto logits = routing.logits.subspan(index(t * stride), index(s.experts));
      for (int e = 0; e < s.experts; ++e) {
        const Expected want = product(m, e, v, 0x1p-11, largest_of(v));
        ASSERT_NEAR(logits[index(e)], want.value, want.bound);
      }
      routing.expected[index(t)] = choose(logits, s.used, true);
    }
    expect_choice(routing, 1e-4);  // of logits that are far apart
  }
}

TEST_P(Experts, DownIsTheWeightedSum) {
  std::mt19937 random(24);
  std::vector<Shape> all = shapes(GetParam());
  // More than a tile holds.
  const bool plain = formats::type_info(GetParam()).block_elements == 1;
  all.push_back({1, 9, 8, plain ? 1601 : 1792, 3});
  for (const Shape& s : all) {
    for (const bool two : {true, false}) {
      KernelRunner runner;
      const Stack down = make_stack(runner, GetParam(), s.experts, s.rows, s.columns, random);
      const TestRouting routing = make_routing(runner, s, true, random);
      put_choice(routing);
      const int stride = (s.columns + 31) / 32 * 32;
      const size_t size = index(s.tokens * s.used * stride);
      const std::span<float> x = runner.allocate<float>(size), y = runner.allocate<float>(size);
      std::normal_distribution<float> normal(0.1F, 2);
      for (const std::span<float> rows : {x, y})
        for (size_t i = 0; i < size; ++i)
          if (i % index(stride) < index(s.columns)) rows[i] = normal(random);
      const std::span<float> out = runner.allocate<float>(index(s.tokens * (s.rows + 1)));
      for (float& v : out) v = normal(random);
      const std::vector<float> before(out.begin(), out.end());
      ExpertDownArgs args{};
      args.matrix = down.one();
      args.chosen = KernelRunner::const_ptr(routing.chosen);
      args.weights = KernelRunner::const_ptr(routing.weights);
      args.x = KernelRunner::const_ptr(x);
      if (two) args.y = KernelRunner::const_ptr(y);
      args.function = Function::kGeluTanh;
      args.out = KernelRunner::ptr(out);
      args.stride = stride;
      args.out_stride = s.rows + 1;
      args.used = s.used;
      args.accumulate = two ? 1 : 0;
      runner.run("expert_down", args,
                 {expert_down_workgroups(args), static_cast<uint32_t>(s.tokens), 1});
      for (int t = 0; t < s.tokens; ++t) {
        std::vector<std::vector<double>> rows(index(s.used));
        double largest = 0;
        for (int i = 0; i < s.used; ++i) {
          for (int c = 0; c < s.columns; ++c) {
            const size_t at = index((t * s.used + i) * stride + c);
            double v = x[at];
            v = apply_function(Function::kGeluTanh, v) * (two ? y[at] : 1);
            rows[index(i)].push_back(v * routing.weights[index(t * s.used + i)]);
          }
          largest = std::max(largest, largest_of(rows[index(i)]));
        }
        for (int r = 0; r < s.rows; ++r) {
          double value = two ? before[index(t * (s.rows + 1) + r)] : 0;
          double bound = 1e-6;
          for (int i = 0; i < s.used; ++i) {
            const int expert = routing.chosen[index(t * s.used + i)];
            const Expected e =
                product(down.all, expert * s.rows + r, rows[index(i)], 0x1p-10, largest);
            value += e.value;
            bound += e.bound;
          }
          ASSERT_NEAR(out[index(t * (s.rows + 1) + r)], value, bound)
              << "token " << t << ", row " << r;
        }
        const size_t end = index(t * (s.rows + 1) + s.rows);
        ASSERT_EQ(out[end], before[end]);
      }
    }
  }
}

// Slots: each pair has its own, an expert's are neighbours, tiles cover all of them.
struct TestSlots {
  std::span<int32_t> slot_of, token_of;
  std::span<ExpertTile> tiles;
};
TestSlots make_slots(KernelRunner& runner, const Shape& s, const TestRouting& routing) {
  const int pairs = s.tokens * s.used;
  TestSlots slots;
  slots.slot_of = runner.allocate<int32_t>(index(pairs));
  slots.token_of = runner.allocate<int32_t>(index(pairs));
  slots.tiles = runner.allocate<ExpertTile>(index(expert_max_tiles(pairs, s.experts)));
  ExpertSlotsArgs args{};
  args.chosen = KernelRunner::const_ptr(routing.chosen);
  args.slot_of = KernelRunner::ptr(slots.slot_of);
  args.token_of = KernelRunner::ptr(slots.token_of);
  args.tiles = KernelRunner::ptr(slots.tiles);
  args.tokens = s.tokens;
  args.used = s.used;
  args.experts = s.experts;
  args.tile_slots = expert_tile_slots(pairs, s.experts);
  args.max_tiles = expert_max_tiles(pairs, s.experts);
  runner.run("expert_slots", args, {1, 1, 1});
  return slots;
}

TEST(ExpertSlots, EveryPairHasOne) {
  std::mt19937 random(25);
  for (const Shape& s : {Shape{16, 4, 2, 0, 0},
                         {100, 128, 8, 0, 0},
                         {512, 5, 4, 0, 0},
                         {33, 1000, 3, 0, 0},
                         {64, 1, 1, 0, 0}}) {
    SCOPED_TRACE(fmt::format("{} tokens, {} of {} experts", s.tokens, s.used, s.experts));
    KernelRunner runner;
    const TestRouting routing = make_routing(runner, s, true, random);
    put_choice(routing);
    const TestSlots slots = make_slots(runner, s, routing);
    const int pairs = s.tokens * s.used;
    std::vector<int> pair_of(index(pairs), -1);
    for (int p = 0; p < pairs; ++p) {
      const int slot = slots.slot_of[index(p)];
      ASSERT_TRUE(slot >= 0 && slot < pairs);
      ASSERT_EQ(pair_of[index(slot)], -1);
      pair_of[index(slot)] = p;
      ASSERT_EQ(slots.token_of[index(slot)], p / s.used);
    }
    int next = 0;
    bool ended = false;
    for (const ExpertTile& tile : slots.tiles) {
      ended = ended || tile.count == 0;
      ASSERT_EQ(ended, tile.count == 0);
      if (ended) continue;
      ASSERT_EQ(tile.first, next);
      ASSERT_LE(tile.count, expert_tile_slots(pairs, s.experts));
      for (int i = 0; i < tile.count; ++i)
        ASSERT_EQ(routing.chosen[index(pair_of[index(next++)])], tile.expert);
    }
    ASSERT_EQ(next, pairs);
  }
}

// Rows as `prepare` leaves them.
struct HalfRows {
  std::span<uint16_t> half;
  std::span<float> factor;
  int stride = 0;
  std::vector<double> row(int r, int width) const {
    std::vector<double> out;
    for (int c = 0; c < width; ++c)
      out.push_back(static_cast<double>(formats::half_to_float(half[index(r * stride + c)])) *
                    factor[index(r)]);
    return out;
  }
};
HalfRows make_halves(KernelRunner& runner, int rows, int width, std::mt19937& random) {
  HalfRows h;
  h.stride = (width + 31) / 32 * 32;
  h.half = runner.allocate<uint16_t>(index(rows * h.stride));
  h.factor = runner.allocate<float>(index(rows));
  std::normal_distribution<float> normal(0.1F, 50);
  for (int r = 0; r < rows; ++r) {
    h.factor[index(r)] = std::ldexp(1.0F, static_cast<int>(random() % 8) - 8);
    for (int c = 0; c < h.stride; ++c)
      h.half[index(r * h.stride + c)] = c < width ? formats::float_to_half(normal(random)) : 0;
  }
  return h;
}

TEST_P(Experts, ManyRows) {
  std::mt19937 random(26);
  std::vector<Shape> all = shapes(GetParam());
  for (Shape& s : all) s.tokens = 20;
  all[0].tokens = 60;  // more than a tile holds of some experts
  for (const Shape& s : all) {
    for (const bool gather : {true, false}) {
      SCOPED_TRACE(fmt::format("{} tokens, {}", s.tokens, gather));
      KernelRunner runner;
      const Stack a = make_stack(runner, GetParam(), s.experts, s.rows, s.columns, random);
      const Stack b = make_stack(runner, TensorType::F16, s.experts, 131, s.columns, random);
      const TestRouting routing = make_routing(runner, s, true, random);
      put_choice(routing);
      const TestSlots slots = make_slots(runner, s, routing);
      const int pairs = s.tokens * s.used;
      const HalfRows x = make_halves(runner, gather ? s.tokens : pairs, s.columns, random);
      const std::span<float> out[2] = {runner.allocate<float>(index(pairs * (s.rows + 1))),
                                       runner.allocate<float>(index(pairs * 131))};
      ExpertMatmulArgs args{};
      args.matmul.half = KernelRunner::const_ptr(x.half);
      args.matmul.factor = KernelRunner::const_ptr(x.factor);
      args.matmul.half_stride = x.stride;
      args.matmul.part_count = 2;
      args.matmul.parts[0].matrix = a.one();
      args.matmul.parts[0].expert_rows = args.matmul.parts[0].matrix.rows;
      args.matmul.parts[0].out = KernelRunner::ptr(out[0]);
      args.matmul.parts[0].stride = s.rows + 1;
      args.matmul.parts[1].matrix = b.one();
      args.matmul.parts[1].expert_rows = args.matmul.parts[1].matrix.rows;
      args.matmul.parts[1].out = KernelRunner::ptr(out[1]);
      args.matmul.parts[1].stride = 131;
      args.tiles = KernelRunner::const_ptr(slots.tiles);
      if (gather) args.rows = KernelRunner::const_ptr(slots.token_of);
      args.max_tiles = expert_max_tiles(pairs, s.experts);
      runner.run("expert_matmul", args, {expert_matmul_workgroups(args), 1, 1});
      for (int p = 0; p < pairs; ++p) {
        const int slot = slots.slot_of[index(p)];
        const std::vector<double> row = x.row(gather ? p / s.used : slot, s.columns);
        const int expert = routing.chosen[index(p)];
        for (const auto& [stack, rows, stride] :
             {std::tuple(&a, out[0], s.rows + 1), {&b, out[1], 131}}) {
          for (int r = 0; r < stack->rows; ++r) {
            // The weight is rounded to float16 here, and not the input.
            const Expected e =
                product(stack->all, expert * stack->rows + r, row, 0x1p-11, largest_of(row));
            ASSERT_NEAR(rows[index(slot * stride + r)], e.value, e.bound)
                << "pair " << p << ", row " << r;
          }
        }
        ASSERT_EQ(std::bit_cast<uint32_t>(out[0][index(slot * (s.rows + 1) + s.rows)]), 0xeeeeeeee);
      }
    }
  }
}

TEST(ExpertSum, WeighsTheSlots) {
  std::mt19937 random(27);
  const Shape s{19, 6, 3, 333, 0};
  for (const bool accumulate : {true, false}) {
    KernelRunner runner;
    const TestRouting routing = make_routing(runner, s, true, random);
    put_choice(routing);
    const TestSlots slots = make_slots(runner, s, routing);
    std::normal_distribution<float> normal(0, 3);
    const std::span<float> part =
        runner.allocate<float>(index(s.tokens * s.used * (s.columns + 2)));
    const std::span<float> out = runner.allocate<float>(index(s.tokens * (s.columns + 1)));
    for (const std::span<float> rows : {part, out})
      for (float& v : rows) v = normal(random);
    const std::vector<float> before(out.begin(), out.end());
    ExpertSumArgs args{};
    args.part = KernelRunner::const_ptr(part);
    args.slot_of = KernelRunner::const_ptr(slots.slot_of);
    args.weights = KernelRunner::const_ptr(routing.weights);
    args.out = KernelRunner::ptr(out);
    args.stride = s.columns + 2;
    args.out_stride = s.columns + 1;
    args.width = s.columns;
    args.used = s.used;
    args.accumulate = accumulate ? 1 : 0;
    runner.run("expert_sum", args, {static_cast<uint32_t>(s.tokens), 1, 1});
    for (int t = 0; t < s.tokens; ++t) {
      for (int c = 0; c < s.columns; ++c) {
        const size_t at = index(t * (s.columns + 1) + c);
        double want = accumulate ? before[at] : 0;
        for (int i = t * s.used; i < (t + 1) * s.used; ++i)
          want += static_cast<double>(routing.weights[index(i)]) *
                  part[index(slots.slot_of[index(i)] * (s.columns + 2) + c)];
        ASSERT_NEAR(out[at], want, 1e-5);
      }
      const size_t end = index(t * (s.columns + 1) + s.columns);
      ASSERT_EQ(out[end], before[end]);
    }
  }
}

// What is not chosen is not read.
TEST(ExpertMatvec, ReadsTheChosenOnly) {
  std::mt19937 random(28);
  const Shape s{1, 16, 2, 2048, 256};
  KernelRunner runner(false);
  const auto stack = [&] {
    return Stack{
        make_repeated_matrix(runner, TensorType::Q4_K, s.experts * s.rows, s.columns, random),
        s.rows};
  };
  const Stack gate = stack();
  const Stack up = stack();  // what `repack` leaves in GL2 of this may help
  const TestRouting routing = make_routing(runner, s, true, random);
  TestInput input(runner, 1, s.columns, random);
  const std::span<float> out = runner.allocate<float>(index(s.used * s.rows));
  ExpertMatvecArgs args{};
  args.matvec.step = input.step;
  args.matvec.input = input.input;
  args.matvec.gated = 1;
  args.matvec.part_count = 2;
  for (int i = 0; i < 2; ++i) {
    args.matvec.parts[i].matrix = (i == 0 ? gate : up).one();
    args.matvec.parts[i].expert_rows = args.matvec.parts[i].matrix.rows;
    args.matvec.parts[i].out = KernelRunner::ptr(out);
    args.matvec.parts[i].stride = s.rows;
  }
  put_choice(routing);
  args.chosen = KernelRunner::const_ptr(routing.chosen);
  args.used = s.used;
  const simulator::compute::Counters before = runner.counters();
  runner.run(expert_matvec_kernel(args), args, {plan_matvec(args.matvec, 1, 2), 2, 1});
  const simulator::compute::Counters& after = runner.counters();
  const auto bytes = static_cast<double>(planes(TensorType::Q4_K, s.rows, s.columns).bytes);
  const auto read = static_cast<double>(after.gl2_read_misses - before.gl2_read_misses) * 128;
  EXPECT_LE(read, 1.05 * 2 * s.used * bytes);
  EXPECT_GE(read, 0.4 * 2 * s.used * bytes);
}

}  // namespace
}  // namespace outboard::devices::gpu::kernels
